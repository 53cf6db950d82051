<?php

declare(strict_types=1);

/*
 * The front controller: every URL that names no file ends here. Only this folder is served; the
 * rest of the application lies beside it, where no URL leads.
 */

require __DIR__ . '/../src/layout.php';
require __DIR__ . '/../src/pages.php';
require __DIR__ . '/../src/account.php';
require __DIR__ . '/../src/upload.php';

$routes = [
    'GET /' => 'home',
    'GET /stream' => 'stream',
    'GET /json' => 'facts',
    'POST /json' => 'facts',
    'GET /upload' => 'upload_form',
    'POST /upload' => 'upload',
    'GET /login' => 'login_form',
    'POST /login' => 'login',
    'POST /logout' => 'logout',
];

$method = $_SERVER['REQUEST_METHOD'] === 'HEAD' ? 'GET' : $_SERVER['REQUEST_METHOD'];
$path = rawurldecode(explode('?', $_SERVER['REQUEST_URI'], 2)[0]);
if (isset($routes["$method $path"])) {
    $routes["$method $path"]();
} elseif (isset($routes["GET $path"]) || isset($routes["POST $path"])) {
    problem(405, 'Not that way', "There is no $method for this page.");
} else {
    problem(404, 'Not here', 'There is no such page.');
}
