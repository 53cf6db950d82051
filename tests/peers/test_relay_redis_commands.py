"""What `--framing resp` says of Redis' commands is so of the Redis that is installed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from unittest import SkipTest

from fastcar_tw.relay.framing import FrameError, Use
from fastcar_tw.relay.framings.resp import RESPFraming
from tests.peers.case import PeersTestCase
from tests.peers.redis import Redis, RedisError, command
from tests.peers.sockets import Peer

FRAMING = RESPFraming("", 16 << 20)
#: They write to the disk, or turn the server into something else.
LEFT_OUT = frozenset(
    b"bgrewriteaof bgsave failover migrate replicaof restore-asking save slaveof".split()
)
#: What each command is given, in any number and order: keys, numbers, and what means something.
WORDS = (
    *(b"k", b"s", b"x" * 200, b"", b"\0", b"*", b"0", b"1", b"2", b"-1", b"(1"),
    *(b"withscores", b"block", b"noreply", b"get", b"count", b"reply", b"off", b"async"),
)
MOST_ARGUMENTS = 6
#: How often for each number of arguments.
TRIES = 3
#: Of commands that have commands of their own.
INNER = {
    "acl": "list,log,whoami,cat,getuser default,dryrun default get x",
    "cluster": "info,nodes,myid,slots,reset,forget x,meet 1 2,links,shards,bumpepoch",
    "command": "count,docs get,info get set,getkeys get x",
    "config": "get x,set maxmemory 0,resetstat,rewrite",
    "function": "list,dump,kill,flush,stats",
    "latency": "latest,doctor,histogram,reset,graph x",
    "memory": "doctor,usage k,malloc-stats,purge",
    "module": "list",
    "object": "encoding k,freq k,help",
    "pubsub": "channels,numsub a b,shardnumsub x",
    "script": "load x,exists x,flush,kill",
    "slowlog": "get,len,reset",
    "xgroup": "create s g $ mkstream,help",
    "xinfo": "stream s",
}
#: How CLIENT INFO shows a connection on a UNIX socket that is like new.
LIKE_NEW = (b" name= ", b" flags=U ", b" db=0 ", b" sub=0 psub=0 ", b" multi=-1 ", b" resp=2")


def arguments(name: bytes, chance: random.Random) -> Iterator[Sequence[bytes]]:
    """What a command is tried with."""
    for text in filter(None, INNER.get(name.decode(), "").split(",")):
        yield text.encode().split()
    for number in range(MOST_ARGUMENTS + 1):
        for _ in range(TRIES):
            yield [chance.choice(WORDS) for _ in range(number)]


def is_shared(request: bytes) -> bool:
    """Whether it is sent over a connection that others use after it."""
    try:
        return FRAMING.session().use(request) is Use.SHARED
    except FrameError:
        return False


def replies(peer: Peer, number: int) -> list[bytes]:
    """So many replies, as the framing divides what comes; the last has all that is left over."""
    framer, data, ends = FRAMING.responses(), bytearray(), [0]
    while len(ends) <= number:
        start = len(data)
        piece = peer.socket.recv(1 << 16)
        if not piece:
            raise EOFError(f"only {len(ends) - 1} of {number} replies")
        data += piece
        ends += [start + end for end in framer.feed(piece)]
    ends[number:] = [len(data)]
    return [bytes(data[start:end]) for start, end in pairwise(ends)]


class SharedCommandsTests(PeersTestCase):
    """Commands that share connections."""

    def test_one_reply(self) -> None:
        """Each has one reply, whatever it is given, and leaves its connection as it was."""
        redis = Redis(self.folder())
        self.addCleanup(redis.stop)
        try:
            known = redis.control.ask("COMMAND", "LIST")
        except RedisError as error:
            raise SkipTest(f"this Redis does not list its commands: {error}") from error
        assert isinstance(known, list)
        names = sorted(name for name in known if isinstance(name, bytes))
        self.assertGreater(len(names), 200)
        peer = redis.direct().peer
        self.addCleanup(peer.close)
        chance = random.Random(6)
        tried = 0
        for name in names:
            if name in LEFT_OUT:
                continue
            requests = [command(name, *given) for given in arguments(name, chance)]
            tried += self.check(peer, [each for each in requests if is_shared(each)])
        self.assertGreater(tried, 5000)

    def check(self, peer: Peer, requests: list[bytes]) -> int:
        """Send requests, each with a look at what it has left behind; return how many."""
        looks = [command("ECHO", f"after {at}") for at in range(len(requests))]
        client_info = command("CLIENT", "INFO")
        peer.send(b"".join(a + b + client_info for a, b in zip(requests, looks, strict=True)))
        try:
            found = replies(peer, 3 * len(requests))
        except (EOFError, OSError) as error:
            self.fail(f"{requests}: {error!r}")
        for at, request in enumerate(requests):
            reply, echo, info = found[3 * at : 3 * at + 3]
            expected = b"$%d\r\nafter %d\r\n" % (len(f"after {at}"), at)
            self.assertEqual(echo, expected, (request, reply[:200]))
            for part in LIKE_NEW:
                self.assertIn(part, info, (request, reply[:200]))
        return len(requests)
