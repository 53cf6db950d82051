<?php

// Where the examples beside this file find fastcar: variables of the environment say it, or else it
// is in its usual places. Not for code of your own, which knows.
//
//     ['socket' => $socket, 'ca' => $ca] = require __DIR__ . '/settings.php';

declare(strict_types=1);

/** The CA of a fastcar that this user has started, or else of one that root or a service has. */
function usual_ca_file(): string
{
    $system = '/var/lib/fastcar/ca.pem';
    if (function_exists('posix_geteuid') && posix_geteuid() === 0) {
        return $system;
    }
    $state = (string) getenv('XDG_STATE_HOME');
    if (!str_starts_with($state, '/')) {
        $state = getenv('HOME') . '/.local/state';
    }
    $own = "$state/fastcar/ca.pem";
    return !is_readable($own) && is_readable($system) ? $system : $own;
}

return [
    'socket' => getenv('FASTCAR_SOCKET') ?: '/tmp/fastcar.sock',
    'ca' => getenv('FASTCAR_CA') ?: usual_ca_file(),
    'httpsSocket' => getenv('FASTCAR_HTTPS_SOCKET') ?: '/tmp/fastcar-https.sock',
    'proxy' => getenv('FASTCAR_PROXY') ?: 'tcp://127.0.0.1:3128',
];
