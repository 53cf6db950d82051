"""PHP scripts that run one of several scenarios and print what came of its steps, as JSON."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from typing import Any
from unittest import SkipTest

from tests.peers.processes import LIMIT, require


@functools.cache
def php_with(extension: str) -> str:
    """The path of a php that has an extension; skips the test if there is none."""
    php = require("php", "php-cli")
    code = f"exit(extension_loaded('{extension}') ? 0 : 1);"
    if subprocess.run([php, "-r", code], timeout=LIMIT, check=False).returncode != 0:
        raise SkipTest(f"PHP has no {extension} extension (Debian package php-{extension})")
    return php


def command_of(extension: str, scenario: str, place: str) -> list[str]:
    """What runs a scenario of the script that is named as the extension that it tries."""
    script = os.path.join(os.path.dirname(__file__), f"{extension}.php")
    return [php_with(extension), script, scenario, place]


def run_scenario(extension: str, scenario: str, place: str) -> Any:
    """What came of a scenario."""
    done = subprocess.run(
        command_of(extension, scenario, place),
        capture_output=True,
        timeout=3 * LIMIT,
        check=False,
    )
    if done.returncode != 0 or done.stderr:
        raise AssertionError((done.returncode, done.stdout[-2000:], done.stderr[-2000:]))
    return json.loads(done.stdout)
