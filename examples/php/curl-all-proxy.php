<?php

// Fetches pages with nothing in the code about fastcar:
//
//     export ALL_PROXY=socks5h://localhost/tmp/fastcar.sock
//     php -d curl.cainfo=/var/lib/fastcar/ca.pem examples/php/curl-all-proxy.php [URL...]
//
// Every program and library that uses PHP's curl extension does as this one. The h in socks5h
// leaves the look-up of names to fastcar; the host before the path must be localhost.

declare(strict_types=1);

foreach (array_slice($argv, 1) ?: ['https://www.example.com/'] as $url) {
    $handle = curl_init($url);
    curl_setopt_array($handle, [CURLOPT_RETURNTRANSFER => true, CURLOPT_FAILONERROR => true]);
    $body = curl_exec($handle);
    if ($body === false) {
        throw new RuntimeException(curl_error($handle), curl_errno($handle));
    }
    echo $body;
}
