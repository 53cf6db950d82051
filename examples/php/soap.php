<?php

// Calls an operation of a SOAP service through fastcar:
//
//     php examples/php/soap.php WSDL OPERATION [ARGUMENT...]

declare(strict_types=1);

require __DIR__ . '/FastcarSoapClient.php';

[, $wsdl, $operation] = $argv;
$socket = getenv('FASTCAR_SOCKET') ?: '/tmp/fastcar.sock';
$ca = getenv('FASTCAR_CA') ?: '/var/lib/fastcar/ca.pem';

$client = new FastcarSoapClient($socket, $ca, $wsdl);

print_r($client->__soapCall($operation, array_slice($argv, 3)));
