"""
What a request target leads to below the document root: a script, a static file, or nothing.

The order is that of nginx's C{try_files $uri $uri/ /index.php} and Caddy's C{php_fastcgi}: the file
itself, the directory's index, the front controller.  Whatever may not be had counts as not there,
so that answers do not tell what exists.  The rules, in the order in which they are applied:

 1. The path is split at its slashes, then decoded (RFC 3986 section 2.4).  Empty and dot segments
    are removed (section 5.2.4), encoded ones too; to climb above the root is an error.
 2. A segment that holds an encoded slash or a backslash, or begins with a dot, names no file and no
    directory, but for a first one that is C{.well-known} (RFC 8615).
 3. The script is the first segment that ends exactly in the suffix, by bytes, and is a regular file
    there; the rest is PATH_INFO (RFC 3875 section 4.1.5).  Nothing is split in a place where there
    is no script, so C{/x.jpg/y.php} has none (CVE-2019-11043, cgi.fix_pathinfo).
 4. A static file has a name that no PHP source has: nowhere in it stands the suffix, C{.php},
    C{.phtml}, C{.pht}, C{.phar} or C{.inc}, in whatever case, so that C{x.PHP}, C{x.php.},
    C{x.php5}, C{x.php~} and C{x.php.bak} are none.
 5. Where symbolic links lead has to be inside the root, static files also inside one of the named
    directories, and what they lead to has to keep rules 2 to 4 too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from errno import ENAMETOOLONG
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple, TypeAlias
from urllib.parse import quote_from_bytes, unquote_to_bytes

from fastcar_tw.fastcgi.document_names import parse_front_controller, parse_index, parse_suffix
from fastcar_tw.http.errors import FastcarError, MessageError

__all__ = ["DocumentRoot", "NotFoundError", "Redirect", "Script", "StaticFile"]

#: Seconds for which it is believed where the root lies and which files are there.
BELIEF_TIME = 1.0
#: Files known at a time.
MAX_KNOWN = 1024

#: A path that means what it says: nothing is hidden, encoded, empty or a parent.
_PLAIN = re.compile(rb"(?:/[^/.%\\\x00\n\r][^/%\\\x00\n\r]*)+/?")
_INVALID_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
#: NUL, LF and CR, which end a name or a line for who reads the path after us.
_BREAKING = re.compile(rb"[\x00\n\r]|%0[0AaDd]")
#: A parent directory inside a segment, as a script could understand it in PATH_INFO.
_CLIMB = re.compile(rb"(?:\A|[/\\])\.\.(?:\Z|[/\\])")
_WELL_KNOWN = b"/.well-known"
_NOT_IN_QUERY = re.compile(rb"[^\x21-\x7e]")
#: What stands unencoded in a path (RFC 3986 section 3.3).
_PATH_CHARACTERS = "/!$&'()*+,;=:@"
_SOURCE = rb"\.(?:php|phtml|pht(?![a-z])|phar(?![a-z])|inc(?![a-z])|%b)"


class Script(NamedTuple):
    """
    A script to run, as RFC 3875 names it.  There is no PATH_TRANSLATED, since php-fpm with
    C{cgi.fix_pathinfo=0} runs the file that it names.

    @ivar filename: SCRIPT_FILENAME, as php-fpm sees it.
    @ivar name: SCRIPT_NAME: the script's path in the URL, decoded.
    @ivar path_info: PATH_INFO, decoded; empty or with a leading slash.
    @ivar document_root: DOCUMENT_ROOT, as php-fpm sees it.
    """

    filename: bytes
    name: bytes
    path_info: bytes
    document_root: bytes


class StaticFile(NamedTuple):
    """
    A file to send as it is.

    @ivar path: where it lies, free of symbolic links.
    """

    path: bytes


class Redirect(NamedTuple):
    """
    A directory that was asked for without its final slash: a 301 to it.

    @ivar location: path and query for Location, ASCII; begins with exactly one slash.
    """

    location: bytes


Document: TypeAlias = "Script | StaticFile | Redirect"


class NotFoundError(FastcarError):
    """
    Nothing is there that may be had: 404 (RFC 9209 section 2.3: C{http_request_error}).

    @ivar reason: for the log only, as it names paths: what was in the way, which is the
        operator's to mend; empty if there was just nothing there.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(404, "http_request_error", "not found")
        self.reason = reason


