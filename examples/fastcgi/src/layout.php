<?php

declare(strict_types=1);

/** Text that is safe in HTML, attributes included. */
function html(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
}

/** Send a page; $body is HTML. */
function page(string $title, string $body): void
{
    page_begin($title);
    echo $body;
    page_end();
}

function page_begin(string $title): void
{
    header('Content-Type: text/html; charset=utf-8');
    $title = html($title);
    echo <<<HTML
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>$title</title>
        <link rel="stylesheet" href="/style.css">
        </head>
        <body>
        <nav><a href="/">Home</a> <a href="/upload">Upload</a> <a href="/stream">Stream</a>
        <a href="/json">JSON</a> <a href="/login">Login</a></nav>
        <h1>$title</h1>

        HTML;
}

function page_end(): void
{
    echo "</body>\n</html>\n";
}

/** Send a page that says what is wrong; $text is plain text. */
function problem(int $status, string $title, string $text): void
{
    http_response_code($status);
    page($title, '<p>' . html($text) . "</p>\n");
}

/** Have the client ask for another page, which is fetched with GET. */
function see_other(string $path): void
{
    header("Location: $path", true, 303);
}
