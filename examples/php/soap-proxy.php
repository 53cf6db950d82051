<?php

// Calls an operation of a SOAP service with PHP's own SoapClient, to which fastcar is a proxy on
// TCP (fastcar --listen tcp:3128:interface=127.0.0.1):
//
//     php examples/php/soap-proxy.php WSDL OPERATION [ARGUMENT...]

declare(strict_types=1);

if (count($argv) < 3) {
    fwrite(STDERR, "usage: php $argv[0] WSDL OPERATION [ARGUMENT...]\n");
    exit(2);
}
[, $wsdl, $operation] = $argv;
['proxy' => $proxy, 'ca' => $ca] = require __DIR__ . '/settings.php';
$proxy = parse_url($proxy);

$client = new SoapClient($wsdl, [
    'proxy_host' => $proxy['host'],
    'proxy_port' => $proxy['port'],
    'stream_context' => stream_context_create(['ssl' => ['cafile' => $ca]]),
]);

print_r($client->__soapCall($operation, array_slice($argv, 3)));
