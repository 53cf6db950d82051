"""The bookkeeping of idle connections."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.http.target import Origin
from fastcar_tw.upstream.idle import IdleConnections

A = Origin("http", "a.test", 80)
B = Origin("http", "b.test", 80)


class IdleTests(SynchronousTestCase):
    """L{IdleConnections}."""

    def setUp(self) -> None:
        """Room for three of each origin, for ten seconds."""
        self.idle: IdleConnections[str] = IdleConnections(3, 10.0)

    def put(self, *names: str, origin: Origin = A) -> list[str | None]:
        """Put connections, one a second; return what had to go."""
        return [self.idle.put(origin, name, float(at)) for at, name in enumerate(names)]

    def test_last_in_first_out(self) -> None:
        """The one that went idle last is taken first."""
        self.put("1", "2", "3")
        self.assertEqual([self.idle.take(A) for _ in range(4)], ["3", "2", "1", None])

    def test_origins_are_apart(self) -> None:
        """One origin's connections are not another's."""
        self.put("a")
        self.put("b", origin=B)
        self.assertEqual(self.idle.take(B), "b")
        self.assertIsNone(self.idle.take(B))
        self.assertEqual(self.idle.take(A), "a")

    def test_limit(self) -> None:
        """At the limit the oldest gives way."""
        self.assertEqual(self.put("1", "2", "3", "4", "5"), [None, None, None, "1", "2"])
        self.assertEqual(self.idle.count(A), 3)
        self.assertEqual(self.idle.take(A), "5")

    def test_limit_is_for_each_origin(self) -> None:
        """Other origins do not count."""
        self.put("1", "2", "3")
        self.assertEqual(self.put("4", "5", "6", origin=B), [None] * 3)
        self.assertEqual(len(self.idle), 6)

    def test_limit_of_zero(self) -> None:
        """With a limit of 0 nothing is kept."""
        idle: IdleConnections[str] = IdleConnections(0, 10.0)
        self.assertEqual(idle.put(A, "1", 0.0), "1")
        self.assertEqual(len(idle), 0)

    def test_expiry(self) -> None:
        """What has been idle for the time goes, the rest stays."""
        self.put("1", "2", "3")
        self.assertEqual(self.idle.expire(9.9), [])
        self.assertEqual(self.idle.expire(11.0), ["1", "2"])
        self.assertEqual(self.idle.take(A), "3")

    def test_use_begins_anew(self) -> None:
        """One that was used in between is as good as new."""
        self.put("1", "2")
        self.assertEqual(self.idle.take(A), "2")
        self.idle.put(A, "2", 9.0)
        self.assertEqual(self.idle.expire(18.0), ["1"])

    def test_discard(self) -> None:
        """A connection that has ended is forgotten; one that was not idle does no harm."""
        self.put("1", "2")
        for name in ("2", "2", "never"):
            self.idle.discard(A, name)
        self.idle.discard(B, "1")
        self.assertEqual(self.idle.take(A), "1")

    def test_clear(self) -> None:
        """All can be had at once."""
        self.put("1", "2")
        self.put("3", origin=B)
        self.assertEqual(sorted(self.idle.clear()), ["1", "2", "3"])
        self.assertEqual((len(self.idle), self.idle.take(A)), (0, None))
