"""One connection of a client to an HTTP/2 server, without anything that is asked or answered."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event
from h2.exceptions import ProtocolError
from hyperframe.frame import DataFrame, Frame, SettingsFrame

if TYPE_CHECKING:
    from tests.soak.http2_origin import Chaos


class _Server(H2Connection):
    """A server as h2 has it, but for two mistakes.

    What is empty fits into any window, even one that was shrunk; and what was acknowledged is in
    force from then on, not from the next segment on.
    """

    def _receive_settings_frame(self, frame: SettingsFrame) -> Any:
        result = super()._receive_settings_frame(frame)
        self.incoming_buffer.max_frame_size = self.max_inbound_frame_size
        return result

    def _receive_data_frame(self, frame: DataFrame) -> Any:
        stream = self.streams.get(frame.stream_id)
        if stream is None or frame.flow_controlled_length:
            return super()._receive_data_frame(frame)
        window = stream._inbound_window_manager
        shrunk = min(window.current_window_size, 0)
        window.current_window_size -= shrunk
        result = super()._receive_data_frame(frame)
        window.current_window_size += shrunk
        return result


class ServerConnection(asyncio.Protocol):
    """The wire, h2 on it, and tasks that end with it.

    `over`: nothing is sent or heeded any more. `full`: nothing should be sent for now.
    """

    def __init__(self, chaos: Chaos) -> None:
        self.socket: socket.socket
        self.transport: asyncio.Transport
        self.chaos = chaos
        self.over = False
        self.full = False
        self.h2 = _Server(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed: list[asyncio.Future[None]] = []

    def handle(self, event: Event) -> None:
        """Something has come."""
        raise NotImplementedError

    def introduce(self, settings: dict[int, int]) -> None:
        """Begin with these settings; until they are acknowledged the defaults are in force."""
        self.h2.initiate_connection()
        self.h2.data_to_send()
        for code, value in settings.items():
            self.h2.local_settings[code] = value
        self.write(SettingsFrame(0, settings=settings))

    def flush(self) -> None:
        """Send what h2 has for the client."""
        data = self.h2.data_to_send()
        if data and not self.over:
            self.transport.write(data)

    def write(self, frame: Frame) -> None:
        """Send a frame that h2 need not know of."""
        self.flush()
        if not self.over:
            self.transport.write(frame.serialize())

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something until the connection ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.chaos.wrong.append(f"an origin's own failure: {task.exception()!r}")

    async def change(self) -> None:
        """Wait until there may be more room to send."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.append(waiter)
        await waiter

    def tell_changed(self) -> None:
        """There may be more room to send."""
        changed, self._changed = self._changed, []
        for waiter in changed:
            if not waiter.done():
                waiter.set_result(None)

    def stop(self) -> None:
        """End all tasks."""
        for task in self._tasks:
            task.cancel()

    def end(self) -> None:
        """End it at once."""
        self.over = True
        self.stop()
        self.transport.abort()

    # From the wire.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.socket = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        if self.over:
            return
        try:
            events = self.h2.receive_data(data)
        except ProtocolError as error:
            self.chaos.wrong.append(f"a client that breaks the rules: {error!r}")
            self.end()
            return
        for event in events:
            self.handle(event)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.tell_changed()
