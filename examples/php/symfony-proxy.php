<?php

// Fetches a page with Symfony's HttpClient, to which fastcar is a proxy:
//
//     php examples/php/symfony-proxy.php [URL]

declare(strict_types=1);

use Symfony\Component\HttpClient\HttpClient;

// Debian's php-symfony-http-client; else vendor/autoload.php
require 'Symfony/Component/HttpClient/autoload.php';

$socket = getenv('FASTCAR_SOCKET') ?: '/tmp/fastcar.sock';
$ca = getenv('FASTCAR_CA') ?: '/var/lib/fastcar/ca.pem';

$client = HttpClient::create(['proxy' => "socks5h://localhost$socket", 'cafile' => $ca]);

echo $client->request('GET', $argv[1] ?? 'https://www.example.com/')->getContent();
