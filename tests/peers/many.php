<?php
// Sends many requests at the same time, and prints when and how they were answered: for each the
// status and the body, and seconds for all of them. Arguments: socket, URL (%d: the number), count.

[, $socket, $url, $count] = $argv;
$multi = curl_multi_init();
$handles = [];
for ($number = 0; $number < $count; $number++) {
    $handles[] = $handle = curl_init(sprintf($url, $number));
    curl_setopt_array($handle, [
        CURLOPT_UNIX_SOCKET_PATH => $socket,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 20,
    ]);
    curl_multi_add_handle($multi, $handle);
}
$start = microtime(true);
do {
    $status = curl_multi_exec($multi, $running);
    if ($running) {
        curl_multi_select($multi);
    }
} while ($running && $status === CURLM_OK);
$seconds = microtime(true) - $start;
$answers = array_map(
    fn (CurlHandle $it): array => [
        curl_getinfo($it, CURLINFO_RESPONSE_CODE),
        curl_multi_getcontent($it),
    ],
    $handles
);
echo json_encode(['seconds' => $seconds, 'answers' => $answers], JSON_THROW_ON_ERROR);
