"""Which proxy serves which origin: fastcar chooses as curl does, given the same variables."""

from __future__ import annotations

import os
import subprocess

from tests.peers.case import Fastcar, PeersTestCase
from tests.peers.clients import curl
from tests.peers.processes import LIMIT, require
from tests.peers.recorder import Contact, Recorder


class ChoiceTestCase(PeersTestCase):
    """Three possible proxies and an origin, none of which does anything but take notes.

    In variables and options `{a}`, `{b}` and `{c}` stand for the proxies, in URLs `{o}` for the
    origin's port, which every host has.
    """

    def setUp(self) -> None:
        super().setUp()
        self.recorders = [Recorder(name) for name in ("a", "b", "c", "origin")]
        for recorder in self.recorders:
            self.own(recorder)
        a, b, c, origin = self.recorders
        self.places = {"a": a.authority, "b": b.authority, "c": c.authority, "o": origin.port}
        self.resolve = ("--resolve", f"*:{origin.port}:127.0.0.1")

    def fill(self, text: str) -> str:
        return text.format_map(self.places)

    def curl_chooses(self, url: str, variables: dict[str, str], *options: str) -> list[Contact]:
        """Where curl goes, by itself, for `url`."""
        argv = [require("curl", "curl"), "-q", "-sS", "-k", "--proxy-insecure", *self.resolve]
        environ = {**os.environ, **variables}
        argv += ["--max-time", str(LIMIT), *options, url]
        subprocess.run(argv, env=environ, capture_output=True, check=False, timeout=2 * LIMIT)
        return self.take_contacts()

    def fastcar_chooses(self, url: str, fastcar: Fastcar) -> list[Contact]:
        """Where fastcar goes."""
        # Without a name in TLS, fastcar cannot know which address its certificate should be for.
        curl(fastcar.socket, url, "-k")
        return self.take_contacts()

    def take_contacts(self) -> list[Contact]:
        contacts = [contact for recorder in self.recorders for contact in recorder.contacts]
        for recorder in self.recorders:
            recorder.contacts.clear()
        return contacts

    def start(self, variables: dict[str, str], *options: str) -> Fastcar:
        filled = {name: self.fill(value) for name, value in variables.items()}
        return self.start_fastcar(*self.resolve, *options, environ=filled)

    def check(
        self,
        variables: dict[str, str],
        choices: dict[str, str],
        proxy: str | None = None,
        no_proxy: str | None = None,
    ) -> None:
        """Both go for each URL where `choices` says: "name kind"."""
        filled = {name: self.fill(value) for name, value in variables.items()}
        common = [] if proxy is None else ["--proxy", self.fill(proxy)]
        of_curl = [] if no_proxy is None else ["--noproxy", no_proxy]
        of_fastcar = [] if no_proxy is None else ["--no-proxy", no_proxy]
        fastcar = self.start(variables, *common, *of_fastcar)
        for template, choice in choices.items():
            url = self.fill(template)
            expected = self.curl_chooses(url, filled, *common, *of_curl)
            contacts = self.fastcar_chooses(url, fastcar)
            self.assertEqual(contacts, expected, url)
            self.assertEqual([f"{each.name} {each.kind}" for each in contacts], [choice], url)


HTTP, HTTPS = "http://example.test:{o}/", "https://example.test:{o}/"


