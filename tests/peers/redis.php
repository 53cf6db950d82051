<?php
// Runs one of the scenarios below against the Redis at argv[2] (a path, or HOST:PORT), and prints
// what came of every step, as JSON: run against something else, it has to print the same.

declare(strict_types=1);

function connect(): Redis
{
    global $argv;
    [$host, $port] = explode(':', $argv[2]) + [1 => '0'];
    $redis = new Redis();
    $redis->connect($host, (int) $port, 10.0, null, 0, 10.0);
    return $redis;
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
    return $value instanceof Redis ? 'Redis' : $value;
}

/** The same bytes every time. */
function binary(int $length): string
{
    return substr(str_repeat(implode('', array_map(chr(...), range(0, 255))), $length >> 8) .
        "\r\n\0\xff" . str_repeat("\r\n", 256), 0, $length);
}

/** What an error says, where one is expected. */
function failing(Closure $step): mixed
{
    try {
        return $step();
    } catch (RedisException $error) {
        return get_class($error) . ': ' . $error->getMessage();
    }
}

function values(Redis $redis): Generator
{
    yield $redis->set('a', 'first');
    yield $redis->get('a');
    yield $redis->get('missing');
    yield $redis->mset(['b' => 'second', 'c' => 'third']);
    yield $redis->mget(['a', 'missing', 'b', 'c']);
    yield $redis->incrBy('n', 41);
    yield $redis->incr('n');
    yield $redis->append('a', ' and more');
    yield $redis->strlen('a');
    yield $redis->expire('b', 1000);
    yield $redis->exists('a', 'b', 'missing');
    yield $redis->type('a');
    yield $redis->set('a', 'again', ['nx']);
    yield $redis->incr('a');
    yield $redis->getLastError();
    yield $redis->lPush('a', 'x');
    yield $redis->del('a', 'b', 'c', 'n');
    yield $redis->ping('hello');
    yield $redis->echo("with\r\nlines");
    yield $redis->eval('return {KEYS[1], ARGV[1], 3, {false, "nested"}}', ['k', 'v'], 1);
    yield $redis->rawCommand('get');
    yield $redis->getLastError();
}

function sizes(Redis $redis): Generator
{
    foreach ([0, 1, 2, 255, 4095, 4096, 65535, 65536, 100_000, 1 << 20] as $length) {
        yield $redis->set("size $length", binary($length));
        yield $redis->get("size $length");
        yield $redis->strlen("size $length");
    }
    yield $redis->set(binary(1000), binary(1000));
    yield $redis->get(binary(1000));
}

function collections(Redis $redis): Generator
{
    $fields = [];
    foreach (range(1, 10_000) as $number) {
        $fields["field $number"] = "value $number";
    }
    yield $redis->hMSet('hash', $fields);
    yield $redis->hLen('hash');
    $all = $redis->hGetAll('hash');
    ksort($all);
    yield count($all) . ' ' . sha1(serialize($all));
    yield $redis->hGet('hash', 'field 77');
    yield $redis->rPush('list', ...range(1, 1000));
    yield $redis->lRange('list', 0, -1);
    yield $redis->lRange('missing', 0, -1);
    yield $redis->zAdd('sorted', 1.5, 'one', 2.5, 'two');
    yield $redis->zRange('sorted', 0, -1, true);
    yield $redis->sAdd('set', 'a', 'b');
    yield $redis->sIsMember('set', 'b');
    $cursor = null;
    $found = [];
    while (is_array($keys = $redis->hScan('hash', $cursor, '*9*', 500))) {
        $found += $keys;
    }
    yield count($found);
}

function pipelines(Redis $redis): Generator
{
    $pipe = $redis->multi(Redis::PIPELINE);
    foreach (range(1, 500) as $number) {
        $pipe->set("key $number", binary($number))->get("key $number")->incr('count');
    }
    yield $pipe->exec();
    yield $redis->get('count');
    yield $redis->pipeline()->get('count')->lPush('count', 'x')->get('count')->exec();
    yield $redis->get('count');
}

