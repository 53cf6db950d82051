<?php

// Fetches a page with Symfony's HttpClient through fastcar:
//
//     php examples/php/symfony.php [URL]

declare(strict_types=1);

// Debian's php-symfony-http-client; else vendor/autoload.php
require 'Symfony/Component/HttpClient/autoload.php';
require __DIR__ . '/FastcarHttpClient.php';

['socket' => $socket, 'ca' => $ca] = require __DIR__ . '/settings.php';

$client = new FastcarHttpClient($socket, $ca);

echo $client->request('GET', $argv[1] ?? 'https://www.example.com/')->getContent();
