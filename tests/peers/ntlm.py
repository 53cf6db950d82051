"""An origin that authenticates connections instead of requests: NTLM, as far as a server needs it.

The messages are those of [MS-NLMP] section 2.2.1. The client's answer is verified against the
challenge of its connection, so it is worth nothing on any other.
"""

from __future__ import annotations

import base64
import hmac
import os
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, modes

try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:  # before version 43
    from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES

_SIGNATURE = b"NTLMSSP\0"
#: Unicode, request target, NTLM, the target is a domain, target info.
_FLAGS = 0x00810205
#: Target info: the domain's name (2), end of list (0).
_DOMAIN = "TEST".encode("utf-16le")
_TARGET_INFO = struct.pack("<HH", 2, len(_DOMAIN)) + _DOMAIN + bytes(4)

#: Who may come in, the password, and its hash: MD4 of it in UTF-16, which Python may not have.
USER = "alice"
PASSWORD = "password"
_HASH = bytes.fromhex("8846f7eaee8fb117ad06bdd830b7586c")


class NTLMServer:
    """The server's side of one connection: `user` is whoever has authenticated it."""

    def __init__(self) -> None:
        self.user = ""
        self._challenge = b""

    def receive(self, token: bytes) -> bytes:
        """Take a message from an Authorization field; return the one to answer with, if any."""
        message = base64.b64decode(token, validate=True)
        if not message.startswith(_SIGNATURE):
            raise AssertionError(f"no NTLM message: {message!r}")
        kind = message[8]
        if kind == 1:
            self.user = ""
            self._challenge = os.urandom(8)
            return base64.b64encode(self._challenge_message())
        if kind == 3 and self._challenge:
            user = _payload(message, 36).decode("utf-16le")
            domain = _payload(message, 28).decode("utf-16le")
            if user == USER and self._verifies(user, domain, _payload(message, 20)):
                self.user = user
        self._challenge = b""
        return b""

    def _challenge_message(self) -> bytes:
        """Type 2, without a target name."""
        end = 48
        head = struct.pack("<8sIHHII8s8x", _SIGNATURE, 2, 0, 0, end, _FLAGS, self._challenge)
        return head + struct.pack("<HHI", len(_TARGET_INFO), len(_TARGET_INFO), end) + _TARGET_INFO

    def _verifies(self, user: str, domain: str, response: bytes) -> bool:
        """NTLMv1 or v2 ([MS-NLMP] section 3.3); not all versions of curl know the second."""
        if len(response) == 24:
            return hmac.compare_digest(response, _desl(_HASH, self._challenge))
        key = hmac.digest(_HASH, (user.upper() + domain).encode("utf-16le"), "md5")
        proof, blob = response[:16], response[16:]
        return hmac.compare_digest(proof, hmac.digest(key, self._challenge + blob, "md5"))


def _desl(key: bytes, data: bytes) -> bytes:
    """DESL ([MS-NLMP] section 6): DES with three times 56 bits of the key, padded with zeros."""
    padded = key + bytes(5)
    return b"".join(_des(padded[start : start + 7], data) for start in (0, 7, 14))


def _des(bits: bytes, data: bytes) -> bytes:
    number = int.from_bytes(bits, "big")
    # Seven bits of the key to a byte; the eighth, for parity, is ignored.
    key = bytes((number >> shift & 0x7F) << 1 for shift in range(49, -1, -7))
    return Cipher(TripleDES(key * 3), modes.ECB()).encryptor().update(data)


def _payload(message: bytes, field: int) -> bytes:
    """What a field of a message points to."""
    length, _, offset = struct.unpack_from("<HHI", message, field)
    return message[offset : offset + length]
