<?php

// Fetches pages of http:// origins with PHP's streams, through fastcar's socket:
//
//     php examples/php/streams-unix.php [URL...]
//
// For https:// see streams-tcp.php and streams-https-socket.php.

declare(strict_types=1);

['socket' => $socket] = require __DIR__ . '/settings.php';

// From here on file_get_contents(), fopen(), copy() and the like go through fastcar.
stream_context_set_default([
    'http' => ['proxy' => "unix://$socket", 'request_fulluri' => true],
]);

foreach (array_slice($argv, 1) ?: ['http://www.example.com/'] as $url) {
    $body = file_get_contents($url);
    if ($body === false) {
        exit(1); // PHP has given a warning
    }
    echo $body;
}
