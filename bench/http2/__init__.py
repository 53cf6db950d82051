"""Side by side: fastcar with HTTP/1.1 and with HTTP/2 to one and the same origin.

``python -m bench.http2`` compares speed, cost, connections and failures. How a run is made, module
by module::

    scenarios          what is asked of each
    origin             the nginx that answers, in HTTP/1.1 and HTTP/2
    application        what stands behind it: takes its time, takes uploads
    link               a long way between fastcar and the origin, as a program
    proxies            fastcar, with each --http2
    loads              how each kind of load is driven and what it tells
    burst              a load generator (worker, see bench.workers): each client asks once
    sockets            how many connections are open
    measure            the interleaved rounds
    report             tables and JSON
"""
