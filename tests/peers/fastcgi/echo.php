<?php
// Answers with the body of the request, piece by piece as it comes if PHP can: with PUT.

declare(strict_types=1);

header('Content-Type: application/octet-stream');
$input = fopen('php://input', 'r');
while (!feof($input)) {
    echo fread($input, 8192);
    flush();
}
