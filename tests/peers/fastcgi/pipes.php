<?php
// The two named pipes of a test, see tests/peers/gates.py: of the name in ?gate=, beside the root.

declare(strict_types=1);

function report(string $line): void
{
    // One write, which is atomic: lines of several scripts come in order and whole.
    file_put_contents(dirname(__DIR__) . "/{$_GET['gate']}.reports", "$line\n");
}

function wait(): void
{
    $pipe = fopen(dirname(__DIR__) . "/{$_GET['gate']}.passes", 'r');
    // Without a buffer it takes no more than the one byte that it is let on with.
    stream_set_read_buffer($pipe, 0);
    fread($pipe, 1);
}
