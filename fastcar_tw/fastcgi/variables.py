"""
The variables of a request: CGI/1.1 (RFC 3875 section 4.1) with what PHP applications know from
other servers besides.

Four blocks of encoded pairs make them up: those that never change, those of the connection, those
of the request, and the operator's own, which come last because php-fpm keeps the last of two.

What is left out, and why:

  - PATH_TRANSLATED: with C{cgi.fix_pathinfo=0} php-fpm runs the file it names, so that
    C{/index.php/upload.jpg} would run upload.jpg.
  - PATH_INFO when it is empty: with C{cgi.fix_pathinfo=0} PHP_SELF would be empty too.
  - CONTENT_LENGTH and CONTENT_TYPE when the request has none (RFC 3875 sections 4.1.2 and 4.1.3);
    empty ones would come out of C{getallheaders()} as fields that nobody has sent.
  - REMOTE_USER and AUTH_TYPE: nobody is authenticated here, and applications believe them.
  - Fields whose names hold anything but letters, digits and C{-}: C{Content_Length} and
    C{X_Forwarded_For} would become the variables of other fields.
  - HTTP_PROXY, which HTTP clients take for their own configuration (CVE-2016-5385).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import fastcar_tw
from fastcar_tw.fastcgi.forwarded import LOOPBACK, tells_of_client
from fastcar_tw.fastcgi.records import encode_pair
from fastcar_tw.http.head import RequestHead
from fastcar_tw.http.target import parse_authority

if TYPE_CHECKING:
    from fastcar_tw.fastcgi.documents import Script

__all__ = ["client_variables", "common_variables", "encode_variables", "request_variables"]

#: Names of fields whose variables are remembered, and bytes of such a name.
MAX_NAMES = 512
MAX_NAME = 64

_FIELD = re.compile(rb"([^:]+):([^\r]*)\r\n")
_PASSED_ON = re.compile(rb"[0-9a-z\-]+")
#: Besides the hop-by-hop fields, which are gone already: CONTENT_LENGTH is told exactly, and Expect
#: is answered here.
_NOT_PASSED_ON = frozenset((b"content-length", b"expect", b"proxy"))
_PROTOCOLS = {
    10: encode_pair(b"SERVER_PROTOCOL", b"HTTP/1.0"),
    11: encode_pair(b"SERVER_PROTOCOL", b"HTTP/1.1"),
}


class _Names(dict[bytes, bytes | None]):
    """
    The variables of fields, by name as received; None for a field that is not passed on.
    """

    def __init__(self, believed: bool) -> None:
        self._believed = believed

    def __missing__(self, name: bytes) -> bytes | None:
        variable = _variable(name.lower(), self._believed)
        if len(name) <= MAX_NAME:
            # Clients can fill it with what they like: it is cleared rather than full for ever.
            if len(self) >= MAX_NAMES:
                self.clear()
            self[name] = variable
        return variable


def _variable(name: bytes, believed: bool) -> bytes | None:
    if _PASSED_ON.fullmatch(name) is None or name in _NOT_PASSED_ON:
        return None
    if tells_of_client(name) and not believed:
        return None
    if name == b"content-type":
        return b"CONTENT_TYPE"
    return b"HTTP_" + name.upper().replace(b"-", b"_")


_OF_ANYONE = _Names(believed=False)
_OF_TRUSTED = _Names(believed=True)


def encode_variables(variables: Iterable[tuple[str, str]]) -> bytes:
    """
    Encode variables that are text, such as the operator's own, in the file system's encoding, in
    which the command line comes.
    """
    pairs = [encode_pair(os.fsencode(name), os.fsencode(value)) for name, value in variables]
    return b"".join(pairs)


def common_variables() -> bytes:
    """
    The variables that are the same for all requests.  Without REDIRECT_STATUS a PHP that was built
    with C{--enable-force-cgi-redirect} refuses to work.
    """
    return encode_variables(
        (
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_SOFTWARE", f"fastcar/{fastcar_tw.__version__}"),
            ("REDIRECT_STATUS", "200"),
        )
    )


def client_variables(
    peer: tuple[str, int] | None, local: tuple[str, int] | None, https: bool
) -> bytes:
    """
    The variables of a connection.

    A client on a UNIX socket is on this host, so its address is 127.0.0.1: applications exist that
    fail without a valid one.

    @param peer: address and port of the client, None for a UNIX socket.
    @param local: address and port of this end, None for a UNIX socket.
    """
    scheme, default_port = ("https", 443) if https else ("http", 80)
    remote_address, remote_port = peer or (LOOPBACK, 0)
    local_address, local_port = local or (LOOPBACK, default_port)
    variables = [
        ("REMOTE_ADDR", _plain(remote_address)),
        ("REMOTE_PORT", str(remote_port)),
        ("SERVER_ADDR", _plain(local_address)),
        ("SERVER_PORT", str(local_port)),
        ("REQUEST_SCHEME", scheme),
    ]
    if https:
        variables.append(("HTTPS", "on"))
    return encode_variables(variables)


def _plain(address: str) -> str:
    """
    An address without its zone, and an IPv4 address as such (C{::ffff:192.0.2.1}).
    """
    address = address.partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address


def request_variables(
    request: RequestHead, script: Script, content_length: int, believed: bool = False
) -> list[bytes]:
    """
    The variables of a request, as encoded pairs, or several pairs in one.

    @param content_length: bytes of the body, also of one that came chunked.
    @param believed: what the request says about its client is passed on: it comes from a trusted
        proxy.
    @raise MessageError: the Host field is no authority.
    """
    target = request.target
    pairs = [
        _script_variables(script),
        _server_name(request.host),
        _PROTOCOLS[request.version],
        encode_pair(b"REQUEST_METHOD", request.method),
        encode_pair(b"REQUEST_URI", target),
        encode_pair(b"QUERY_STRING", target.partition(b"?")[2]),
    ]
    if request.content_length is not None or request.chunked:
        pairs.append(encode_pair(b"CONTENT_LENGTH", b"%d" % content_length))
    fields = _fields(request.fields, _OF_TRUSTED if believed else _OF_ANYONE)
    pairs += [encode_pair(name, value) for name, value in fields.items()]
    return pairs


def _script_variables(script: Script) -> bytes:
    # A path behind the script's may be any, and of any length: that is not remembered.
    return _encode_script(script) if script.path_info else _remembered_script(script)


def _encode_script(script: Script) -> bytes:
    pairs = [
        encode_pair(b"SCRIPT_FILENAME", script.filename),
        encode_pair(b"SCRIPT_NAME", script.name),
        encode_pair(b"DOCUMENT_ROOT", script.document_root),
        encode_pair(b"DOCUMENT_URI", script.name + script.path_info),
    ]
    if script.path_info:
        pairs.append(encode_pair(b"PATH_INFO", script.path_info))
    return b"".join(pairs)


_remembered_script = lru_cache(1024)(_encode_script)


def _fields(lines: bytes, names: _Names) -> dict[bytes, bytes]:
    """
    The variables of field lines.  Those of several lines are joined (RFC 3875 section 4.1.18, RFC
    9110 section 5.3, RFC 9113 section 8.2.3).
    """
    found: dict[bytes, bytes] = {}
    repeated: dict[bytes, list[bytes]] = {}
    for name, value in _FIELD.findall(lines):
        variable = names[name]
        if variable is None:
            continue
        value = value.strip(b" \t")
        if variable in found:
            repeated.setdefault(variable, [found[variable]]).append(value)
        else:
            found[variable] = value
    for variable, values in repeated.items():
        found[variable] = (b"; " if variable == b"HTTP_COOKIE" else b", ").join(values)
    return found


@lru_cache(256)
def _server_name(authority: bytes) -> bytes:
    host, _ = parse_authority(authority, "http")
    return encode_pair(b"SERVER_NAME", (f"[{host}]" if ":" in host else host).encode("ascii"))
