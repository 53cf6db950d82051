<?php
// Carries out the requests described on standard input, one after the other on one curl handle,
// and prints what came of each; see clients.py.

$answers = [];
$handle = curl_init();
foreach (json_decode(stream_get_contents(STDIN), true, 16, JSON_THROW_ON_ERROR) as $request) {
    $heads = '';
    $trace = fopen('php://memory', 'w+');
    curl_reset($handle); // the connections stay
    foreach ($request as $name => $value) {
        curl_setopt($handle, constant("CURLOPT_$name"), $value);
    }
    curl_setopt_array($handle, [
        CURLOPT_TIMEOUT => 20,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_VERBOSE => true,
        CURLOPT_STDERR => $trace,
        CURLOPT_HEADERFUNCTION => function ($handle, string $line) use (&$heads): int {
            $heads .= $line;
            return strlen($line);
        },
    ]);
    $body = curl_exec($handle);
    rewind($trace);
    $answers[] = [
        'errno' => curl_errno($handle),
        'error' => curl_error($handle),
        'heads' => base64_encode($heads),
        'body' => base64_encode((string) $body),
        'connections' => substr_count(stream_get_contents($trace), '* Connected to '),
    ];
}
echo json_encode($answers, JSON_THROW_ON_ERROR);
