<?php

// Calls an operation of a SOAP service through fastcar:
//
//     php examples/php/soap.php WSDL OPERATION [ARGUMENT...]

declare(strict_types=1);

require __DIR__ . '/FastcarSoapClient.php';

if (count($argv) < 3) {
    fwrite(STDERR, "usage: php $argv[0] WSDL OPERATION [ARGUMENT...]\n");
    exit(2);
}
[, $wsdl, $operation] = $argv;
['socket' => $socket, 'ca' => $ca] = require __DIR__ . '/settings.php';

$client = new FastcarSoapClient($socket, $ca, $wsdl);

print_r($client->__soapCall($operation, array_slice($argv, 3)));
