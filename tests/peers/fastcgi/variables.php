<?php
// Says everything that PHP knows of the request.

declare(strict_types=1);

header('Content-Type: application/json');
echo json_encode([
    'server' => $_SERVER,
    'environment' => getenv(),
    'get' => $_GET,
    'post' => $_POST,
    'cookie' => $_COOKIE,
    'prepended' => ini_get('auto_prepend_file'),
], JSON_THROW_ON_ERROR | JSON_FORCE_OBJECT);
