<?php

declare(strict_types=1);

function home(): void
{
    $rows = '';
    foreach (
        ['SERVER_SOFTWARE', 'REQUEST_SCHEME', 'REMOTE_ADDR', 'SERVER_NAME', 'REQUEST_URI'] as $name
    ) {
        $value = html((string) ($_SERVER[$name] ?? ''));
        $rows .= "<tr><th>$name</th><td>$value</td></tr>\n";
    }
    $version = PHP_VERSION;
    $process = getmypid();
    page('It works', <<<HTML
        <p>PHP $version, process $process.</p>
        <table>
        $rows</table>

        HTML);
}

/** A page that comes line by line: ?lines=5&seconds=0.5 */
function stream(): void
{
    $lines = min(max((int) ($_GET['lines'] ?? 5), 1), 100);
    $seconds = min(max((float) ($_GET['seconds'] ?? 0.5), 0.0), 5.0);
    // php.ini may have PHP hold output back (output_buffering); flush() alone does not undo that.
    while (ob_get_level() > 0) {
        ob_end_flush();
    }
    page_begin('Line by line');
    echo "<ol>\n";
    for ($line = 1; $line <= $lines; $line++) {
        echo '<li>', date('H:i:s'), "</li>\n";
        flush();
        usleep((int) ($seconds * 1e6));
    }
    echo "</ol>\n";
    page_end();
}

/** What PHP was told about the request, and what came with it. */
function facts(): void
{
    $input = (string) file_get_contents('php://input');
    header('Content-Type: application/json');
    header('Cache-Control: no-store');
    echo json_encode([
        'method' => $_SERVER['REQUEST_METHOD'],
        'uri' => $_SERVER['REQUEST_URI'],
        'query' => (object) $_GET,
        'client' => $_SERVER['REMOTE_ADDR'],
        'https' => ($_SERVER['HTTPS'] ?? '') === 'on',
        'host' => $_SERVER['HTTP_HOST'] ?? null,
        'process' => getmypid(),
        'body' => ['bytes' => strlen($input), 'sha256' => hash('sha256', $input)],
    ], JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}
