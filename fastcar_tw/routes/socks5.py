"""
SOCKS5 (RFC 1928) with user name and password (RFC 1929): messages, and the client's handshake.

Requests and replies have one format, so one pair of functions serves clients and servers.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from fastcar_tw.http.target import ip_literal
from fastcar_tw.routes.handshake import HandshakeError
from fastcar_tw.routes.proxy import Proxy

VERSION = 5
#: Methods, RFC 1928 section 3.
NO_AUTHENTICATION = 0
USERNAME_PASSWORD = 2
NO_ACCEPTABLE_METHOD = 0xFF
#: Commands, section 4.
CONNECT = 1
#: Replies, section 6.
SUCCEEDED = 0
GENERAL_FAILURE = 1
NOT_ALLOWED = 2
NETWORK_UNREACHABLE = 3
HOST_UNREACHABLE = 4
CONNECTION_REFUSED = 5
TTL_EXPIRED = 6
COMMAND_NOT_SUPPORTED = 7
ADDRESS_NOT_SUPPORTED = 8
#: Version of the sub-negotiation, RFC 1929 section 2.
_AUTH_VERSION = 1

_IPV4, _NAME, _IPV6 = 1, 3, 4
_SIZES = {_IPV4: 4, _IPV6: 16}

#: Words, RFC 9209 error type, and whether another address may fare better.
_REFUSALS = {
    GENERAL_FAILURE: ("reports a general failure", "destination_unavailable", True),
    NOT_ALLOWED: ("does not allow the connection", "http_request_denied", True),
    NETWORK_UNREACHABLE: ("cannot reach the network", "destination_ip_unroutable", True),
    HOST_UNREACHABLE: ("cannot reach the host", "destination_ip_unroutable", True),
    CONNECTION_REFUSED: ("reports: connection refused", "connection_refused", True),
    TTL_EXPIRED: ("reports: TTL expired", "connection_timeout", True),
    COMMAND_NOT_SUPPORTED: ("does not support CONNECT", "proxy_configuration_error", False),
    ADDRESS_NOT_SUPPORTED: (
        "does not support this type of address",
        "proxy_configuration_error",
        True,
    ),
}


class MessageFormatError(ValueError):
    """
    Bytes that are no SOCKS5 message, or a host that none can hold.
    """


def encode_message(code: int, host: str, port: int) -> bytes:
    """
    A request or a reply (RFC 1928 sections 4 and 6).

    @param code: command or reply.
    @param host: name of 1 to 255 ASCII characters, or IP literal.
    @raise MessageFormatError: for any other host.
    """
    address = ip_literal(host)
    if isinstance(address, IPv4Address):
        encoded = bytes((_IPV4,)) + address.packed
    elif address is not None:
        encoded = bytes((_IPV6,)) + address.packed
    elif host.isascii() and 0 < len(host) < 256:
        encoded = bytes((_NAME, len(host))) + host.encode("ascii")
    else:
        raise MessageFormatError("expected a name of 1 to 255 ASCII characters")
    return bytes((VERSION, code, 0)) + encoded + port.to_bytes(2, "big")


def decode_message(data: bytes) -> tuple[int, str, int, int] | None:
    """
    Read a request or a reply.

    @return: command or reply, host, port, and the size of the message; None while it is
        incomplete.  The host of a reply may be empty.
    @raise MessageFormatError: it is none, whatever follows.
    """
    size = _size(data)
    if size is None or len(data) < size:
        return None
    kind = data[3]
    host = _decode_host(kind, data[5 if kind == _NAME else 4 : size - 2])
    return data[1], host, int.from_bytes(data[size - 2 : size], "big"), size


def _size(data: bytes) -> int | None:
    """
    The size of the message that begins so, None while that is not known.

    @raise MessageFormatError: it is none, whatever follows.
    """
    _check_version(data, VERSION)
    if len(data) < 4:
        return None
    kind = data[3]
    if kind == _NAME:
        return 7 + data[4] if len(data) > 4 else None
    if kind not in _SIZES:
        raise MessageFormatError(f"unknown address type {kind}")
    return 6 + _SIZES[kind]


def _check_version(data: bytes, version: int) -> None:
    if data and data[0] != version:
        raise MessageFormatError(f"expected version {version}, got {data[0]}")


def _decode_host(kind: int, packed: bytes) -> str:
    if kind == _IPV4:
        return str(IPv4Address(packed))
    if kind == _IPV6:
        return str(IPv6Address(packed))
    try:
        return packed.decode("ascii")
    except UnicodeDecodeError:
        raise MessageFormatError("the name is not ASCII") from None


class SOCKS5Handshake:
    """
    Asks a SOCKS5 proxy for a connection; see L{fastcar_tw.routes.handshake.Handshake}.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        """
        @param host: as the proxy shall be told it, name or IP literal.
        @raise MessageFormatError: see L{encode_message}.
        """
        self.done = False
        self.leftover = b""
        self._proxy = proxy
        self._request = encode_message(CONNECT, host, port)
        self._buffer = b""
        self._next = self._method

    def start(self) -> bytes:
        """
        @return: the greeting.  Credentials are offered only if there are some.
        """
        if self._proxy.username is None:
            return bytes((VERSION, 1, NO_AUTHENTICATION))
        return bytes((VERSION, 2, NO_AUTHENTICATION, USERNAME_PASSWORD))

    def receive(self, data: bytes) -> bytes:
        """
        Take what the proxy sent.

        @return: what to send.
        @raise HandshakeError: it refused, or is no SOCKS5 proxy.
        """
        self._buffer += data
        try:
            return self._next()
        except MessageFormatError as error:
            raise _invalid(str(error)) from None

    def _method(self) -> bytes:
        reply = self._two_bytes(VERSION)
        if reply is None:
            return b""
        if reply == NO_AUTHENTICATION:
            return self._ask()
        username, password = self._proxy.username, self._proxy.password
        if reply == NO_ACCEPTABLE_METHOD:
            wanted = "credentials" if username is None else "other than user name and password"
            raise HandshakeError(f"wants {wanted}", "proxy_configuration_error")
        if reply != USERNAME_PASSWORD or username is None:
            raise _invalid("it chose a method that was not offered")
        if self._buffer:
            raise _invalid("it answered before it was asked")
        self._next = self._authenticated
        lengths = len(username), len(password)
        return b"%c%c%b%c%b" % (_AUTH_VERSION, lengths[0], username, lengths[1], password)

    def _authenticated(self) -> bytes:
        status = self._two_bytes(_AUTH_VERSION)
        if status is None:
            return b""
        if status:
            raise HandshakeError("does not accept the credentials", "proxy_configuration_error")
        return self._ask()

    def _ask(self) -> bytes:
        if self._buffer:
            raise _invalid("it answered before it was asked")
        self._next = self._reply
        return self._request

    def _reply(self) -> bytes:
        buffer = self._buffer
        _check_version(buffer, VERSION)
        # Some say no more than that when they refuse, or nothing sensible.
        if len(buffer) > 1 and buffer[1] != SUCCEEDED:
            raise _refusal(buffer[1])
        # Where the proxy has connected from does not matter.
        size = _size(buffer)
        if size is not None and len(buffer) >= size:
            self.done = True
            self.leftover = buffer[size:]
            self._buffer = b""
        return b""

    def _two_bytes(self, version: int) -> int | None:
        """
        Take a reply that is a version and a code, when it is complete.
        """
        buffer = self._buffer
        _check_version(buffer, version)
        if len(buffer) < 2:
            return None
        self._buffer = buffer[2:]
        return buffer[1]


def _invalid(what: str) -> HandshakeError:
    return HandshakeError(f"does not speak SOCKS5: {what}", "proxy_configuration_error")


def _refusal(code: int) -> HandshakeError:
    unknown = (f"refused with the unknown code {code}", "destination_unavailable", True)
    words, proxy_status, other_address = _REFUSALS.get(code, unknown)
    return HandshakeError(words, proxy_status, other_address=other_address)
