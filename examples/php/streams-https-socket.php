<?php

// Fetches pages of https:// origins with PHP's streams, without TLS between PHP and fastcar:
//
//     php examples/php/streams-https-socket.php [URL...]
//
// What arrives on the socket of --https-unix in plain goes on to the origin over TLS, and fastcar
// verifies the origin. PHP cannot follow a redirect to https:// here, so it follows none.

declare(strict_types=1);

['httpsSocket' => $socket] = require __DIR__ . '/settings.php';

$context = stream_context_create(['http' => [
    'proxy' => "unix://$socket",
    'request_fulluri' => true,
    'follow_location' => 0,
]]);

foreach (array_slice($argv, 1) ?: ['https://www.example.com/'] as $url) {
    $body = file_get_contents(preg_replace('/^https:/i', 'http:', $url), false, $context);
    if ($body === false) {
        exit(1); // PHP has given a warning
    }
    echo $body;
}
