<?php
// The index, and the front controller, which says where it is asked to lead.

declare(strict_types=1);

$names = ['SCRIPT_NAME', 'SCRIPT_FILENAME', 'PATH_INFO', 'REQUEST_URI', 'QUERY_STRING', 'PHP_SELF'];
header('Content-Type: application/json');
echo json_encode(array_intersect_key($_SERVER, array_flip($names)));
