"""
C{python -m fastcar_tw.compare}: what a PHP request takes with fastcar and without.

PHP itself asks, in turns: directly, and through fastcar's sockets.  Module by module::

    options          the command line
    client           PHP as a process that carries out requests (client.php) and times them
    ways             the ways to an origin, as options of curl
    fastcar          the fastcar that is measured
    link             with --rtt: a local origin behind a delay (origin, relay, delay)
    sampling         the requests, in turns
    statistics       percentiles, means, reductions
    report, chart    what is shown
    processes        children: their start and their end
"""

from __future__ import annotations

__all__ = ["CompareError"]


class CompareError(Exception):
    """
    The comparison cannot go on.  The text is one line, for whoever started it.
    """
