"""Makes ``fastcar`` a twistd command. Every run of twistd and trial loads this file: no imports."""

from twisted.application.service import ServiceMaker

fastcar = ServiceMaker(
    "fastcar",
    "fastcar_tw.service",
    "Forward proxy on a UNIX socket: pooled HTTP and HTTPS connections for PHP.",
    "fastcar",
)
