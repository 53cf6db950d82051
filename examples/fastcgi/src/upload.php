<?php

declare(strict_types=1);

function upload_form(): void
{
    $limit = html((string) ini_get('upload_max_filesize'));
    page('Upload', <<<HTML
        <form method="post" action="/upload" enctype="multipart/form-data">
        <label>Files of up to $limit each <input name="files[]" type="file" multiple required></label>
        <label>Note <input name="note"></label>
        <button>Send</button>
        </form>

        HTML);
}

/** Say what has arrived; PHP deletes the files at the end of the request. */
function upload(): void
{
    if (!isset($_FILES['files']['error']) || !is_array($_FILES['files']['error'])) {
        problem(400, 'Nothing came', 'No field “files[]”, or more than post_max_size allows.');
        return;
    }
    $rows = '';
    foreach ($_FILES['files']['error'] as $number => $error) {
        $name = html((string) $_FILES['files']['name'][$number]);
        if ($error !== UPLOAD_ERR_OK) {
            $rows .= "<tr><td>$name</td><td colspan=\"2\">error $error</td></tr>\n";
            continue;
        }
        $size = (int) $_FILES['files']['size'][$number];
        $hash = hash_file('sha256', $_FILES['files']['tmp_name'][$number]);
        $rows .= "<tr><td>$name</td><td>$size bytes</td><td>$hash</td></tr>\n";
    }
    $note = html(is_string($_POST['note'] ?? null) ? $_POST['note'] : '');
    page('Arrived', <<<HTML
        <table>
        <tr><th>file</th><th>size</th><th>SHA-256</th></tr>
        $rows</table>
        <p>Note: $note</p>

        HTML);
}
