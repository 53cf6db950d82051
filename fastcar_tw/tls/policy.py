"""
What every TLS context here has in common, whichever side it serves.
"""

from __future__ import annotations

from OpenSSL import SSL

__all__ = ["new_context"]

# SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL sets but does not name: without it one SSL_write
# encrypts a whole slice. Memory BIOs take everything, so a partial write has no use.
_PARTIAL_WRITE = 1


def new_context(method: int) -> SSL.Context:
    """
    Make a context for TLS 1.2 and 1.3 (RFC 8996), without sessions or renegotiation.

    Sessions are never resumed: fresh clients cannot, kept connections need not.  OpenSSL sends
    two stateful tickets after a TLS 1.3 handshake even so; pyOpenSSL cannot switch them off.

    @param method: C{SSL.TLS_SERVER_METHOD} or C{SSL.TLS_CLIENT_METHOD}.
    """
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.clear_mode(_PARTIAL_WRITE)
    return context
