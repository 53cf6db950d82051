"""Side-by-side benchmarks: direct, nginx and fastcar in one interleaved run.

``python -m bench`` compares speed and cost, ``python -m bench.memory`` measures memory.
How a run is made, module by module::

    certificates   a throw-away CA for the origin and for nginx's TLS socket
    processes      start, await and stop the programs taking part
    origin         the nginx that answers every request
    contestants    the ways to reach it: direct, nginx, fastcar, any other proxy
    scenarios      what is asked of each of them
    wire           sockets, TLS and one checked request, for the Python side
    workers        the processes that produce load, and how they are driven
    jobs           a slice of load
    lean, load.php the two load generators (workers)
    procfs         CPU time and memory of a process tree
    measure        the interleaved rounds
    ratios         one way against another over the rounds
    setting        machine and versions, for the head of the report
    report, chart  tables, JSON, picture
    arguments      types of command line arguments
    memory, transfer   memory of idle clients and of slow bulk transfers
    fastcgi        the same for HTTP in front of php-fpm: ``python -m bench.fastcgi``
    http2          HTTP/1.1 and HTTP/2 to the same origin: ``python -m bench.http2``
    relay          the same for TCP in front of TCP backends: ``python -m bench.relay``
"""