class DocumentRoot:
    """
    The documents below a directory.

    Files that were found are found again for L{BELIEF_TIME} without asking the file system; where
    there was nothing is looked again each time, so that a new file is there at once.
    """

    def __init__(
        self,
        root: str,
        *,
        index: tuple[str, ...] = ("index.php",),
        front_controller: str | None = None,
        split: str = ".php",
        static: bool = True,
        symlinks_to: tuple[str, ...] = (),
        fpm_root: str | None = None,
        now: Callable[[], float],
    ) -> None:
        """
        @param root: may be a symbolic link that is switched while this runs.
        @param index: file names to look for in a directory, the first that is there wins.
        @param front_controller: path of a script below the root, for what is not there.
        @param split: the suffix of scripts, in ASCII, with its dot.
        @param static: whether other files than scripts are found.
        @param symlinks_to: directories outside the root where links to static files may lead.
        @param fpm_root: the root as php-fpm sees it, if that is another path.
        @param now: seconds.
        @raise DocumentNameError: the suffix is none, a name of an index file has a slash or is
            hidden, or the front controller is no script below the root.
        """
        self._root = _absolute(root)
        self._link_targets = [_absolute(directory) for directory in symlinks_to]
        self._told_root = None if fpm_root is None else os.fsencode(fpm_root).rstrip(b"/") or b"/"
        self._suffix = parse_suffix(split)
        self._source = re.compile(_SOURCE % re.escape(self._suffix), re.IGNORECASE)
        self._index = [parse_index(name) for name in index]
        self._front: bytes | None = None
        if front_controller is not None:
            self._front = parse_front_controller(front_controller, self._suffix)
        self._static = static
        self._now = now
        self._believed_until = float("-inf")
        # By URL path.
        self._known: dict[bytes, Script | StaticFile] = {}
        # What is in the way of the present search.
        self._reason = ""

    def find(self, target: bytes) -> Document:
        """
        @param target: in origin-form: path and query (RFC 9112 section 3.2.1).
        @raise MessageError: 400: in the path stand an invalid percent escape, NUL, CR, LF or a way
            above the root.  The query may hold anything.
        @raise NotFoundError: 404.
        """
        path, mark, query = target.partition(b"?")
        now = self._now()
        if now >= self._believed_until:
            self._renew(now)
        # Keys hold no "%", so an encoded path is never taken for a decoded one.
        return self._known.get(path) or self._search(path, mark + query)

    def _renew(self, now: float) -> None:
        self._known.clear()
        self._real_root = os.path.realpath(self._root)
        self._base = self._real_root.rstrip(b"/")
        self._document_root = self._told_root or self._real_root
        self._link_bases = [os.path.realpath(path).rstrip(b"/") for path in self._link_targets]
        self._believed_until = now + BELIEF_TIME

    def _search(self, path: bytes, query: bytes) -> Document:
        self._reason = ""
        names, slash = _names(path)
        document = self._script(names, slash) or self._file_or_directory(names, slash, query)
        if document is None and self._front is not None:
            # With PATH_INFO empty, as nginx gives it after try_files, and Caddy.  Routes come from
            # REQUEST_URI in Symfony, Laravel, Slim, WordPress and Drupal.  A PATH_INFO would become
            # part of PHP_SELF, from which CakePHP and Joomla take the base of their links.
            document = self._regular_file(self._front)
        if document is None:
            raise NotFoundError(self._reason)
        return document

    def _script(self, names: list[bytes], slash: bool) -> Script | None:
        """
        The script that the path leads to or through.
        """
        for count, name in enumerate(names, 1):
            if name.endswith(self._suffix):
                url = _join(names[:count])
                if not _names_files(url, count):
                    return None
                script = self._regular_file(url)
                if isinstance(script, Script):
                    rest = names[count:]
                    path_info = _join(rest) if rest else b""
                    return self._with_path_info(script, path_info + b"/" if slash else path_info)
                if not S_ISDIR(self._mode(url)):
                    return None
        return None

    def _file_or_directory(
        self, names: list[bytes], slash: bool, query: bytes
    ) -> Script | StaticFile | Redirect | None:
        url = _join(names) if names else b""
        if not _names_files(url, len(names)):
            return None
        if slash:
            return self._index_of(url)
        mode = self._mode(url)
        # Only to an index: an application may have a route by the name of a directory of assets.
        if S_ISDIR(mode) and self._index_of(url) is not None:
            location = quote_from_bytes(url, _PATH_CHARACTERS).encode("ascii")
            return Redirect(location + b"/" + _NOT_IN_QUERY.sub(_escape, query))
        return self._regular_file(url) if S_ISREG(mode) else None

    def _index_of(self, url: bytes) -> Script | StaticFile | None:
        for name in self._index:
            document = self._regular_file(url + b"/" + name)
            if document is not None:
                return self._know(url + b"/", document)
        return None

    def _regular_file(self, url: bytes) -> Script | StaticFile | None:
        """
        The script or static file with this decoded path of valid names.
        """
        known = self._known.get(url)
        if known is not None:
            return known
        script = url.endswith(self._suffix)
        if not script and (not self._static or self._is_source(url)):
            return None
        if not S_ISREG(self._mode(url)):
            return None
        path = os.path.realpath(self._base + url)
        if not self._admits(path, script):
            return None
        return self._know(url, self._script_at(url) if script else StaticFile(path))

    def _know(self, url: bytes, document: Script | StaticFile) -> Script | StaticFile:
        if b"%" not in url:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[url] = document
        return document

    def _script_at(self, url: bytes) -> Script:
        # Links below the root stay: applications compare the names of SCRIPT_FILENAME and
        # SCRIPT_NAME.  The root's own are resolved, for opcache to see a new release as new files.
        root = self._document_root
        return Script(root.rstrip(b"/") + url, url, b"", root)

    def _with_path_info(self, script: Script, path_info: bytes) -> Script:
        return script._replace(path_info=path_info) if path_info else script

    def _mode(self, url: bytes) -> int:
        """
        The type of a file, 0 if there is none to be seen.
        """
        path = self._base + url
        try:
            return os.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except OSError as error:
            # Clients can ask for long names as they like, and must not fill the log.
            if error.errno != ENAMETOOLONG:
                self._reason = f"{error.strerror}: {os.fsdecode(path)!r}"
            return 0

    def _admits(self, path: bytes, script: bool) -> bool:
        """
        Whether the file with this real path may be had (rule 5).
        """
        bases = [self._base] if script else [self._base, *self._link_bases]
        if any(self._fits(path, base, script) for base in bases):
            return True
        self._reason = f"a link leads outside the root or to a source: {os.fsdecode(path)!r}"
        return False

    def _fits(self, path: bytes, base: bytes, script: bool) -> bool:
        if not path.startswith(base + b"/"):
            return False
        url = path[len(base) :]
        right = url.endswith(self._suffix) if script else not self._is_source(url)
        return right and _names_files(url, url.count(b"/"))

    def _is_source(self, url: bytes) -> bool:
        """
        Rule 4.
        """
        return self._source.search(url, url.rfind(b"/")) is not None


