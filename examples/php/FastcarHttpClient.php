<?php

// A Symfony HttpClient that sends every request through fastcar; see symfony.php.

declare(strict_types=1);

use Symfony\Component\HttpClient\CurlHttpClient;
use Symfony\Component\HttpClient\DecoratorTrait;
use Symfony\Component\HttpClient\Exception\TransportException;
use Symfony\Contracts\HttpClient\HttpClientInterface;
use Symfony\Contracts\HttpClient\ResponseInterface;

/**
 * Other decorators belong around this one. Some of them, such as CachingHttpClient, give every
 * option its default: a bindto or proxy that the client inside them was made with is lost without a
 * word, and requests go out directly. So the options are set here, for each request.
 */
final class FastcarHttpClient implements HttpClientInterface
{
    use DecoratorTrait;

    /**
     * @param string $socket the socket of --unix
     * @param string $ca fastcar's CA file
     */
    public function __construct(private string $socket, private string $ca)
    {
        $this->client = new CurlHttpClient();
    }

    public function request(string $method, string $url, array $options = []): ResponseInterface
    {
        // Symfony would take it for a network interface, and look the name of the origin up.
        if (!file_exists($this->socket)) {
            throw new TransportException("There is no socket {$this->socket}; is fastcar running?");
        }
        $forced = [
            'bindto' => $this->socket, // what Symfony takes for CURLOPT_UNIX_SOCKET_PATH
            'cafile' => $this->ca,
            'verify_peer' => true,
            'verify_host' => true,
        ];
        return $this->client->request($method, $url, $forced + $options);
    }
}
