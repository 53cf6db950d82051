<?php

// Laravel service provider: everything sent with the Http facade, or with an injected
// Illuminate\Http\Client\Factory, goes through fastcar. Copy it to app/Providers and
// FastcarMiddleware.php to app/Http, give both their namespaces, and list the provider in
// bootstrap/providers.php (Laravel 10 and older: in config/app.php). It has no settings, but for
// two environment variables.

declare(strict_types=1);

use Illuminate\Http\Client\Factory;
use Illuminate\Support\ServiceProvider;

final class FastcarServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        $this->app->singleton(Factory::class, FastcarFactory::class);
    }
}

/** Http::globalMiddleware() would do the same, from Laravel 10 on. */
class FastcarFactory extends Factory
{
    protected function newPendingRequest()
    {
        $socket = getenv('FASTCAR_SOCKET') ?: '/tmp/fastcar.sock';
        $ca = getenv('FASTCAR_CA') ?: '/var/lib/fastcar/ca.pem';
        return parent::newPendingRequest()->withMiddleware(new FastcarMiddleware($socket, $ca));
    }
}
