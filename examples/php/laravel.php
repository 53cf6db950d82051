<?php

// Fetches a page with Laravel's Http facade through fastcar:
//
//     php examples/php/laravel.php [URL]
//
// This is as much of Laravel as that needs. In an application only the last line is yours.

declare(strict_types=1);

use Illuminate\Container\Container;
use Illuminate\Support\Facades\Facade;
use Illuminate\Support\Facades\Http;

// Debian's php-guzzlehttp-guzzle, php-illuminate-container and php-illuminate-http
require 'GuzzleHttp/autoload.php';
require 'Illuminate/Container/autoload.php';
require 'Illuminate/Http/autoload.php';
require __DIR__ . '/FastcarMiddleware.php';
require __DIR__ . '/FastcarServiceProvider.php';

// An application has these in its environment.
['socket' => $socket, 'ca' => $ca] = require __DIR__ . '/settings.php';
putenv("FASTCAR_SOCKET=$socket");
putenv("FASTCAR_CA=$ca");

$app = new Container();
Facade::setFacadeApplication($app);
(new FastcarServiceProvider($app))->register();

echo Http::get($argv[1] ?? 'https://www.example.com/')->throw()->body();