function transactions(Redis $redis): Generator
{
    yield $redis->multi()->set('a', '1')->incr('a')->get('a')->exec();
    yield $redis->multi()->set('a', 'x')->lPush('a', 'y')->exec();
    $redis->multi()->set('a', 'discarded');
    yield $redis->discard();
    yield $redis->get('a');
    $other = connect();
    yield $redis->watch('a');
    yield $other->set('a', 'changed');
    yield $redis->multi()->set('a', 'lost')->exec();
    yield $redis->watch('a');
    yield $redis->multi()->append('a', ' twice')->exec();
    yield $redis->get('a');
    yield $redis->watch('a');
    yield $redis->unwatch();
    yield $other->set('a', 'unwatched');
    yield $redis->multi()->set('a', 'won')->exec();
    yield $redis->multi(Redis::PIPELINE)->get('a')->exec();
    yield $redis->get('a');
}

function databases(Redis $redis): Generator
{
    $other = connect();
    yield $redis->set('a', 'in 0');
    yield $redis->select(1);
    yield $redis->set('a', 'in 1');
    yield $other->get('a');
    yield connect()->get('a');
    yield $redis->get('a');
    yield failing(fn () => $redis->select(1000));
    yield $redis->get('a');
    yield $redis->select(0);
    yield $redis->get('a');
}

function authentication(Redis $redis): Generator
{
    yield $redis->acl('SETUSER', 'reader', 'on', '>secret', '~*', '+get', '+acl|whoami', '+ping');
    yield $redis->set('a', 'public');
    $reader = connect();
    yield failing(fn () => $reader->auth(['reader', 'wrong']));
    yield $reader->set('a', 'allowed');
    yield $reader->auth(['reader', 'secret']);
    yield $reader->acl('WHOAMI');
    yield failing(fn () => $reader->set('a', 'forbidden'));
    yield $reader->get('a');
    // Others have not become somebody else.
    yield $redis->acl('WHOAMI');
    yield connect()->acl('WHOAMI');
    yield $redis->acl('DELUSER', 'reader');
}

function blocking(Redis $redis): Generator
{
    yield $redis->rPush('list', 'ready');
    yield $redis->blPop(['list'], 5);
    yield $redis->rawCommand('BLPOP', 'missing', '0.01');
    yield $redis->rPush('list', 'next');
    yield $redis->brpoplpush('list', 'other', 5);
    yield $redis->rawCommand('BZPOPMIN', 'sorted', '0.01');
    yield $redis->get('missing');
}

/** Blocks until somebody pushes; says so first. */
function waiting(Redis $redis): Generator
{
    yield $redis->blPop(['queue'], 10);
    yield $redis->get('after');
}

/** Takes what is published until it is "end". */
function subscribing(Redis $redis): Generator
{
    $messages = [];
    $take = function (Redis $redis, string $channel, string $message) use (&$messages): void {
        $messages[] = [$channel, $message];
        if ($message === 'end') {
            $redis->close();
        }
    };
    // Nothing but a closed connection ends it.
    failing(fn () => $redis->subscribe(['news', 'other'], $take));
    yield $messages;
}

/** Asks when it is told that nobody is there, and then until somebody is there again. */
function outage(Redis $redis): Generator
{
    yield $redis->set('a', 'b');
    fgets(STDIN);
    yield failing(fn () => $redis->ping());
    do {
        $answer = failing(fn () => $redis->ping());
    } while ($answer !== true);
    yield $redis->get('a');
}

/** What cannot be carried out. */
function refused(Redis $redis): Generator
{
    yield failing(fn () => $redis->get('a'));
    yield failing(fn () => $redis->set('a', 'b'));
    yield failing(fn () => $redis->incr('n'));
    yield failing(fn () => $redis->multi(Redis::PIPELINE)->get('a')->incr('n')->exec());
    yield failing(fn () => $redis->multi());
}

/** A value that is too large, and what is there afterwards. */
function oversize(Redis $redis): Generator
{
    yield $redis->set('a', 'small');
    yield failing(fn () => $redis->set('a', str_repeat('x', 3_000_000)));
    yield connect()->get('a');
}

/** Short-lived clients, one after the other. */
function counting(Redis $redis): Generator
{
    foreach (range(1, 10) as $ignored) {
        $redis = connect();
        yield is_int($redis->incr('count'));
        $redis->close();
    }
}

$results = [];
foreach ($argv[1](connect()) as $result) {
    $results[] = shown($result);
}
echo json_encode($results, JSON_THROW_ON_ERROR | JSON_PRETTY_PRINT), "\n";
