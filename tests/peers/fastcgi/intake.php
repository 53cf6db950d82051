<?php
// Reports that it starts, reads the body, and reports how much that was.

declare(strict_types=1);

require 'pipes.php';

report('reading');
ignore_user_abort(true);
$input = fopen('php://input', 'r');
$length = 0;
while (!feof($input)) {
    $length += strlen(fread($input, 65536));
}
report("read $length");
