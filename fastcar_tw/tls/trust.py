"""
Upstream trust: which certificates an origin may show, and the client machines that ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity.pyopenssl import verify_hostname, verify_ip_address

from fastcar_tw.http.grammar import AUTHORITY
from fastcar_tw.http.target import ip_literal
from fastcar_tw.tls.errors import TLSError, UnusableValueError, note_verify_failure
from fastcar_tw.tls.machine import TLSMachine
from fastcar_tw.tls.names import is_dns_name, normal_host
from fastcar_tw.tls.policy import new_context

__all__ = ["Trust", "TrustError", "check_ca_file", "parse_origin"]

#: How many of a certificate's names an error tells.
_NAMES_TOLD = 5


class TrustError(UnusableValueError):
    """
    A CA file or an insecure origin is not usable.
    """


class Trust:
    """
    The system's CAs and some more, with exceptions for named origins.

    The system's CAs are those of SSL_CERT_FILE and SSL_CERT_DIR, where set, else of the places
    distributions keep them in.  Two contexts serve all connections.
    """

    def __init__(
        self, extra_files: Sequence[str] = (), insecure_origins: Iterable[str] = ()
    ) -> None:
        """
        Check the files and origins.

        @param extra_files: PEM files of further CA certificates.
        @param insecure_origins: those whose certificate is not verified, see L{parse_origin}.
        @raise TrustError: for the first that is not usable.
        """
        for path in extra_files:
            check_ca_file(path)
        self._insecure = frozenset(parse_origin(origin) for origin in insecure_origins)
        # Now, and not at the first request: files may go, and privileges and descriptors too.
        self._verifying = new_context(SSL.TLS_CLIENT_METHOD)
        _require_chain(self._verifying, extra_files)
        self._trusting = new_context(SSL.TLS_CLIENT_METHOD)

    def verifies(self, host: str, port: int) -> bool:
        """
        Whether the certificate of this origin is verified.
        """
        name = normal_host(host)
        return (name, None) not in self._insecure and (name, port) not in self._insecure

    def client(self, host: str, port: int, alpn: Sequence[bytes] = (b"http/1.1",)) -> TLSMachine:
        """
        A machine for one connection to an origin; L{start<TLSMachine.start>} it.

        SNI is sent for names only (RFC 6066 section 3).

        @param host: ASCII name or IP literal, brackets allowed.
        @raise TLSError: if no certificate could be valid for the host.
        """
        name = normal_host(host)
        verified = self.verifies(name, port)
        is_address = ip_literal(name) is not None
        if verified and not is_address and not is_dns_name(name):
            raise TLSError(f"no certificate can be verified for {host!r}: not a DNS name")
        machine = TLSMachine.client(
            self._verifying if verified else self._trusting,
            name if is_dns_name(name) else "",
            _name_check(name, is_address) if verified else None,
        )
        if alpn:
            machine.connection.set_alpn_protos(list(alpn))
        return machine


def _require_chain(context: SSL.Context, extra_files: Iterable[str]) -> None:
    context.set_verify(SSL.VERIFY_PEER, note_verify_failure)
    context.set_default_verify_paths()
    for path in extra_files:
        context.load_verify_locations(path)
    store = context.get_cert_store()
    assert store is not None
    # As libcurl does: a trusted intermediate ends the chain.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)


def _name_check(name: str, is_address: bool) -> Callable[[SSL.Connection], None]:
    """
    The check of RFC 9110 section 4.3.4, after OpenSSL has verified the chain.
    """

    def verify(connection: SSL.Connection) -> None:
        try:
            (verify_ip_address if is_address else verify_hostname)(connection, name)
        except Exception:  # parsing a hostile certificate may raise more than a mismatch
            raise TLSError(
                "certificate verify failed: "
                f"expected a certificate for {name}, got one for {_offered(connection)}",
                certificate_error=True,
            ) from None

    return verify


def _offered(connection: SSL.Connection) -> str:
    """
    The names in the peer's certificate, fit for a log line.
    """
    try:
        certificate = connection.get_peer_certificate()
        assert certificate is not None
        found = certificate.to_cryptography().extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        names = [str(name.value) for name in found.value]
    except x509.ExtensionNotFound:
        return "no name"
    except Exception:
        return "names that cannot be read"
    told = [
        name if is_dns_name(name.lower().removeprefix("*.")) or ip_literal(name) else "(malformed)"
        for name in names[:_NAMES_TOLD]
    ]
    more = len(names) - len(told)
    return (", ".join(told) or "no name") + (f" and {more} more" if more else "")


def check_ca_file(path: str) -> None:
    """
    See that a file of further CAs can be used.

    @raise TrustError: if it cannot be read or has no certificate.
    """
    expected = "a readable file of PEM certificates"
    try:
        with open(path, "rb") as file:
            x509.load_pem_x509_certificates(file.read())
    except OSError as error:
        raise TrustError(path, expected, error.strerror or "") from None
    except ValueError:
        raise TrustError(path, expected, "no valid certificate in it") from None


def parse_origin(text: str) -> tuple[str, int | None]:
    """
    Split an origin that is not to be verified, C{HOST} or C{HOST:PORT}.

    @return: the host as L{normal_host} has it, and the port; None means any.
    @raise TrustError: if it is something else, or nothing that a certificate could be for.
    """
    match = AUTHORITY.fullmatch(text.encode("ascii", "backslashreplace"))
    if match is not None and match[2] != b"":
        host = match[1].decode("ascii")
        name = normal_host(host)
        port = None if match[2] is None else int(match[2])
        known = ip_literal(name) is not None or is_dns_name(name)
        bracketed = host.startswith("[")
        if known and bracketed == (":" in name) and (port is None or 0 < port < 65536):
            return name, port
    raise TrustError(
        f"insecure origin {text!r}",
        "HOST or HOST:PORT, an IPv6 address in brackets, a port from 1 to 65535",
    )
