<?php

// Fetches pages with PHP's streams, to which fastcar is a proxy on TCP
// (fastcar --listen tcp:3128:interface=127.0.0.1):
//
//     php examples/php/streams-tcp.php [URL...]
//
// For https:// PHP asks for a tunnel (CONNECT), and fastcar ends the TLS in it: the connection to
// the origin is kept and shared all the same.

declare(strict_types=1);

['proxy' => $proxy, 'ca' => $ca] = require __DIR__ . '/settings.php';

// From here on file_get_contents(), fopen(), copy() and the like go through fastcar.
stream_context_set_default([
    'http' => ['proxy' => $proxy, 'request_fulluri' => true],
    'ssl' => ['cafile' => $ca], // openssl.cafile in php.ini does the same for all scripts
]);

foreach (array_slice($argv, 1) ?: ['https://www.example.com/'] as $url) {
    $body = file_get_contents($url);
    if ($body === false) {
        exit(1); // PHP has given a warning
    }
    echo $body;
}
