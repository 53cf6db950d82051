<?php
// What PHP behind a web server might do: fetches a URL with the client that the query names, which
// is not told about fastcar; only streams can be told a proxy.

declare(strict_types=1);

['client' => $client, 'url' => $url, 'proxy' => $proxy] = $_GET;
if ($client === 'guzzle') {
    require 'GuzzleHttp/autoload.php';
    echo (new GuzzleHttp\Client())->get($url)->getBody();
} elseif ($client === 'symfony') {
    require 'Symfony/Component/HttpClient/autoload.php';
    echo Symfony\Component\HttpClient\HttpClient::create()->request('GET', $url)->getContent();
} elseif ($client === 'streams') {
    $context = stream_context_create(['http' => ['proxy' => $proxy, 'request_fulluri' => true]]);
    echo file_get_contents($url, false, $context);
} elseif ($client === 'direct streams') {
    echo file_get_contents($url);
} else {
    $handle = curl_init($url);
    curl_setopt($handle, CURLOPT_RETURNTRANSFER, true);
    echo curl_exec($handle) ?: curl_error($handle);
}
