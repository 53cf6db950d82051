"""What went wrong in TLS, in words: OpenSSL's error queue as one short reason.

OpenSSL tells a received alert by its reason text ("tlsv1 alert unknown ca") and a failed
verification by a bare "certificate verify failed"; the detail of the latter is kept on the
connection by `note_verify_failure`, the verify callback of every verifying context.
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

#: Alert descriptions, RFC 8446 section 6 and (no_renegotiation) RFC 5246 section 7.2.
ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}

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
}


class TLSError(Exception):
    """A TLS connection failed.

    `reason`: short text for a log line or an error body. `alert`: name of the alert received or
    sent ("unknown_ca"), None if not known. `alert_received`: the peer sent it (RFC 9209 section
    2.3.15). `certificate_error`: we refused the peer's certificate.
    """

    def __init__(
        self,
        reason: str,
        *,
        alert: str | None = None,
        alert_received: bool = False,
        certificate_error: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.alert = alert
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
    """Keep why the chain was refused, for `from_openssl`; never changes OpenSSL's verdict.

    `error`: an X509_V_ERR code; `ok`: the verdict on `certificate`, at `depth` above the leaf.
    """
    if not ok:
        connection.set_app_data(_VERIFY_REASONS.get(error) or _code_name(error))
    return bool(ok)


def from_openssl(error: SSL.Error, connection: SSL.Connection, written: bytes) -> TLSError:
    """Translate OpenSSL's error.

    `written`: what the connection left to be sent: it ends in the alert sent, if any, which can
    be read as long as keys are not yet in use.
    """
    if isinstance(error, SSL.ZeroReturnError):
        return TLSError("the peer closed the connection", alert="close_notify", alert_received=True)
    text = _reason(error)
    received = _RECEIVED_ALERT.fullmatch(text)
    if received is not None:
        name = received["name"] or received["bare"]
        return TLSError(
            f"the peer sent the alert {name!r}",
            alert=name.replace(" ", "_"),
            alert_received=True,
        )
    alert = _sent_alert(written)
    if text == "certificate verify failed":
        detail = connection.get_app_data() or "unknown reason"
        return TLSError(f"{text}: {detail}", alert=alert, certificate_error=True)
    return TLSError(text, alert=alert)


def _reason(error: SSL.Error) -> str:
    """TLS's own first word in the queue; entries before it come from the cipher."""
    queue = error.args[0] if error.args else None
    if not isinstance(queue, list) or not queue:
        return str(error) or type(error).__name__
    own = [reason for library, _, reason in queue if library == "SSL routines"]
    return own[0] if own and own[0] else queue[0][2] or "unknown TLS error"


def _sent_alert(written: bytes) -> str | None:
    """The name of a fatal alert record in clear at the end of `written` (RFC 8446 section 6)."""
    record = written[-7:]
    if record[:2] == b"\x15\x03" and record[3:6] == b"\x00\x02\x02":
        return ALERTS.get(record[6])
    return None


def _code_name(error: int) -> str:
    for name, value in vars(_CODES).items():
        if value == error and name.startswith("ERR_"):
            return name[4:].lower().replace("_", " ")
    return f"error {error}"
