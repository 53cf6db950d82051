<?php

// Fetches a page through fastcar, with the certificate verified:
//
//     php examples/php/curl.php [URL]
//
// Two options are all that fastcar needs: the socket, and the CA file with which PHP verifies the
// certificate that fastcar shows. (The origin's own certificate is verified by fastcar.)
//
// FASTCAR_SOCKET and FASTCAR_CA in the environment say where these are, if not in their usual
// places. fastcar tells both paths when it starts.

declare(strict_types=1);

function fail(string $message): void
{
    fwrite(STDERR, $message . "\n");
    exit(1);
}

$url = $argv[1] ?? 'https://www.example.com/';
['socket' => $socket, 'ca' => $ca] = require __DIR__ . '/settings.php';

if (!extension_loaded('curl')) {
    fail('PHP has no curl extension; on Debian and Ubuntu: apt-get install php-curl');
}
if (!file_exists($socket)) {
    fail("There is no socket $socket. Start fastcar with `make run`, or set FASTCAR_SOCKET.");
}
if (!is_readable($ca)) {
    fail("Cannot read the CA file $ca. fastcar tells its path when it starts: set FASTCAR_CA.");
}

$handle = curl_init($url);
curl_setopt_array($handle, [
    CURLOPT_UNIX_SOCKET_PATH => $socket,
    CURLOPT_CAINFO => $ca, // curl.cainfo in php.ini does the same for all scripts
    CURLOPT_SSL_VERIFYPEER => true, // the default, as is CURLOPT_SSL_VERIFYHOST
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_CONNECTTIMEOUT => 5, // seconds
    CURLOPT_TIMEOUT => 60,
]);

// Twice on one handle. The first time includes PHP's TLS handshake with fastcar and, if nobody has
// asked this origin lately, fastcar's connection to it; the second time both are there.
foreach (['first', 'second'] as $time) {
    $body = curl_exec($handle);
    if (curl_errno($handle) === CURLE_COULDNT_CONNECT) {
        fail("Nobody answers on $socket: is fastcar running, and may you write to its socket?");
    }
    if ($body === false) {
        fail('curl error ' . curl_errno($handle) . ': ' . curl_error($handle));
    }
    printf(
        "%-6s %s: status %d, %d bytes, %.1f ms\n",
        $time,
        $url,
        curl_getinfo($handle, CURLINFO_RESPONSE_CODE),
        strlen($body),
        curl_getinfo($handle, CURLINFO_TOTAL_TIME) * 1000,
    );
}

// When fastcar could not reach the origin, it says why: in the body, and in a Proxy-Status field.
if (curl_getinfo($handle, CURLINFO_RESPONSE_CODE) >= 500) {
    fail(trim($body));
}
