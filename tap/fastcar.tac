"""The same service as ``twistd -n fastcar``, as an application of its own.

Start it with ``twistd -ny tap/fastcar.tac``.
"""

from twisted.application import service

from fastcar_tw import Config
from fastcar_tw.service import ForwardService

application = service.Application("fastcar")

# Change the configuration here, for example
# Config(unix="/run/fastcar/fastcar.sock", socket_group="www-data", connect_timeout=5).
ForwardService(Config()).setServiceParent(application)
