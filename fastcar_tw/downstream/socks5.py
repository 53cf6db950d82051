"""
The server's side of SOCKS5 (RFC 1928): no authentication, CONNECT only.

C{SOCKS5Server} is the conversation without I/O, C{SOCKS5Opening} its shell.
"""

from __future__ import annotations

from fastcar_tw.downstream.entrance import Entrance
from fastcar_tw.downstream.farewell import Farewell
from fastcar_tw.downstream.stage import Stage
from fastcar_tw.downstream.tunnelling import enter_tunnel
from fastcar_tw.forward.forwarder import Forwarder
from fastcar_tw.http.errors import GatewayError, MessageError
from fastcar_tw.http.target import check_host
from fastcar_tw.routes.socks5 import (
    ADDRESS_NOT_SUPPORTED,
    COMMAND_NOT_SUPPORTED,
    CONNECT,
    CONNECTION_REFUSED,
    GENERAL_FAILURE,
    HOST_UNREACHABLE,
    NETWORK_UNREACHABLE,
    NO_ACCEPTABLE_METHOD,
    NO_AUTHENTICATION,
    NOT_ALLOWED,
    SUCCEEDED,
    VERSION,
    MessageFormatError,
    decode_message,
    encode_message,
)

#: The replies for RFC 9209 error types; any other is a general failure.
_REPLIES = {
    "http_request_denied": NOT_ALLOWED,
    "destination_ip_unroutable": NETWORK_UNREACHABLE,
    "dns_error": HOST_UNREACHABLE,
    "connection_timeout": HOST_UNREACHABLE,
    "connection_refused": CONNECTION_REFUSED,
}


class SOCKS5Error(Exception):
    """
    A client is refused.

    @ivar answer: what it is told, perhaps nothing.
    """

    def __init__(self, text: str, answer: bytes = b"") -> None:
        super().__init__(text)
        self.answer = answer


class SOCKS5Server:
    """
    A conversation with a client that wants to be connected.

    @ivar target: host and port it asked for, when it has.
    @ivar leftover: what arrived behind that.
    """

    def __init__(self) -> None:
        self.target: tuple[str, int] | None = None
        self.leftover = b""
        self._buffer = b""
        self._greeted = False

    def receive(self, data: bytes) -> bytes:
        """
        Take what the client sent, until there is a C{target}.

        @return: what to send.
        @raise SOCKS5Error: it wants what there is not, or breaks the protocol.
        """
        self._buffer += data
        answer = b""
        if not self._greeted:
            answer = self._greet()
        if self._greeted:
            try:
                self._read_request()
            except SOCKS5Error as error:
                # A client that has not waited reads the answer to its greeting first.
                error.answer = answer + error.answer
                raise
        return answer

    def _greet(self) -> bytes:
        """
        Section 3.
        """
        buffer = self._buffer
        if buffer[0] != VERSION:
            raise SOCKS5Error(f"expected version {VERSION}, got {buffer[0]}")
        if len(buffer) < 2 or len(buffer) < 2 + buffer[1]:
            return b""
        methods, self._buffer = buffer[2 : 2 + buffer[1]], buffer[2 + buffer[1] :]
        if NO_AUTHENTICATION not in methods:
            answer = bytes((VERSION, NO_ACCEPTABLE_METHOD))
            raise SOCKS5Error("expected the method without authentication", answer)
        self._greeted = True
        return bytes((VERSION, NO_AUTHENTICATION))

    def _read_request(self) -> None:
        """
        Section 4.
        """
        buffer = self._buffer
        if len(buffer) > 1 and buffer[0] == VERSION and buffer[1] != CONNECT:
            raise SOCKS5Error(f"command {buffer[1]} is not CONNECT", reply(COMMAND_NOT_SUPPORTED))
        try:
            message = decode_message(buffer)
        except MessageFormatError as error:
            wrong_version = buffer[0] != VERSION
            code = GENERAL_FAILURE if wrong_version else ADDRESS_NOT_SUPPORTED
            raise SOCKS5Error(str(error), reply(code)) from None
        if message is None:
            return
        _, host, port, size = message
        try:
            self.target = check_host(host), port
        except MessageError:
            raise SOCKS5Error("invalid name", reply(ADDRESS_NOT_SUPPORTED)) from None
        if not port:
            raise SOCKS5Error("port 0 cannot be connected to", reply(GENERAL_FAILURE))
        self.leftover, self._buffer = buffer[size:], b""


def reply(code: int) -> bytes:
    """
    A reply without an address: it would tell nothing.
    """
    return encode_message(code, "0.0.0.0", 0)


def refusal(error: GatewayError) -> bytes:
    """
    The reply for a tunnel that could not be opened.
    """
    return reply(_REPLIES.get(error.proxy_status, GENERAL_FAILURE))


class SOCKS5Opening(Stage):
    """
    Answers a client until it has its tunnel.
    """

    __slots__ = ("_entrance", "_forwarder", "_server")

    def __init__(self, forwarder: Forwarder, entrance: Entrance, deadline: float) -> None:
        super().__init__(forwarder, deadline)
        self._forwarder = forwarder
        self._entrance = entrance
        self._server = SOCKS5Server()

    def dataReceived(self, data: bytes) -> None:
        wire = self._wire
        if wire is None:
            return
        server = self._server
        try:
            answer = server.receive(data)
        except SOCKS5Error as error:
            self._forwarder.refused(MessageError(f"SOCKS5: {error}"))
            self.pass_on(Farewell(self._forwarder, error.answer))
            return
        if answer:
            wire.write(answer)
        if server.target is not None:
            inside = self._entrance.inside_tunnel("socks5", *server.target)
            tunnel = enter_tunnel(self._forwarder, inside, reply(SUCCEEDED), refusal)
            self.pass_on(tunnel, server.leftover)

    def expired(self) -> None:
        """
        It has taken too long.
        """
        self._forwarder.refused(MessageError("SOCKS5: the request took too long", 408))
        self.abort()
