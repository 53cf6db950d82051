<?php
// Answers with ?count= bytes, of a length that is told with ?told=1 only.

declare(strict_types=1);

header('Content-Type: application/octet-stream');
$count = (int) $_GET['count'];
if (!empty($_GET['told'])) {
    header("Content-Length: $count");
}
$block = str_repeat('0123456789abcdef', 4096);
for ($left = $count; $left > 0; $left -= strlen($block)) {
    echo substr($block, 0, $left);
}