class VariableTests(ChoiceTestCase):
    """Which variable counts."""

    def test_http_proxy(self) -> None:
        """http_proxy is for http origins only."""
        self.check({"http_proxy": "http://{a}"}, {HTTP: "a absolute", HTTPS: "origin tls"})

    def test_https_proxy(self) -> None:
        """https_proxy is for https origins only."""
        self.check({"https_proxy": "http://{a}"}, {HTTP: "origin origin", HTTPS: "a connect"})

    def test_all_proxy(self) -> None:
        """all_proxy is for both."""
        self.check({"all_proxy": "http://{a}"}, {HTTP: "a absolute", HTTPS: "a connect"})

    def test_upper_case(self) -> None:
        """HTTPS_PROXY and ALL_PROXY mean the same as their small sisters."""
        variables = {"HTTPS_PROXY": "http://{a}", "ALL_PROXY": "http://{b}"}
        self.check(variables, {HTTP: "b absolute", HTTPS: "a connect"})

    def test_lower_case_first(self) -> None:
        """Where there are both, the lower case counts."""
        variables = {
            "http_proxy": "http://{a}",
            "HTTP_PROXY": "http://{b}",
            "https_proxy": "http://{b}",
            "HTTPS_PROXY": "http://{a}",
        }
        self.check(variables, {HTTP: "a absolute", HTTPS: "b connect"})

    def test_lower_case_of_the_rest_first(self) -> None:
        """So it is with all_proxy and no_proxy."""
        variables = {
            "all_proxy": "http://{a}",
            "ALL_PROXY": "http://{b}",
            "no_proxy": "one.test",
            "NO_PROXY": "two.test",
        }
        choices = {"http://one.test:{o}/": "origin origin", "http://two.test:{o}/": "a absolute"}
        self.check(variables, choices)

    def test_the_scheme_first(self) -> None:
        """The variable of the scheme comes before that for all."""
        variables = {"http_proxy": "http://{a}", "all_proxy": "http://{b}"}
        self.check(variables, {HTTP: "a absolute", HTTPS: "b connect"})

    def test_empty(self) -> None:
        """An empty variable is none."""
        variables = {"http_proxy": "", "https_proxy": "", "all_proxy": "http://{a}", "no_proxy": ""}
        self.check(variables, {HTTP: "a absolute", HTTPS: "a connect"})

    def test_upper_case_http_proxy(self) -> None:
        """HTTP_PROXY counts, which curl ignores: what is a request's field Proxy for a CGI program
        is nothing of the kind for a service.
        """
        variables = {"HTTP_PROXY": self.fill("http://{a}"), "ALL_PROXY": self.fill("http://{b}")}
        url = self.fill(HTTP)
        self.assertEqual([each.name for each in self.curl_chooses(url, variables)], ["b"])
        fastcar = self.start(variables)
        self.assertEqual([each.name for each in self.fastcar_chooses(url, fastcar)], ["a"])


class OptionTests(ChoiceTestCase):
    """The options of the command line."""

    def test_before_variables(self) -> None:
        """--proxy is for both schemes, whatever the variables say."""
        variables = {"http_proxy": "http://{b}", "HTTPS_PROXY": "http://{b}"}
        self.check(variables, {HTTP: "a absolute", HTTPS: "a connect"}, proxy="http://{a}")

    def test_no_proxy_variable(self) -> None:
        """NO_PROXY is for the proxy of --proxy as well."""
        variables = {"NO_PROXY": "example.test"}
        choices = {HTTP: "origin origin", "http://other.test:{o}/": "a absolute"}
        self.check(variables, choices, proxy="http://{a}")

    def test_no_proxy_before_variable(self) -> None:
        """--no-proxy takes the place of NO_PROXY."""
        variables = {"all_proxy": "http://{a}", "NO_PROXY": "example.test"}
        choices = {HTTP: "a absolute", "http://other.test:{o}/": "origin origin"}
        self.check(variables, choices, no_proxy="other.test")

    def test_empty_no_proxy(self) -> None:
        """An empty --no-proxy makes NO_PROXY count for nothing."""
        variables = {"all_proxy": "http://{a}", "NO_PROXY": "*"}
        self.check(variables, {HTTP: "a absolute"}, no_proxy="")

    def test_empty_proxy(self) -> None:
        """An empty --proxy makes the variables count for nothing."""
        variables = {"all_proxy": "http://{a}", "http_proxy": "http://{b}"}
        self.check(variables, {HTTP: "origin origin", HTTPS: "origin tls"}, proxy="")


