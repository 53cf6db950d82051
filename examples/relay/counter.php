<?php
// Counts its own runs in Redis, through fastcar's relay, and tells how many connections Redis has
// seen for it. Start the relay with `make run-relay` first.
//
//     php examples/relay/counter.php [SOCKET]

declare(strict_types=1);

$socket = $argv[1] ?? '/tmp/fastcar-redis.sock';

if (!extension_loaded('redis')) {
    fwrite(STDERR, "PHP has no redis extension. On Debian and Ubuntu: apt-get install php-redis\n");
    exit(1);
}

$redis = new Redis();
try {
    $redis->connect($socket);
    $visits = $redis->incr('visits');
    $stats = $redis->info('stats');
} catch (RedisException $error) {
    fwrite(STDERR, "$socket: {$error->getMessage()}. Does `make run-relay` run?\n");
    exit(1);
}
printf("visit %d, connections to Redis so far: %d\n", $visits, $stats['total_connections_received']);
