<?php
// Runs one of the scenarios below against the memcached at argv[2] (a path, or HOST:PORT), and
// prints what came of every step, as JSON: run against something else, it has to print the same.

declare(strict_types=1);

function connect(bool $binary = false): Memcached
{
    global $argv;
    [$host, $port] = explode(':', $argv[2]) + [1 => '0'];
    $memcached = new Memcached();
    $memcached->setOptions([
        Memcached::OPT_BINARY_PROTOCOL => $binary,
        Memcached::OPT_COMPRESSION => false,
        Memcached::OPT_TCP_NODELAY => true,
        Memcached::OPT_POLL_TIMEOUT => 10_000,
    ]);
    $memcached->addServer($host, (int) $port);
    return $memcached;
}

/** What can be compared, and printed: long or binary strings are told by their length and hash. */
function shown(mixed $value): mixed
{
    if (is_array($value)) {
        return array_map(shown(...), $value);
    }
    if (is_string($value) && (strlen($value) > 100 || !mb_check_encoding($value, 'UTF-8'))) {
        return strlen($value) . ' bytes, ' . sha1($value);
    }
    return $value;
}

/** The same bytes every time. */
function binary(int $length): string
{
    return substr(str_repeat(implode('', array_map(chr(...), range(0, 255))), $length >> 8) .
        "\r\nEND\r\n\0\xff" . str_repeat("\r\n", 256), 0, $length);
}

/** Steps that both protocols have one response for. */
function steps(Memcached $memcached): Generator
{
    yield $memcached->set('a', 'first');
    yield $memcached->get('a');
    yield $memcached->add('a', 'again');
    yield $memcached->getResultMessage();
    yield $memcached->add('b', 'second');
    yield $memcached->replace('b', 'replaced');
    yield $memcached->replace('missing', 'x');
    yield $memcached->append('a', ' and more');
    yield $memcached->prepend('a', 'at ');
    yield $memcached->get('a');
    yield $memcached->set('n', '41');
    yield $memcached->increment('n');
    yield $memcached->decrement('n', 2);
    yield $memcached->touch('a', 1000);
    yield $memcached->touch('missing', 1000);
    yield $memcached->setMulti(['m1' => '', 'm2' => ['an' => 'array'], 'm3' => 3]);
    yield $memcached->getMulti(['m1', 'm2', 'm3']);
    $found = $memcached->get('a', null, Memcached::GET_EXTENDED);
    yield is_int($found['cas']);
    yield $memcached->cas($found['cas'], 'a', 'changed');
    yield $memcached->cas($found['cas'], 'a', 'lost');
    yield $memcached->getResultMessage();
    yield $memcached->get('a');
    foreach ([0, 1, 2, 4095, 65535, 65536, 100_000, 1_000_000] as $length) {
        yield $memcached->set("size$length", binary($length));
        yield $memcached->get("size$length");
    }
    yield $memcached->delete('a');
    yield $memcached->delete('missing');
    yield $memcached->deleteMulti(['m1', 'missing', 'm2']);
    yield array_values($memcached->getVersion());
    yield $memcached->flush();
}

/** Steps with responses that are missing, or several, in one of the protocols. */
function misses(Memcached $memcached): Generator
{
    yield $memcached->get('missing');
    yield $memcached->set('a', 'found');
    yield $memcached->getMulti(['missing', 'a', 'absent']);
    yield $memcached->set('b', 'found too');
    yield $memcached->getMulti(['b', 'a', ...array_map(strval(...), range(1, 1000))]);
    yield $memcached->get('a');
}

function text(): Generator
{
    yield from steps(connect());
    yield from misses(connect());
    $memcached = connect();
    yield count($memcached->getStats());
    yield $memcached->set('a b', 'spaces are refused');
    yield $memcached->set('after', 'x');
    yield $memcached->get('after');
}

/** Writes that are not answered, and those that wait until something is asked for. */
function unanswered(): Generator
{
    $memcached = connect();
    yield $memcached->setOption(Memcached::OPT_NOREPLY, true);
    yield $memcached->set('a', 'quietly');
    yield $memcached->increment('missing');
    yield $memcached->get('a');
    yield $memcached->setOption(Memcached::OPT_NOREPLY, false);
    yield $memcached->setOption(Memcached::OPT_BUFFER_WRITES, true);
    foreach (range(1, 300) as $number) {
        $memcached->set("buffered$number", binary($number));
    }
    yield $memcached->get('buffered300');
    yield $memcached->getMulti(['buffered1', 'buffered150']);
}

function binary_protocol(): Generator
{
    yield from steps(connect(true));
}

/** A get of PHP's in the binary protocol is not answered if there is nothing. */
function binary_misses(): Generator
{
    yield from misses(connect(true));
}

/** What cannot be carried out: is a failure, or the key just not there? */
function refused(): Generator
{
    $memcached = connect();
    $memcached->setOption(Memcached::OPT_RETRY_TIMEOUT, 0);
    foreach (['get', 'increment', 'delete', 'touch'] as $method) {
        yield $memcached->$method('a');
        yield $memcached->getResultCode() === Memcached::RES_NOTFOUND;
    }
    yield $memcached->getMulti(['a', 'b']);
    yield $memcached->set('a', 'value');
}

/** A value that is too large, and what is there afterwards. */
function oversize(): Generator
{
    $memcached = connect();
    yield $memcached->set('a', 'small');
    yield $memcached->set('b', str_repeat('x', 3_000_000));
    yield connect()->get('a');
}

/** Short-lived clients, one after the other. */
function counting(): Generator
{
    foreach (range(1, 10) as $ignored) {
        $memcached = connect();
        yield is_int($memcached->increment('count'));
        $memcached->quit();
    }
}

$results = [];
foreach ($argv[1]() as $result) {
    $results[] = shown($result);
}
echo json_encode($results, JSON_THROW_ON_ERROR | JSON_PRETTY_PRINT), "\n";
