"""
fastcar: a forward proxy on a UNIX socket that pools HTTP and HTTPS connections for PHP.

C{twistd -n fastcar} is the usual way to run it.  For embedding in a Twisted application build a
L{Config} and hand it to L{fastcar_tw.service.ForwardService}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastcar_tw.config import Config

__all__ = ["Config"]

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> str:
    """
    Look up C{__version__} in the installed metadata, only when asked for (PEP 562).
    """
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("fastcar_tw")