def _names(path: bytes) -> tuple[list[bytes], bool]:
    """
    Rule 1.

    @return: the decoded segments, and whether a slash ends the path.
    @raise MessageError: see L{DocumentRoot.find}.
    """
    if _PLAIN.fullmatch(path):
        slash = path.endswith(b"/")
        return path[1 : -1 if slash else None].split(b"/"), slash
    if path[:1] != b"/":
        raise MessageError("invalid request target: expected /path")
    encoded = b"%" in path
    if encoded and _INVALID_ESCAPE.search(path):
        raise MessageError("invalid request target: expected two hexadecimal digits after each %")
    if _BREAKING.search(path):
        raise MessageError("invalid request target: expected no NUL, CR or LF, also not encoded")
    names: list[bytes] = []
    name = b""
    for segment in path[1:].split(b"/"):
        name = unquote_to_bytes(segment) if encoded else segment
        if name == b"..":
            if not names:
                raise MessageError("invalid request target: expected a path below the root")
            names.pop()
        elif name not in (b"", b"."):
            if b".." in name and _CLIMB.search(name):
                raise MessageError("invalid request target: expected no .. beside a separator")
            names.append(name)
    return names, not names or name in (b"", b".", b"..")


def _names_files(url: bytes, segments: int) -> bool:
    """
    Rule 2, for the segments joined by slashes, with one in front.

    @param segments: how many there are; if one holds a slash, there are more slashes.
    """
    rest = url[len(_WELL_KNOWN) :] if (url + b"/").startswith(_WELL_KNOWN + b"/") else url
    return b"/." not in rest and b"\\" not in url and url.count(b"/") == segments


def _join(names: list[bytes]) -> bytes:
    return b"/" + b"/".join(names)


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(match[0])


def _absolute(path: str) -> bytes:
    # Not os.path.abspath: it would drop ".." behind a symbolic link.
    return os.path.join(os.getcwdb(), os.fsencode(path))
