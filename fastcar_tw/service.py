"""
From the command line to running services: what C{twistd fastcar} loads.
"""

from __future__ import annotations

import resource
import signal
from typing import Any, NoReturn

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from fastcar_tw.config import ConfigError
from fastcar_tw.downstream.listeners import ListenerError
from fastcar_tw.downstream.service import DownstreamService
from fastcar_tw.downstream.socketfile import SocketPathError
from fastcar_tw.forward.service import ForwardService
from fastcar_tw.options import Options
from fastcar_tw.routes.proxy import ProxyURLError
from fastcar_tw.tls.ca_store import LocalCAError
from fastcar_tw.tls.server_contexts import CertificateFileError
from fastcar_tw.tls.trust import TrustError

__all__ = ["ForwardService", "makeService"]

#: Descriptors asked of the system; no more, so that a limit without bound does no harm.
MAX_DESCRIPTORS = 65536

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: What an operator can put right: told in one line, without a traceback.
_OPERATOR_ERRORS = (
    CannotListenError,
    CertificateFileError,
    ConfigError,
    ListenerError,
    LocalCAError,
    ProxyURLError,
    SocketPathError,
    TrustError,
)


class CommandLineService(MultiService):
    """
    Ends the process with one line when the services in it cannot start.
    """

    def privilegedStartService(self) -> None:
        """
        @raise SystemExit: with the reason; the exit status is 1.
        """
        try:
            super().privilegedStartService()
        except _OPERATOR_ERRORS as error:
            _give_up(error)

    def stopService(self) -> Deferred[Any]:
        """
        Stop; a second signal while that takes its time ends it.

        @return: fires when all services have stopped.
        """
        before = {
            number: signal.signal(number, self._hurry)
            for number in _STOP_SIGNALS
            if signal.getsignal(number) != signal.SIG_IGN  # as for what a shell runs behind itself
        }
        stopped: Deferred[Any] = super().stopService()
        return stopped.addBoth(_restore_signals, before)

    def _hurry(self, *_: object) -> None:
        from twisted.internet import reactor

        for service in self:
            if isinstance(service, DownstreamService):
                # Twisted's own handler would fail: the reactor is stopping already.
                reactor.callFromThread(service.hurry)  # type: ignore[attr-defined]  # a module


def _restore_signals(result: Any, before: dict[signal.Signals, Any]) -> Any:
    for number, handler in before.items():
        signal.signal(number, handler)
    return result


def makeService(options: Options) -> IService:
    """
    The services that the options ask for.

    @raise SystemExit: with the reason why there can be none; the exit status is 1.
    """
    raise_descriptor_limit()
    service = CommandLineService()
    try:
        _chosen_service(options).setServiceParent(service)
    except _OPERATOR_ERRORS as error:
        _give_up(error)
    return service


def _chosen_service(options: Options) -> DownstreamService:
    if options.subCommand == "fastcgi":
        # Some MiB that the other services can do without.
        from fastcar_tw.fastcgi.service import FastCGIService

        return FastCGIService(options.subOptions.to_config())
    if options.subCommand == "relay":
        from fastcar_tw.relay.service import RelayService

        return RelayService(options.subOptions.to_config())
    return ForwardService(options.to_config())


def raise_descriptor_limit() -> None:
    """
    Let this process have as many descriptors as it may, up to L{MAX_DESCRIPTORS}: each client and
    each kept connection needs one, and the usual soft limit is 1024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _give_up(error: Exception) -> NoReturn:
    raise SystemExit(f"fastcar: {error}")
