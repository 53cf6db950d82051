"""
What went wrong in TLS, in words: OpenSSL's error queue as one short reason.

OpenSSL tells a received alert by its reason text ("tlsv1 alert unknown ca") and a failed
verification by a bare "certificate verify failed"; the detail of the latter is kept on the
connection by L{note_verify_failure}, the verify callback of every verifying context.
"""

from __future__ import annotations

import re
from typing import Any

from OpenSSL import SSL

# "ssl/tls alert", "sslv3 alert", "tlsv1 alert", "tls alert", by alert and OpenSSL's version; a few
# have no "alert".
_RECEIVED_ALERT = re.compile(
    r"(?:ssl|tls)\S* (?:alert (?P<name>.+)"
    r"|(?P<bare>unrecognized name|unsupported extension|bad certificate .+))"
)

_CODES = SSL.X509VerificationCodes
_VERIFY_REASONS = {
    _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "self-signed certificate",
    _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN: "self-signed certificate in the chain",
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "unknown issuer",
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT: "unknown issuer",
    _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: "unknown issuer",
    _CODES.ERR_CERT_HAS_EXPIRED: "certificate has expired",
    _CODES.ERR_CERT_NOT_YET_VALID: "certificate is not yet valid",
    _CODES.ERR_INVALID_PURPOSE: "certificate is not meant for servers",
    _CODES.ERR_INVALID_CA: "issuer is not a certificate authority",
    _CODES.ERR_CERT_SIGNATURE_FAILURE: "certificate signature is wrong",
    _CODES.ERR_CERT_REVOKED: "certificate has been revoked",
    # Those that pyOpenSSL has no names for: X509_V_ERR_EE_KEY_TOO_SMALL and the two after it.
    66: "key is too small",
    67: "issuer's key is too small",
    68: "signature algorithm is too weak",
}


class TLSError(Exception):
    """
    A TLS connection failed.

    @ivar reason: short text for a log line or an error body.
    @ivar alert_received: the peer ended it with an alert (RFC 9209 section 2.3.15).
    @ivar certificate_error: we refused the peer's certificate.
    """

    def __init__(
        self, reason: str, *, alert_received: bool = False, certificate_error: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.alert_received = alert_received
        self.certificate_error = certificate_error


class UnusableValueError(ValueError):
    """
    A value of the configuration is of no use to TLS.

    @ivar expected: what would do.
    @ivar reason: where there is one, what the system or OpenSSL said about it.
    """

    def __init__(self, given: str, expected: str, reason: str = "") -> None:
        """
        @param given: how the message names the value.
        """
        super().__init__(f"{given}: expected {expected}{f' ({reason})' if reason else ''}")
        self.expected = expected
        self.reason = reason


def note_verify_failure(
    connection: SSL.Connection, certificate: Any, error: int, depth: int, ok: int
) -> bool:
    """
    Keep why the chain was refused, for L{from_openssl}; never change OpenSSL's verdict.

    @param error: an X509_V_ERR code.
    @param depth: how far above the leaf C{certificate} is.
    @param ok: the verdict on it.
    """
    if not ok:
        connection.set_app_data(_VERIFY_REASONS.get(error) or _code_name(error))
    return bool(ok)


def from_openssl(error: SSL.Error, connection: SSL.Connection) -> TLSError:
    """
    Translate OpenSSL's error.

    @param connection: the one that failed; L{note_verify_failure} may have left word on it.
    """
    if isinstance(error, SSL.ZeroReturnError):
        return TLSError("the peer closed the connection", alert_received=True)
    text = _reason(error)
    received = _RECEIVED_ALERT.fullmatch(text)
    if received is not None:
        name = received["name"] or received["bare"]
        return TLSError(f"the peer sent the alert {name!r}", alert_received=True)
    if text == "certificate verify failed":
        detail = connection.get_app_data() or "unknown reason"
        return TLSError(f"{text}: {detail}", certificate_error=True)
    return TLSError(text)


def _reason(error: SSL.Error) -> str:
    """
    TLS's own first word in the queue; entries before it come from the cipher.
    """
    queue = error.args[0] if error.args else None
    if not isinstance(queue, list) or not queue:
        return str(error) or type(error).__name__
    own = [reason for library, _, reason in queue if library == "SSL routines"]
    return own[0] if own and own[0] else queue[0][2] or "unknown TLS error"


def _code_name(error: int) -> str:
    for name, value in vars(_CODES).items():
        if value == error and name.startswith("ERR_"):
            return name[4:].lower().replace("_", " ")
    return f"error {error}"
