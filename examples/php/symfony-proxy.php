<?php

// Fetches a page with Symfony's HttpClient, to which fastcar is a proxy:
//
//     php examples/php/symfony-proxy.php [URL]

declare(strict_types=1);

use Symfony\Component\HttpClient\HttpClient;

// Debian's php-symfony-http-client; else vendor/autoload.php
require 'Symfony/Component/HttpClient/autoload.php';

['socket' => $socket, 'ca' => $ca] = require __DIR__ . '/settings.php';

$client = HttpClient::create(['proxy' => "socks5h://localhost$socket", 'cafile' => $ca]);

echo $client->request('GET', $argv[1] ?? 'https://www.example.com/')->getContent();
