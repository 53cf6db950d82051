"""HTTP/2 towards origins, without I/O (RFC 9113)."""
