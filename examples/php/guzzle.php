<?php

// Fetches a page with Guzzle 7 through fastcar:
//
//     php examples/php/guzzle.php [URL]
//
// With FASTCAR_HTTPS_SOCKET, which is optional here, https:// needs no TLS between PHP and fastcar.

declare(strict_types=1);

use GuzzleHttp\Client;
use GuzzleHttp\HandlerStack;

require 'GuzzleHttp/autoload.php'; // Debian's php-guzzlehttp-guzzle; else vendor/autoload.php
require __DIR__ . '/FastcarMiddleware.php';

['socket' => $socket, 'ca' => $ca] = require __DIR__ . '/settings.php';
$httpsSocket = getenv('FASTCAR_HTTPS_SOCKET') ?: null;

$stack = HandlerStack::create();
// Pushed last, so that it is the last to see a request, each redirect included.
$stack->push(new FastcarMiddleware($socket, $ca, $httpsSocket), 'fastcar');
$client = new Client(['handler' => $stack]);

echo $client->get($argv[1] ?? 'https://www.example.com/')->getBody();
