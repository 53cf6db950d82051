"""Side by side: nginx and fastcar as the gateway from HTTP to php-fpm.

``python -m bench.fastcgi`` compares speed, cost and failures, ``python -m bench.fastcgi.memory``
measures memory. How a run is made, module by module::

    scripts/           what php-fpm runs
    scenarios          what is asked of each gateway
    php_fpm            php-fpm with a pool of children for each gateway
    gateways           nginx, nginx with kept FastCGI connections, fastcar
    load               the load generator: one epoll loop in a worker (see bench.workers)
    job, client, response   what it is told, its clients, what they read
    measure            the interleaved rounds
    report, targets    tables and JSON; what fastcar is to reach
    memory, bulk       growth while much passes
"""
