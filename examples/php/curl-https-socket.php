<?php

// Fetches a page from an https:// origin without TLS between PHP and fastcar:
//
//     php examples/php/curl-https-socket.php [URL]
//
// What arrives on the socket of --https-unix in plain goes on to the origin over TLS, and fastcar
// verifies the origin. The code keeps https:// in its URLs, so that nothing can leave the machine
// in plain if the socket is left out one day, and changes it to http:// for curl alone.

declare(strict_types=1);

$url = $argv[1] ?? 'https://www.example.com/';
['httpsSocket' => $socket, 'ca' => $ca] = require __DIR__ . '/settings.php';

$handle = curl_init(preg_replace('/^https:/i', 'http:', $url));
curl_setopt_array($handle, [
    CURLOPT_UNIX_SOCKET_PATH => $socket,
    CURLOPT_RETURNTRANSFER => true,
    // A redirect to https:// is followed on the same socket, which takes TLS as well.
    CURLOPT_FOLLOWLOCATION => true,
    CURLOPT_CAINFO => $ca,
]);
$body = curl_exec($handle);
if ($body === false) {
    throw new RuntimeException(curl_error($handle), curl_errno($handle));
}
echo $body;
