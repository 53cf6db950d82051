<?php
// Says what files and values of a form it has got.

declare(strict_types=1);

header('Content-Type: application/json');
$files = [];
foreach ($_FILES as $field => $file) {
    $files[$field] = [
        'name' => $file['name'],
        'type' => $file['type'],
        'error' => $file['error'],
        'size' => $file['size'],
        'sha1' => $file['error'] ? '' : sha1_file($file['tmp_name']),
    ];
}
echo json_encode(['files' => $files, 'post' => $_POST]);
