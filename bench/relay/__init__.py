"""Side by side: HAProxy, nginx and fastcar between clients and a TCP backend.

``python -m bench.relay`` compares speed, cost and failures, ``python -m bench.relay.memory``
measures memory. How a run is made, module by module::

    scenarios          what is asked through each relay
    backends           what answers: an echo, a source and sink of bulk, redis-server
    echo, bulk         the first two of them, as programs; bulk is also the clients' side
    relays             no relay, HAProxy, nginx's stream module, fastcar, fastcar with a pool
    generators         how each kind of load is driven and what it tells
    frames, pump       the load generators (workers, see bench.workers)
    redis              redis-server, and redis-benchmark as a load generator
    measure            the interleaved rounds
    report, targets    tables and JSON; what fastcar is to reach
    memory             memory of idle clients and of slow bulk transfers
"""
