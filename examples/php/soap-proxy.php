<?php

// Calls an operation of a SOAP service with PHP's own SoapClient, to which fastcar is a proxy on
// TCP (fastcar --listen tcp:3128:interface=127.0.0.1):
//
//     php examples/php/soap-proxy.php WSDL OPERATION [ARGUMENT...]

declare(strict_types=1);

[, $wsdl, $operation] = $argv;
$proxy = parse_url(getenv('FASTCAR_PROXY') ?: 'tcp://127.0.0.1:3128');
$ca = getenv('FASTCAR_CA') ?: '/var/lib/fastcar/ca.pem';

$client = new SoapClient($wsdl, [
    'proxy_host' => $proxy['host'],
    'proxy_port' => $proxy['port'],
    'stream_context' => stream_context_create(['ssl' => ['cafile' => $ca]]),
]);

print_r($client->__soapCall($operation, array_slice($argv, 3)));
