<?php
/**
 * The load generator that is PHP itself: one client, blocking curl_exec in a loop, verification on.
 *
 * "fresh" is what a web request does: a new handle, a new connection, thrown away afterwards.
 * "kept" is a long-running worker with one handle. See workers.py for how it is driven.
 */

declare(strict_types=1);

const TIMEOUT_SECONDS = 20;

function make_handle(array $job): CurlHandle
{
    $handle = curl_init("{$job['scheme']}://{$job['host']}:{$job['port']}{$job['path']}");
    $options = [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => TIMEOUT_SECONDS,
        CURLOPT_FRESH_CONNECT => $job['fresh'],
        CURLOPT_FORBID_REUSE => $job['fresh'],
    ];
    if ($job['socket'] !== '') {
        $options[CURLOPT_UNIX_SOCKET_PATH] = $job['socket'];
    } else {
        $options[CURLOPT_IPRESOLVE] = CURL_IPRESOLVE_V4; // the origin listens on 127.0.0.1 only
    }
    if ($job['ca'] !== '') {
        $options[CURLOPT_CAINFO] = $job['ca'];
    } else {
        $options[CURLOPT_SSL_VERIFYPEER] = false;
        $options[CURLOPT_SSL_VERIFYHOST] = 0;
    }
    curl_setopt_array($handle, $options);
    return $handle;
}

function request(CurlHandle $handle, int $length): void
{
    $body = curl_exec($handle);
    if ($body === false) {
        throw new RuntimeException('curl: ' . curl_error($handle));
    }
    $status = curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
    if ($status !== 200 || strlen($body) !== $length) {
        $size = strlen($body);
        throw new RuntimeException("expected 200 and $length bytes, got $status and $size bytes");
    }
}

/** Load for so long; return the latencies in microseconds. */
function load(array $job, ?CurlHandle $kept, float $seconds): array
{
    $latencies = [];
    $end = hrtime(true) + (int) ($seconds * 1e9);
    do {
        $begun = hrtime(true);
        request($kept ?? make_handle($job), $job['length']);
        $now = hrtime(true);
        $latencies[] = intdiv($now - $begun, 1000);
    } while ($now < $end);
    return $latencies;
}

/** User and system time of this process, in seconds. */
function cpu(): float
{
    $usage = getrusage();
    return $usage['ru_utime.tv_sec'] + $usage['ru_stime.tv_sec']
        + ($usage['ru_utime.tv_usec'] + $usage['ru_stime.tv_usec']) / 1e6;
}

function answer(string $text): void
{
    fwrite(STDOUT, $text . "\n");
}

function perform(array $job): void
{
    $kept = $job['fresh'] ? null : make_handle($job);
    load($job, $kept, $job['warm_up']);
    answer('ready');
    if (fgets(STDIN) !== "go\n") {
        return;
    }
    $before = cpu();
    $begun = hrtime(true);
    $latencies = load($job, $kept, $job['duration']);
    $elapsed = (hrtime(true) - $begun) / 1e9;
    $cpu = cpu() - $before;
    answer(json_encode(['elapsed' => $elapsed, 'cpu' => $cpu, 'latencies' => $latencies]));
}

while (($line = fgets(STDIN)) !== false) {
    try {
        perform(json_decode($line, true, 4, JSON_THROW_ON_ERROR));
    } catch (Exception $error) {
        answer(json_encode(['error' => $error->getMessage()]));
        exit(1);
    }
}
