<?php

// A SoapClient that sends its requests with curl through fastcar; see soap.php.

declare(strict_types=1);

/**
 * Of SoapClient's options, those about the connection have no effect here: add to fetch() what you
 * need of them (login and password: CURLOPT_USERPWD), or see soap-proxy.php.
 */
class FastcarSoapClient extends SoapClient
{
    /**
     * @param string $socket the socket of --unix
     * @param string $ca fastcar's CA file
     * @param ?string $wsdl a URL, which is fetched through fastcar too, or a file. What it imports
     *     must have absolute URLs, and is not fetched through fastcar.
     */
    public function __construct(
        private string $socket,
        private string $ca,
        ?string $wsdl,
        array $options = [],
    ) {
        if ($wsdl !== null && preg_match('#^https?://#i', $wsdl)) {
            $wsdl = 'data:text/xml;base64,' . base64_encode($this->fetch($wsdl));
        }
        parent::__construct($wsdl, $options);
    }

    /** The last parameter is there since PHP 8.5. */
    public function __doRequest(
        string $request,
        string $location,
        string $action,
        int $version,
        bool $oneWay = false,
        ?string $uriParserClass = null,
    ): ?string {
        $headers = $version === SOAP_1_2
            ? ["Content-Type: application/soap+xml; charset=utf-8; action=\"$action\""]
            : ['Content-Type: text/xml; charset=utf-8', "SOAPAction: \"$action\""];
        $response = $this->fetch($location, [
            CURLOPT_POSTFIELDS => $request,
            CURLOPT_HTTPHEADER => $headers,
        ]);
        return $oneWay ? null : $response;
    }

    private function fetch(string $url, array $options = []): string
    {
        $handle = curl_init($url);
        curl_setopt_array($handle, $options + [
            CURLOPT_UNIX_SOCKET_PATH => $this->socket,
            CURLOPT_CAINFO => $this->ca,
            CURLOPT_RETURNTRANSFER => true,
        ]);
        $body = curl_exec($handle);
        if ($body === false) {
            throw new SoapFault('HTTP', curl_error($handle));
        }
        // A fault of SOAP comes with status 500 and is for SoapClient to read; all else is not.
        $type = (string) curl_getinfo($handle, CURLINFO_CONTENT_TYPE);
        if (curl_getinfo($handle, CURLINFO_RESPONSE_CODE) >= 400 && !str_contains($type, 'xml')) {
            throw new SoapFault('HTTP', trim($body));
        }
        return $body;
    }
}
