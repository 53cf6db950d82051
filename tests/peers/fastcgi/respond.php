<?php
// Answers with the ?fields[]= and the ?body=, flushed if ?flush=1; tells the log ?log=, and dies of an
// error if ?fatal=1.

declare(strict_types=1);

http_response_code((int) ($_GET['status'] ?? 200));
foreach ($_GET['fields'] ?? [] as $field) {
    header($field, false);
}
if (isset($_GET['log'])) {
    error_log($_GET['log']);
}
echo $_GET['body'] ?? '';
if (!empty($_GET['flush'])) {
    flush();
}
if (!empty($_GET['fatal'])) {
    no_such_function();
}
