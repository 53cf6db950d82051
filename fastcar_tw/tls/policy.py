"""
What every TLS context here has in common, whichever side it serves.
"""

from __future__ import annotations

import re

from OpenSSL import SSL

__all__ = ["new_context", "permits_http2"]

# SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL sets but does not name: without it one SSL_write
# encrypts a whole slice. Memory BIOs take everything, so a partial write has no use.
_PARTIAL_WRITE = 1
# As OpenSSL names cipher suites of TLS 1.2: an ephemeral key exchange, and AEAD.
_PERMITTED = re.compile("(EC)?DHE-.*(GCM|CCM|CHACHA20)")


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


def permits_http2(connection: SSL.Connection) -> bool:
    """
    Whether HTTP/2 may be spoken over the cipher suite that was negotiated.

    TLS 1.2 prohibits all without an ephemeral key exchange and AEAD (RFC 9113 section 9.2.2 and
    appendix A).  They are offered even so: other origins, over HTTP/1.1, may have nothing else.
    """
    if connection.get_cipher_version() == "TLSv1.3":
        return True
    return _PERMITTED.match(connection.get_cipher_name() or "") is not None
