"""examples/php: SoapClient."""

from __future__ import annotations

import re

from tests.peers import recipes
from tests.peers.openings import local
from tests.peers.sockets import Message, Peer, RawOrigin

_WSDL = """<?xml version="1.0"?>
<definitions name="Shop" targetNamespace="urn:shop" xmlns="http://schemas.xmlsoap.org/wsdl/"
    xmlns:shop="urn:shop" xmlns:soap="http://schemas.xmlsoap.org/wsdl/%(binding)s/"
    xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <message name="question"><part name="article" type="xsd:string"/></message>
  <message name="answer"><part name="price" type="xsd:string"/></message>
  <portType name="Shop">
    <operation name="price">
      <input message="shop:question"/><output message="shop:answer"/>
    </operation>
  </portType>
  <binding name="Shop" type="shop:Shop">
    <soap:binding style="rpc" transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="price">
      <soap:operation soapAction="urn:shop#price"/>
      <input><soap:body use="literal" namespace="urn:shop"/></input>
      <output><soap:body use="literal" namespace="urn:shop"/></output>
    </operation>
  </binding>
  <service name="Shop">
    <port name="Shop" binding="shop:Shop"><soap:address location="%(location)s"/></port>
  </service>
</definitions>
"""

_ENVELOPE = """<?xml version="1.0"?>
<soap:Envelope xmlns:soap="%s"><soap:Body>%s</soap:Body></soap:Envelope>
"""
_NAMESPACES = {
    "soap": "http://schemas.xmlsoap.org/soap/envelope/",
    "soap12": "http://www.w3.org/2003/05/soap-envelope",
}
_PRICE = '<shop:priceResponse xmlns:shop="urn:shop"><price>%s: 7.50</price></shop:priceResponse>'
_SOLD_OUT = "<faultcode>soap:Server</faultcode><faultstring>sold out</faultstring>"


def _answer(binding: str, request: Message) -> tuple[int, str, str]:
    """Status, content type and body for a request of the one operation there is."""
    if binding == "soap":
        expected = request.values(b"soapaction") == [b'"urn:shop#price"']
    else:
        expected = b'action="urn:shop#price"' in request.values(b"content-type")[0]
    article = re.search(r"<article>(\w+)</article>", request.body.decode())
    if not expected or article is None:
        return 400, "text/plain", "no such operation"
    if article[1] == "unicorn":
        fault = f"<soap:Fault>{_SOLD_OUT}</soap:Fault>"
        return 500, "text/xml", _ENVELOPE % (_NAMESPACES[binding], fault)
    return 200, "text/xml", _ENVELOPE % (_NAMESPACES[binding], _PRICE % article[1])


class SoapCase(recipes.RecipeTestCase):
    """A service that tells the price of an article, and describes itself."""

    def require(self) -> None:
        super().require()
        recipes.require_extension("soap", "php-soap")

    def shop(self, scheme: str, binding: str = "soap") -> RawOrigin:
        """The service; `binding` says which SOAP it speaks."""

        def script(peer: Peer) -> None:
            while True:
                request = peer.read_message()
                if request.start_line.startswith(b"GET"):
                    location = local(origin)
                    answer = 200, "text/xml", _WSDL % {"binding": binding, "location": location}
                else:
                    answer = _answer(binding, request)
                peer.send(
                    b"HTTP/1.1 %d Status\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
                    % (answer[0], answer[1].encode(), len(answer[2]), answer[2].encode())
                )

        origin = self.origin(script, scheme)
        return origin

    def assert_sold(self, origin: RawOrigin) -> None:
        """Many processes, one connection to the service, its description included."""
        for _ in range(recipes.PROCESSES):
            done = self.cook(local(origin), "price", "tea")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "tea: 7.50", ""))
        self.assertEqual(origin.accepted, 1)

    def assert_reason(self, reason: str, origin: RawOrigin, article: str, **environ: str) -> None:
        """It fails, and tells the reason."""
        done = self.cook(local(origin), "price", article, **environ)
        self.assertNotEqual(done.returncode, 0, done)
        self.assertRegex(done.stderr, reason)


class SocketTests(SoapCase):
    """soap.php with FastcarSoapClient.php."""

    recipe = "soap.php"

    def test_http(self) -> None:
        """It speaks with an http:// service."""
        self.assert_sold(self.shop("http"))

    def test_https(self) -> None:
        """It speaks with an https:// service."""
        self.assert_sold(self.shop("https"))

    def test_usage(self) -> None:
        """Without an operation it says what it needs."""
        done = self.cook("https://localhost/")
        self.assertEqual((done.returncode, done.stdout), (2, ""), done)
        self.assertRegex(done.stderr, r"^usage: php .*WSDL OPERATION")

    def test_fault(self) -> None:
        """A fault of the service is a SoapFault, status 500 or not."""
        self.assert_reason("SoapFault exception: .*sold out", self.shop("https"), "unicorn")

    def test_without_fastcar(self) -> None:
        """Without fastcar it fails: nothing goes to the service directly."""
        origin = self.shop("https")
        self.assert_reason("SoapFault", origin, "tea", **recipes.NOWHERE)
        self.assertEqual(origin.accepted, 0)

    def test_wrong_ca(self) -> None:
        """With another CA it fails: the certificate is verified."""
        origin = self.shop("https")
        self.assert_reason("SoapFault", origin, "tea", FASTCAR_CA=self.shared.authority.file)
        self.assertEqual(origin.accepted, 0)


class ClientTests(SoapCase):
    """FastcarSoapClient.php, more closely."""

    recipe = "soap.php"

    def test_failure(self) -> None:
        """What is no SOAP, such as fastcar's own errors, is a SoapFault with its text."""
        done = self.cook("https://localhost:1/", "price", "tea")
        self.assertRegex(done.stderr, "SoapFault exception: .*https://localhost:1: .*refused")

    def test_soap_1_2(self) -> None:
        """It knows the fields of SOAP 1.2."""
        program = f"""
            require '{recipes.EXAMPLES}/FastcarSoapClient.php';
            [$socket, $ca] = [getenv('FASTCAR_SOCKET'), getenv('FASTCAR_CA')];
            $options = ['soap_version' => SOAP_1_2];
            echo (new FastcarSoapClient($socket, $ca, $argv[1], $options))->price('tea');
        """
        done = self.php("-r", program, local(self.shop("https", "soap12")))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "tea: 7.50", ""))


class ProxyTests(SocketTests):
    """soap-proxy.php: absolute-form and CONNECT on TCP."""

    recipe = "soap-proxy.php"
