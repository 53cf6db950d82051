"""POSTs to origins that close idle connections just when the next one comes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from tests.peers.case import PeersTestCase
from tests.soak.messages import BROKEN_OFF, read_body, read_head
from tests.soak.test_soak import SECONDS, SEED

#: Seconds after which the origins close an idle connection, and that their clients wait too.
IDLE = 2
#: Seconds until anybody learns of it, as over a long way.
LATENCY = 0.1
#: Origins of each kind; each is asked by a client of its own.
ORIGINS = 50


class PunctualOrigin:
    """Closes a connection that has been idle for `IDLE`, and may say so before."""

    def __init__(self, *, announces: bool) -> None:
        field = b"Keep-Alive: timeout=%d\r\n" % IDLE if announces else b""
        self._response = b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nOK" % field

    async def listen(self) -> asyncio.Server:
        """Begin, on a port of its own."""
        return await asyncio.start_server(self._serve, "127.0.0.1")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await asyncio.wait_for(read_head(reader), IDLE)
                await read_body(reader, head)
                writer.write(self._response)
        except asyncio.TimeoutError:
            # What comes from now on is not seen any more.
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(LATENCY)
        except BROKEN_OFF:
            pass
        writer.close()


class KeepAliveTests(PeersTestCase):
    """One POST whenever an origin's time is up."""

    def test_timeout(self) -> None:
        """None fails when the origins announce their time; when they do not, some do."""
        path = self.start_fastcar().socket
        announced, silent = asyncio.run(self._ask_all(path))
        self.assertEqual(set(announced), {b"200"}, announced)
        self.assertEqual(set(silent), {b"200", b"502"}, silent)

    async def _ask_all(self, path: str) -> tuple[Counter[bytes], Counter[bytes]]:
        """The statuses from the origins of either kind."""
        statuses: tuple[Counter[bytes], Counter[bytes]] = Counter(), Counter()
        servers, clients = [], []
        for counter, announces in zip(statuses, (True, False), strict=True):
            for index in range(ORIGINS):
                servers.append(await PunctualOrigin(announces=announces).listen())
                port = servers[-1].sockets[0].getsockname()[1]
                rng = random.Random(f"{SEED}/{announces}/{index}")
                clients.append(_ask_in_time(path, port, rng, counter))
        try:
            await asyncio.gather(*clients)
        finally:
            for server in servers:
                server.close()
        return statuses


async def _ask_in_time(path: str, port: int, rng: random.Random, statuses: Counter[bytes]) -> None:
    """Make POSTs, each when the connection of the one before is being closed."""
    await asyncio.sleep(rng.random() * IDLE / 2)
    for _ in range(max(2, int(SECONDS / IDLE))):
        reader, writer = await asyncio.open_unix_connection(path)
        request = b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 2\r\n\r\nhi" % port
        writer.write(request)
        head = await read_head(reader)
        statuses[head[9:12]] += 1
        writer.close()
        await asyncio.sleep(IDLE + LATENCY * rng.random())
