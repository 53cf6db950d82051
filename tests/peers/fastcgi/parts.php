<?php
// Reports its process, and answers with the ?parts[]=, the first of them at once, each other one
// when it is let on; at the end it is let on once more.

declare(strict_types=1);

require 'pipes.php';

foreach ($_GET['fields'] ?? [] as $field) {
    header($field);
}
report((string) getmypid());
foreach ($_GET['parts'] ?? [] as $part) {
    echo $part;
    flush();
    wait();
}
