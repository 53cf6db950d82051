"""
CRC32C, the checksum of SCTP, iSCSI and the PROXY protocol; Python has only the other one.
"""

from __future__ import annotations


def crc32c(data: bytes) -> int:
    """
    The checksum of RFC 3720 section 12.1 and RFC 4960 appendix B, as a number.

    It takes some 60 ns a byte: for headers, not for what follows them.
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _entry(value: int) -> int:
    for _ in range(8):
        # The polynomial 0x1EDC6F41, its bits in reverse order.
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = [_entry(value) for value in range(256)]
