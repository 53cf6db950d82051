<?php
// Says what body it has got.

declare(strict_types=1);

header('Content-Type: application/json');
$body = file_get_contents('php://input');
echo json_encode([
    'method' => $_SERVER['REQUEST_METHOD'],
    'declared' => $_SERVER['CONTENT_LENGTH'] ?? null,
    'length' => strlen($body),
    'sha1' => sha1($body),
]);
