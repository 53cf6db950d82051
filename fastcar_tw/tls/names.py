"""
Names in certificates and in SNI: DNS names in ASCII (A-labels) and IP literals.
"""

from __future__ import annotations

import re

from fastcar_tw.http.target import ip_literal

__all__ = ["is_dns_name", "normal_host"]

# RFC 1123 section 2.1 labels, and the underscore that names of containers and services have.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: RFC 1035 section 2.3.4, in its text form without the final dot.
MAX_NAME = 253


def is_dns_name(name: str) -> bool:
    """
    Whether C{name} is a DNS name in lower case; no wildcard, no final dot, no IP literal.
    """
    if not 0 < len(name) <= MAX_NAME:
        return False
    labels = name.split(".")
    # A last label of digits reads as an IPv4 address (RFC 1123 section 2.1).
    return not labels[-1].isdigit() and all(_LABEL.fullmatch(label) for label in labels)


def normal_host(host: str) -> str:
    """
    One spelling for each host: lower case, no brackets, no final dot, shortest IPv6 form.
    """
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    host = host.lower()
    address = ip_literal(host)
    return str(address) if address is not None else host.removesuffix(".")
