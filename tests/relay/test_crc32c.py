"""CRC32C: the examples of its specifications."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from fastcar_tw.relay.crc32c import crc32c


class CRC32CTests(SynchronousTestCase):
    """Checksums that others have published."""

    def test_rfc_3720(self) -> None:
        """The examples of RFC 3720 B.4, whose bytes stand in the order of the wire there."""
        examples = {
            bytes(32): "aa36918a",
            b"\xff" * 32: "43aba862",
            bytes(range(32)): "4e79dd46",
            bytes(reversed(range(32))): "5cdb3f11",
        }
        for data, written in examples.items():
            self.assertEqual(crc32c(data), int.from_bytes(bytes.fromhex(written), "little"))

    def test_check_value(self) -> None:
        """The check value by which catalogues of checksums know it, and the sum of nothing."""
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(crc32c(b""), 0)
