"""TLS without I/O: ciphertext in, plaintext out, over the memory BIOs of one SSL.Connection.

Rules of this file. It is on the hot path, so the steady state costs one bio_write and one recv
inwards, one send and one bio_read outwards, and raises nothing. Two facts make that possible:

- a recv beyond the last complete record would raise WantReadError, which costs as much as the
  recv itself; so record headers (RFC 8446 section 5.1) are counted, and recv is called at most
  once for each complete record;
- BIO_read gives fewer bytes than asked only when it emptied the BIO, so asking for a little more
  than can be there replaces the final, raising, bio_read.

Counting a record that carries no application data is harmless: the spare recv raises, and that
is also the only way a handshake message after the handshake (KeyUpdate, a refused
renegotiation) can have produced output.

Memory: a memory BIO never shrinks (it keeps 4/3 of the most it ever held), so output passes
through it in slices; input is as large as the transport's reads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from OpenSSL import SSL

from fastcar_tw.tls.errors import TLSError, from_openssl

__all__ = ["TLSError", "TLSMachine"]

#: Record type, RFC 8446 section 5.1; in TLS 1.3 it stands before a client's last flight.
CHANGE_CIPHER_SPEC = 20
#: Largest plaintext of one record, in bytes (RFC 8446 section 5.1).
RECORD = 16384
#: Most plaintext encrypted at once, in bytes.
SLICE = 4 * RECORD
#: More than encryption adds to a slice, in bytes (RFC 8446 section 5.2: at most 256 a record, 22
#: with the ciphers in use) plus the short messages OpenSSL may have queued before it.
OVERHEAD = 2048


class TLSMachine:
    """One TLS connection.

    `ready`: the handshake has finished and the peer is verified; `send` is allowed. `closed`: the
    peer's close_notify was received, a clean end of its stream (RFC 8446 section 6.1); an end of
    the transport while this is false is a truncation.
    """

    __slots__ = (
        "_connection",
        "_failed",
        "_head",
        "_held",
        "_left",
        "_serving",
        "_unsent",
        "_verify",
        "closed",
        "ready",
    )

    def __init__(
        self,
        connection: SSL.Connection,
        verify: Callable[[SSL.Connection], None] | None = None,
    ) -> None:
        """Wrap a connection over memory BIOs whose accept or connect state is chosen.

        `verify` is called when the handshake is complete and before any application byte may
        pass; it raises `TLSError` to refuse the peer.
        """
        self.closed = False
        self.ready = False
        self._connection = connection
        self._verify = verify
        self._failed = False
        self._serving = False
        self._unsent = False  # the BIO may hold output that no send() has collected
        self._held = b""  # output taken from the BIO early
        self._left = 0  # bytes to the end of the record under way
        self._head = b""  # or, while less than its header is known, those bytes

    @classmethod
    def server(cls, context: SSL.Context) -> TLSMachine:
        """The accepting side."""
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        machine = cls(connection)
        machine._serving = True
        return machine

    @classmethod
    def client(
        cls,
        context: SSL.Context,
        server_name: str,
        verify: Callable[[SSL.Connection], None] | None = None,
    ) -> TLSMachine:
        """The connecting side.

        `server_name`: DNS name (ASCII) for SNI; empty for none, as for IP literals (RFC 6066
        section 3).
        """
        connection = SSL.Connection(context, None)
        connection.set_connect_state()
        if server_name:
            connection.set_tlsext_host_name(server_name.encode("ascii"))
        return cls(connection, verify)

    @property
    def connection(self) -> SSL.Connection:
        """For questions off the hot path: protocol version, ALPN, certificates."""
        return self._connection

    def start(self) -> bytes:
        """Begin a client's handshake; returns the ClientHello."""
        self._handshake(b"")
        return self.outgoing()

    def receive(self, data: bytes) -> bytes:
        """Take ciphertext from the peer, in pieces of any size; collect `outgoing` afterwards.

        Returns the plaintext now available, none during the handshake. Raises `TLSError` once,
        when the connection failed; plaintext of the same call is lost, later calls return b"".
        """
        if not self.ready:
            return self._handshake(data)
        size = len(data)
        if size <= 5 or self._left or self._head or (data[3] << 8 | data[4]) + 5 != size:
            return self._receive_many(data)
        try:  # exactly one record: the usual case
            self._connection.bio_write(data)
            return self._connection.recv(RECORD)
        except SSL.Error as error:
            return self._stopped(error)

    def send(self, plaintext: bytes) -> bytes:
        """Encrypt; returns what to put on the wire, anything pending before it included.

        Raises `TLSError` if the machine is not ready or fails.
        """
        if not self.ready:
            raise TLSError("data was to be sent outside an established TLS connection")
        size = len(plaintext)
        if size > SLICE:
            return self._send_many(plaintext)
        if not plaintext:
            return b""
        wanted = size + OVERHEAD
        try:
            sent = self._connection.send(plaintext)
            out = self._connection.bio_read(wanted)
        except SSL.Error as error:
            raise self._fail(error) from None
        if sent == size and len(out) < wanted:
            return out
        return out + self._read_bio() + self._send_many(plaintext[sent:])

    def outgoing(self) -> bytes:
        """Handshake and alert bytes waiting to be sent; empty when there are none."""
        if not self._unsent:
            return b""
        self._unsent = False
        held, self._held = self._held, b""
        return held + self._read_bio()

    def shutdown(self) -> bytes:
        """Say close_notify; returns it after anything pending. Empty if it cannot be said."""
        with contextlib.suppress(SSL.Error):  # no keys yet, already said, or failed
            self._connection.shutdown()
        self._unsent = True
        return self.outgoing()

    def _receive_many(self, data: bytes) -> bytes:
        """Any other input: a part of a record, or several."""
        if not data:
            return b""
        chunks = []
        complete = self._count_records(data)
        try:
            self._connection.bio_write(data)
            for _ in range(complete):
                chunks.append(self._connection.recv(RECORD))
        except SSL.Error as error:
            self._stopped(error)
        return b"".join(chunks)

    def _count_records(self, data: bytes) -> int:
        """How many records `data` completes; remembers how far the last one still goes."""
        stream = self._head + data if self._head else data
        size = len(stream)
        position = self._left
        complete = 1 if 0 < position <= size else 0
        while position + 5 <= size:
            position += 5 + (stream[position + 3] << 8 | stream[position + 4])
            complete += position <= size
        self._left = max(position - size, 0)
        self._head = stream[position:]
        return complete

    def _send_many(self, plaintext: bytes) -> bytes:
        """As `send`, one slice at a time."""
        connection = self._connection
        view = memoryview(plaintext)
        chunks = []
        try:
            while view:
                view = view[connection.send(view[:SLICE]) :]
                chunks.append(self._read_bio())
        except SSL.Error as error:
            raise self._fail(error) from None
        return b"".join(chunks)

    def _handshake(self, data: bytes) -> bytes:
        if self._failed:
            return b""
        connection = self._connection
        behind = 0  # records that may hold what came behind the handshake
        if data:
            at_start = not self._left and not self._head
            behind = self._count_records(data) - 1
            if at_start and data[0] == CHANGE_CIPHER_SPEC:
                behind -= 1
            connection.bio_write(data)
        self._unsent = True
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            return b""
        except SSL.Error as error:
            raise self._fail(error) from None
        self._verify_peer()
        self.ready = True
        if self._serving and connection.get_protocol_version() == SSL.TLS1_3_VERSION:
            # What is left to say are tickets, which nobody waits for: they go with the first
            # response and save a system call, and the client a wake-up.
            self._unsent = False
        return self._drain(behind)

    def _verify_peer(self) -> None:
        if self._verify is None:
            return
        self._failed = True
        self._verify(self._connection)
        self._failed = False
        self._verify = None

    def _drain(self, records: int) -> bytes:
        """Application data in the records that came with the end of the handshake."""
        chunks = []
        try:
            for _ in range(records):
                chunks.append(self._connection.recv(RECORD))
        except SSL.Error as error:
            self._stopped(error)
        return b"".join(chunks)

    def _stopped(self, error: SSL.Error) -> bytes:
        """A recv gave no data: tell a need for more, the peer's end and a failure apart."""
        self._unsent = True
        if isinstance(error, SSL.ZeroReturnError):
            self.closed = True
        elif not isinstance(error, SSL.WantReadError):
            raise self._fail(error) from None
        return b""

    def _fail(self, error: SSL.Error) -> TLSError:
        self._failed = True
        self.ready = False
        failure = from_openssl(error, self._connection)
        # RFC 8446 section 6.2: nothing more is sent after the peer's fatal alert.
        self._held = b"" if failure.alert_received else self._read_bio()
        self._unsent = not failure.alert_received
        return failure

    def _read_bio(self) -> bytes:
        """Empty the BIO of output, asking once more only if the first answer was full."""
        wanted = SLICE + OVERHEAD
        try:
            out = self._connection.bio_read(wanted)
        except SSL.WantReadError:
            return b""
        return out if len(out) < wanted else out + self._read_bio()