class NoProxyTests(ChoiceTestCase):
    """What an entry of NO_PROXY means."""

    def check_list(self, no_proxy: str, direct: list[str], through: list[str]) -> None:
        choices = {f"http://{host}:{{o}}/": "origin origin" for host in direct}
        choices.update({f"http://{host}:{{o}}/": "a absolute" for host in through})
        self.check({"all_proxy": "http://{a}", "no_proxy": no_proxy}, choices)

    def test_names(self) -> None:
        """A name stands for itself and all below it, in any case, with or without a leading dot."""
        self.check_list(
            "Example.test,.dotted.test",
            ["example.test", "EXAMPLE.TEST", "a.b.example.test", "dotted.test", "a.dotted.test"],
            ["notexample.test", "example.test.org", "test", "xdotted.test"],
        )

    def test_separators(self) -> None:
        """Entries stand between commas, with blanks around them or not."""
        direct = ["one.test", "two.test", "three.test"]
        self.check_list(" one.test,,two.test , three.test,", direct, ["four.test"])

    def test_addresses(self) -> None:
        """An address stands for itself, with a prefix length for its network; no name is looked up
        to compare it.
        """
        self.check_list("127.0.0.1,10.0.0.0/8", ["127.0.0.1"], ["127.0.0.2", "localhost"])

    def test_network(self) -> None:
        """The bits behind the prefix do not matter."""
        self.check_list("127.0.0.77/24", ["127.0.0.1"], ["127.0.1.1", "127.0.0.1.example.test"])

    def test_all(self) -> None:
        """An asterisk alone stands for everything."""
        self.check_list("*", ["example.test", "127.0.0.1"], [])

    def test_no_pattern(self) -> None:
        """In an entry it stands for nothing."""
        self.check_list("*.example.test,other.*", [], ["a.example.test", "other.test"])

    def test_root_dot(self) -> None:
        """The dot of the root makes no difference."""
        self.check_list("one.test,two.test.", ["one.test.", "two.test"], ["three.test."])


class URLTests(ChoiceTestCase):
    """What the URL of a proxy means."""

    def test_without_scheme(self) -> None:
        """Without a scheme it is an HTTP proxy."""
        self.check({"all_proxy": "{a}"}, {HTTP: "a absolute", HTTPS: "a connect"})

    def test_credentials(self) -> None:
        """User and password are sent decoded, as curl sends them."""
        self.check(
            {"http_proxy": "http://me:p%40ss%3Aw%2Frd%C3%A9@{a}", "https_proxy": "me@{b}"},
            {HTTP: "a absolute", HTTPS: "b connect"},
        )

    def test_path(self) -> None:
        """A slash behind the port is ignored, as is the case of the scheme."""
        self.check({"all_proxy": "HTTP://{a}/"}, {HTTP: "a absolute", HTTPS: "a connect"})

    def test_https(self) -> None:
        """An HTTPS proxy is greeted with TLS."""
        self.check({"all_proxy": "https://{a}"}, {HTTP: "a tls", HTTPS: "a tls"})

    def test_socks5(self) -> None:
        """socks5 sends an address, socks5h the name, both with user and password."""
        self.check(
            {"http_proxy": "socks5://me:p%40ss@{a}", "https_proxy": "socks5h://me:p%40ss@{b}"},
            {HTTP: "a socks5", HTTPS: "b socks5h"},
        )

    def test_targets_of_http_proxies(self) -> None:
        """An HTTP proxy is told names, addresses and ports as curl tells them."""
        self.check(
            {"http_proxy": "http://{a}", "https_proxy": "http://{b}"},
            {
                "http://example.test/": "a absolute",
                "https://example.test/": "b connect",
                "http://[2001:db8::1]/": "a absolute",
                "https://[2001:db8::1]/": "b connect",
            },
        )

    def test_targets_of_socks_proxies(self) -> None:
        """An address is sent as one, whether the scheme of the proxy is socks5 or socks5h."""
        self.check(
            {"http_proxy": "socks5://{a}", "https_proxy": "socks5h://{b}"},
            {
                "http://127.0.0.9/": "a socks5",
                "https://127.0.0.9/": "b socks5",
                "http://[2001:db8::1]/": "a socks5",
                "https://[2001:db8::1]/": "b socks5",
            },
        )
