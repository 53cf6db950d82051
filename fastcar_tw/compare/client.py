"""
PHP as a process that carries out one request after the other and says how long each took.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastcar_tw.compare import CompareError
from fastcar_tw.compare.processes import LineReader, running

#: Options of curl by their names in PHP, without C{CURLOPT_}.
CurlOptions = Mapping[str, "str | list[str]"]

_SCRIPT = Path(__file__).with_name("client.php")
#: Seconds for an answer.  PHP gives a request 30 and then says why; this is for a PHP that hangs.
_PATIENCE = 40.0


@dataclass(frozen=True)
class Timing:
    """
    One request: its time in milliseconds, and the status of the response.
    """

    ms: float
    status: int


class Client:
    """
    @ivar about: the versions of PHP and of what it uses.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """
        @param process: runs client.php, with pipes.
        @raise CompareError: if it says that it cannot.
        """
        assert process.stdin is not None and process.stdout is not None
        self._jobs = process.stdin
        self._answers = LineReader(process.stdout)
        self.about = "PHP {php} with libcurl {libcurl} ({tls})".format(**self._answer())

    def request(self, options: CurlOptions) -> Timing:
        """
        Carry out a request with a curl handle of its own.

        @raise CompareError: if curl does not get a response; the text is curl's.
        """
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._jobs.write(json.dumps(dict(options)).encode() + b"\n")
        answer = self._answer()
        return Timing(float(answer["ms"]), int(answer["status"]))

    def _answer(self) -> dict[str, Any]:
        line = self._answers.read(_PATIENCE)
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            shown = repr(line[:200].decode("utf-8", "replace")) if line else "nothing"
            raise CompareError(f"PHP ended or printed something else: {shown}") from None
        if "error" in answer:
            raise CompareError(" ".join(str(answer["error"]).split()))
        return answer


@contextlib.contextmanager
def php_client() -> Iterator[Client]:
    """
    Run PHP while the block lasts.

    @raise CompareError: if there is none, or none with the curl extension.
    """
    program = shutil.which("php")
    if program is None:
        raise CompareError("php: not found; install it (Debian, Ubuntu: php-cli php-curl)")
    # Notices of PHP's must not get between the answers.
    argv = [program, "-d", "display_errors=stderr", str(_SCRIPT)]
    with running(argv, subprocess.PIPE) as process:
        yield Client(process)
