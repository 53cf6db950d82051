<?php

// Guzzle middleware that sends every request of a client through fastcar; see guzzle.php.

declare(strict_types=1);

use GuzzleHttp\TransferStats;
use Psr\Http\Message\RequestInterface;

final class FastcarMiddleware
{
    /**
     * @param string $socket the socket of --unix
     * @param string $ca fastcar's CA file
     * @param ?string $httpsSocket the socket of --https-unix: requests for https:// go there
     *     without TLS; cookies, redirects and on_stats still see https://. Null: $socket and TLS.
     */
    public function __construct(
        private readonly string $socket,
        private readonly string $ca,
        private readonly ?string $httpsSocket = null,
    ) {
    }

    public function __invoke(callable $handler): callable
    {
        return function (RequestInterface $request, array $options) use ($handler) {
            $socket = $this->socket;
            if ($this->httpsSocket !== null && $request->getUri()->getScheme() === 'https') {
                $socket = $this->httpsSocket;
                $options = self::reportAs($request, $options);
                $request = $request->withUri($request->getUri()->withScheme('http'), true);
            }
            $options['curl'][CURLOPT_UNIX_SOCKET_PATH] = $socket;
            $options['verify'] = $this->ca; // whatever it was: the certificate is fastcar's
            unset($options['stream']); // Guzzle would use PHP's streams, and pass fastcar by
            return $handler($request, $options);
        };
    }

    /** Makes on_stats tell the request as it was before its URI was changed. */
    private static function reportAs(RequestInterface $request, array $options): array
    {
        if (isset($options['on_stats'])) {
            $tell = $options['on_stats'];
            $options['on_stats'] = static fn (TransferStats $stats) => $tell(new TransferStats(
                $request,
                $stats->getResponse(),
                $stats->getTransferTime(),
                $stats->getHandlerErrorData(),
                $stats->getHandlerStats(),
            ));
        }
        return $options;
    }
}
