<?php
/**
 * What is measured is what happens here: one curl request as a PHP program makes it.
 *
 * A new handle each time, which shares nothing with others, as when a new PHP request begins: so
 * name look-up, connect, TLS and reading the CA file are all within the time. Jobs come as lines
 * of JSON (options of curl without CURLOPT_); each is answered by a line. The first line is about
 * this PHP.
 */

declare(strict_types=1);

const TIMEOUT_SECONDS = 30;

function answer(array $fields): void
{
    fwrite(STDOUT, json_encode($fields, JSON_INVALID_UTF8_SUBSTITUTE) . "\n");
}

function perform(array $options): array
{
    $begun = hrtime(true);
    $handle = curl_init();
    curl_setopt_array($handle, $options);
    $body = curl_exec($handle);
    $status = curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
    $error = $body === false ? 'curl error ' . curl_errno($handle) . ': ' . curl_error($handle) : '';
    unset($handle); // what ends a handle; curl_close() does nothing since PHP 8
    $elapsed = hrtime(true) - $begun;
    return $error !== '' ? ['error' => $error] : ['ms' => $elapsed / 1e6, 'status' => $status];
}

if (!extension_loaded('curl')) {
    answer(['error' => 'PHP has no curl extension; install it (Debian, Ubuntu: php-curl)']);
    exit(1);
}
$curl = curl_version();
answer(['php' => PHP_VERSION, 'libcurl' => $curl['version'], 'tls' => $curl['ssl_version']]);
while (($line = fgets(STDIN)) !== false) {
    $options = [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => TIMEOUT_SECONDS];
    foreach (json_decode($line, true, 3, JSON_THROW_ON_ERROR) as $name => $value) {
        $options[constant("CURLOPT_$name")] = $value;
    }
    answer(perform($options));
}
