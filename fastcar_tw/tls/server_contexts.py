"""
The certificates shown to clients: one chain from files, or a leaf by name from the local CA.
"""

from __future__ import annotations

import functools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from fastcar_tw.http.target import ip_literal
from fastcar_tw.tls.errors import UnusableValueError
from fastcar_tw.tls.local_ca import LEAF_LIFETIME, LocalCA
from fastcar_tw.tls.machine import TLSMachine
from fastcar_tw.tls.names import is_dns_name
from fastcar_tw.tls.policy import new_context

__all__ = ["CertificateFileError", "KeyFileError", "ServerContexts", "server_name"]

#: For clients without SNI, or with one that is no name.
DEFAULT_NAMES = ("localhost", "127.0.0.1", "::1")
#: Most leaves kept, the least recently used goes first; each takes about 26 KiB.
MAX_LEAVES = 1024
#: Forward secrecy and AEAD only (RFC 9325 section 4.2), for TLS 1.2; TLS 1.3 has nothing else.
_TLS12_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
_TLS13_CIPHERS = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


class CertificateFileError(UnusableValueError):
    """
    A certificate file is not usable.
    """


class KeyFileError(CertificateFileError):
    """
    A key file is not usable, or not with its certificate.
    """


class ServerContexts:
    """
    Makes the server side of each downstream connection.

    @ivar ca_certificate: of the local CA, in PEM; None: there is no local CA.
    """

    def __init__(self, context: SSL.Context, ca_certificate: bytes | None = None) -> None:
        self.ca_certificate = ca_certificate
        self._context = context

    @classmethod
    def from_files(cls, cert: str, key: str) -> ServerContexts:
        """
        Always the chain of these PEM files.

        @param cert: path of the chain, the leaf first.
        @param key: path of the leaf's key.
        @raise CertificateFileError: if the chain cannot be used.
        @raise KeyFileError: if the key cannot.
        """
        context = _server_context()
        try:
            context.use_certificate_chain_file(cert)
        except SSL.Error as error:
            expected = "a PEM certificate chain, the server's own first"
            raise CertificateFileError(cert, expected, _openssl_reason(error)) from None
        _use_key_file(context, cert, key)
        return cls(context)

    @classmethod
    def from_ca(cls, ca: LocalCA, clock: Callable[[], float] = time.time) -> ServerContexts:
        """
        A leaf for each SNI name, minted when first asked for.

        @param clock: gives seconds.
        """
        context = _server_context()
        leaves = LeafCache(ca, context, clock)
        context.set_tlsext_servername_callback(leaves.choose)
        return cls(context, ca.certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, default_name: str = "") -> TLSMachine:
        """
        The server side of a new connection.

        @param default_name: whom the certificate is to name if the client does not say.
        """
        machine = TLSMachine.server(self._context)
        if default_name:
            machine.connection.set_app_data(default_name)
        return machine


class LeafCache:
    """
    Contexts by server name, bounded, re-minted when half of a leaf's life is over.
    """

    def __init__(self, ca: LocalCA, front: SSL.Context, clock: Callable[[], float]) -> None:
        """
        @param front: the context connections start in; it has no certificate of its own.
        @param clock: gives seconds.
        """
        self._ca = ca
        self._front = front
        self._clock = clock
        self._leaves: OrderedDict[str, tuple[float, SSL.Context]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._leaves)

    def choose(self, connection: SSL.Connection) -> None:
        """
        Give a connection the leaf for its SNI (RFC 6066 section 3), or else for its default name.
        """
        name = server_name(connection)
        if not name and (default := connection.get_app_data()):
            name = _valid_name(default)
        connection.set_context(self.leaf(name))

    def leaf(self, name: str) -> SSL.Context:
        """
        The context for a valid name; for C{""}, that of the default names.
        """
        now = self._clock()
        found = self._leaves.get(name)
        if found is not None and now - found[0] < LEAF_LIFETIME / 2:
            self._leaves.move_to_end(name)
            return found[1]
        context = self._mint((name,) if name else DEFAULT_NAMES)
        self._leaves[name] = (now, context)
        self._leaves.move_to_end(name)
        if len(self._leaves) > MAX_LEAVES:
            self._leaves.popitem(last=False)
        return context

    def _mint(self, names: Sequence[str]) -> SSL.Context:
        certificate, key = self._ca.issue(names)
        context = _server_context()
        context.use_certificate(certificate)
        context.use_privatekey(key)
        # OpenSSL calls back into the front as long as a connection lives that began in it.
        context.set_app_data(self._front)
        return context


def server_name(connection: SSL.Connection) -> str:
    """
    The name that a client has asked for in SNI; empty: none, or nothing that is a name.
    """
    return _valid_name((connection.get_servername() or b"").decode("latin-1"))


@functools.lru_cache(MAX_LEAVES)
def _valid_name(name: str) -> str:
    name = name.lower().removesuffix(".")
    return name if is_dns_name(name) or ip_literal(name) is not None else ""


def _server_context() -> SSL.Context:
    context = new_context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(_TLS12_CIPHERS)
    # The handshake hashes a lot, and SHA-256 is what processors have instructions for.
    context.set_tls13_ciphersuites(_TLS13_CIPHERS)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_alpn_select_callback(_select_alpn)
    return context


def _select_alpn(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """
    HTTP/1.1, or no ALPN at all; not the alert of RFC 7301 section 3.2: HTTP/1.1 is tried.

    Returning C{b""} would end the handshake with internal_error.
    """
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _use_key_file(context: SSL.Context, cert: str, key: str) -> None:
    expected = f"the unencrypted PEM private key of {cert}"
    try:
        with open(key, "rb") as file:
            loaded = serialization.load_pem_private_key(file.read(), None)
        # It takes fewer kinds of key than may be in a file, and says so itself.
        context.use_privatekey(loaded)  # type: ignore[arg-type]
        context.check_privatekey()
    except OSError as error:
        raise KeyFileError(key, expected, error.strerror or "") from None
    except SSL.Error as error:
        raise KeyFileError(key, expected, _openssl_reason(error)) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: encrypted, or not for TLS
        raise KeyFileError(key, expected) from None


def _openssl_reason(error: SSL.Error) -> str:
    """
    The first reason in OpenSSL's queue, of (library, function, reason); those after it say where.
    """
    queue = error.args[0] if error.args else []
    return next((reason for _, _, reason in queue if reason), "")
