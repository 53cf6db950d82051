"""Requests to fastcar itself, and their answers."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from fastcar_tw.testing import Peer
from tests.forward.support import ProxyTestCase, answer, request

SITE = b"fastcar.localhost"


def site_request(target: bytes = b"/", *fields: bytes, **more: Any) -> bytes:
    """A request to fastcar itself."""
    return request(target, *fields, host=SITE, **more)


def probe_request(url: str, *fields: bytes) -> bytes:
    """A request for a probe of a URL, encoded as it should be."""
    return site_request(b"/probe?url=" + quote(url, safe="").encode("ascii"), *fields)


class SiteTestCase(ProxyTestCase):
    """
    Asks fastcar itself.
    """

    def json(self, client: Peer | None = None) -> dict[str, Any]:
        """What a client has been answered, which has to be well and in JSON."""
        status, fields, body = answer((client or self.client).take())
        self.assertEqual((status, fields[b"content-type"]), (200, b"application/json"))
        content: dict[str, Any] = json.loads(body)
        return content

    def ask(self, client: Peer | None = None, target: bytes = b"/") -> dict[str, Any]:
        """The JSON at a path."""
        (client or self.client).send(site_request(target))
        return self.json(client)

    def status(self, asked: bytes) -> int:
        """The status a request is answered with."""
        self.client.send(asked)
        return answer(self.client.take()).status
