"""Where requests may go: over real connections, with names that resolve to what the test says."""

from __future__ import annotations

import socket
import threading
from typing import Any

import httpx
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from fastio_cli.egress.client import Egress, client_for, new_cookies
from fastio_cli.egress.rules import PORTS, EgressRules, redact_url
from fastio_cli.errors import FastioError
from tests.ports import free_port

from .conftest import secure_site
from .site import Handler, Site


def names(**table: list[str]) -> Any:
    """A resolver that knows these names (dots written as underscores) and counts its calls."""
    known = {name.replace("_", "."): addresses for name, addresses in table.items()}
    calls: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        calls.append(host)
        if host not in known:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=4)  # numeric only
        return [(0, 0, 0, "", (address, port)) for address in known[host]]

    resolve.calls = calls  # type: ignore[attr-defined]
    return resolve


def refusal(url: str, rules: EgressRules | None = None, resolve: Any = None) -> FastioError:
    egress = Egress(rules or EgressRules(), resolve=resolve or names())
    with pytest.raises(FastioError) as caught, egress.stream(url):
        pass
    egress.close()
    return caught.value


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1", "240.0.0.1",
     "255.255.255.255", "192.88.99.1", "192.0.0.8", "[::1]", "[::]", "[fe80::1]", "[fc00::1]",
     "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]",
     "[2002:7f00:1::]", "[2001:0:1::]", "[::ffff:127.0.0.1]", "[::7f00:1]",
     "[5f00::1]", "[3fff::1]"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    for url in (f"http://{address}/", f"https://{address}/x"):
        error = refusal(url)
        assert error.code == "blocked_url"
        assert "not a public address" in error.message


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "017700000001"],
)
def test_numbers_in_disguise(host: str) -> None:
    error = refusal(f"http://{host}/")
    # Python's own URL code stops some of them even before.
    assert error.code in ("blocked_url", "invalid")
    assert "unusual number form" in error.message or "not a valid URL" in error.message


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("gopher://example.com/", "only http and https"),
        ("data:text/plain,hello", "only http and https"),
        ("ftp://example.com/a", "only http and https"),
        ("javascript:alert(1)", "only http and https"),
        ("http://user:secret@example.com/", "user name or password"),
        ("https://token@example.com/", "user name or password"),
        ("http://example.com:22/", "port 22"),
        ("http://example.com:6379/", "port 6379"),
        ("http://127%2e0%2e0%2e1/", "characters that no host name has"),
        ("http://[fe80::1%25eth0]/", "characters that no host name has"),
    ],
)
def test_urls_that_are_refused_unresolved(url: str, why: str) -> None:
    resolve = names()
    error = refusal(url, resolve=resolve)
    assert error.code == "blocked_url"
    assert why in error.message
    assert "secret" not in error.message
    assert resolve.calls == []


@pytest.mark.parametrize(
    "url",
    ["", "example.com", "http://", "http:///x", "http://exa mple/", "http://a\\@b/", "http://a\n/",
     "http://１２７.0.0.1/", "http://h:99999999/", "http://[::1/", "//host/x",
     "http://" + "a" * 9000],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    assert refusal(url).code in ("invalid", "blocked_url")


def test_private_answers_are_refused_also_beside_public_ones() -> None:
    resolve = names(mixed_example=["93.184.216.34", "10.0.0.5"], v6_example=["2606:4700::1", "::1"])
    assert "10.0.0.5" in refusal("http://mixed.example/", resolve=resolve).message
    assert "::1" in refusal("http://v6.example/", resolve=resolve).message


def test_localhost_by_any_name() -> None:
    resolve = names(localhost=["127.0.0.1"], localhost_=["127.0.0.1"])
    assert refusal("http://localhost/", resolve=resolve).code == "blocked_url"
    assert refusal("http://localhost./", resolve=resolve).code == "blocked_url"
    assert refusal("http://LOCALHOST/", resolve=resolve).code == "blocked_url"


def test_look_alike_hosts_are_shown_encoded() -> None:
    url = "http://\u0430pple.com:99/"
    assert redact_url(url) == "http://xn--pple-43d.com:99/"
    error = refusal(url)
    assert "\u0430" not in error.message
    assert "xn--pple-43d.com" in error.message


def test_shown_urls_hold_no_secrets() -> None:
    assert redact_url("https://u:p@h.example/a?token=1#x") == "https://h.example/a"


def test_name_is_resolved_once_and_the_vetted_address_is_used(site: Site) -> None:
    """Rebinding: the second answer would lead elsewhere, and nobody asks for it."""
    other = Site(host="127.0.0.2")
    site.file("/", b"right")
    other.file("/", b"wrong")
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    asked: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(0, 0, 0, "", (a, port)) for a in answers[min(len(asked), 2) - 1]]

    egress = Egress(EgressRules(allow="127.0.0.1"), resolve=resolve)
    response = egress.read(f"http://rebind.example:{site.port}/")
    assert response.content == b"right"
    assert asked == ["rebind.example"]
    assert site.headers("host") == [f"rebind.example:{site.port}"]
    assert other.requests == []
    # A later connection resolves again, and is vetted again.
    egress.close()
    again = Egress(EgressRules(allow="127.0.0.1"), resolve=resolve)
    with pytest.raises(FastioError) as caught:
        again.read(f"http://rebind.example:{other.port}/")
    assert caught.value.code == "blocked_url"
    assert other.requests == []
    again.close()
    other.close()


def test_tls_names_stay_the_hosts(authority: trustme.CA, ca_file: str) -> None:
    site = secure_site(authority, "files.example")
    site.file("/a", b"safe")
    resolve = names(files_example=["127.0.0.1"], other_example=["127.0.0.1"])
    egress = Egress(EgressRules(allow="127.0.0.1", ca_file=ca_file), resolve=resolve)
    assert egress.read(f"https://files.example:{site.port}/a").content == b"safe"
    with pytest.raises(FastioError) as caught:
        egress.read(f"https://other.example:{site.port}/a")
    assert caught.value.details["kind"] == "tls"
    assert "not secure" in caught.value.message
    egress.close()
    untrusting = Egress(EgressRules(allow="127.0.0.1"), resolve=resolve)
    with pytest.raises(FastioError) as caught:
        untrusting.read(f"https://files.example:{site.port}/a")
    assert "not secure" in caught.value.message
    untrusting.close()
    site.close()


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://10.0.0.1/",
     "file:///etc/passwd", "gopher://x/", "http://2130706433/", "http://u:p@127.0.0.1/",
     "//127.0.0.2/",
     "http://metadata.example/"],
)  # fmt: skip
def test_redirects_are_vetted(site: Site, target: str) -> None:
    site.redirect("/", target)
    resolve = names(metadata_example=["169.254.169.254"])
    error = refusal(site.url(), EgressRules(allow=f"127.0.0.1:{site.port}"), resolve)
    assert error.code == "blocked_url"


def test_five_redirects_and_no_more(site: Site, egress: Egress) -> None:
    for n in range(5):
        site.redirect(f"/{n}", f"/{n + 1}", (301, 302, 303, 307, 308)[n])
    site.file("/5", b"there")
    response = egress.read(site.url("/0"))
    assert response.content == b"there"
    assert str(response.request.url) == site.url("/5")
    site.redirect("/5", "/6")
    with pytest.raises(FastioError) as caught:
        egress.read(site.url("/0"))
    assert "more than 5 times" in caught.value.message
    site.redirect("/loop", "/loop")
    with pytest.raises(FastioError):
        egress.read(site.url("/loop"))


def test_never_from_https_to_http(authority: trustme.CA, ca_file: str, site: Site) -> None:
    secure = secure_site(authority, "127.0.0.1")
    secure.redirect("/down", site.url("/"))
    secure.redirect("/same", "/end")
    secure.file("/end", b"ok")
    site.redirect("/up", secure.url("/end"))
    egress = Egress(EgressRules(allow="127.0.0.1", ca_file=ca_file))
    with pytest.raises(FastioError) as caught:
        egress.read(secure.url("/down"))
    assert "from https to http" in caught.value.message
    assert site.requests == []
    assert egress.read(secure.url("/same")).content == b"ok"
    assert egress.read(site.url("/up")).content == b"ok"
    egress.close()
    secure.close()


def test_secrets_stay_with_their_origin(site: Site, egress: Egress) -> None:
    other = Site()
    other.file("/end", b"x")
    site.redirect("/same", "/end")
    site.file("/end", b"x")
    site.redirect("/away", other.url("/back"))
    other.redirect("/back", site.url("/end"))
    secrets = {"Authorization": "Bearer top", "X-Api-Key": "key"}
    egress.read(site.url("/same"), secrets=secrets, headers={"X-Open": "1"})
    assert site.headers("authorization") == ["Bearer top", "Bearer top"]
    egress.read(site.url("/away"), secrets=secrets, headers={"X-Open": "1"})
    assert other.headers("authorization") == [None]
    assert other.headers("x-api-key") == [None]
    assert other.headers("x-open") == ["1"]
    other.close()


def test_posts_are_not_redirected(site: Site, egress: Egress) -> None:
    site.redirect("/hook", "/elsewhere")
    response = egress.read(site.url("/hook"), method="POST", content=b"{}")
    assert response.status_code == 302
    assert len(site.requests) == 1


def test_proxies_of_the_environment_are_ignored(
    site: Site, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    site.file("/", b"direct")
    fresh = Egress(EgressRules(allow="127.0.0.1"))
    assert fresh.read(site.url("/")).content == b"direct"
    fresh.close()


def test_netrc_is_ignored(site: Site, egress: Egress, tmp_path: Any, monkeypatch: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    site.file("/", b"x")
    egress.read(site.url("/"))
    assert site.headers("authorization") == [None]


def test_allow_list_by_network_address_name_and_port(site: Site) -> None:
    site.file("/", b"x")
    resolve = names(intern_example=["127.0.0.1"], fake_example=["127.0.0.1"])
    port = site.port
    for allow in ("127.0.0.0/8", "127.0.0.1", f"127.0.0.1:{port}", "10.0.0.0/8, 127.0.0.1/32"):
        egress = Egress(EgressRules(allow=allow))
        assert egress.read(site.url("/")).content == b"x"
        egress.close()
    egress = Egress(EgressRules(allow=f"intern.example:{port}"), resolve=resolve)
    assert egress.read(f"http://intern.example:{port}/").content == b"x"
    with pytest.raises(FastioError):
        egress.read(f"http://fake.example:{port}/")
    egress.close()
    assert refusal(site.url("/"), EgressRules(allow=f"127.0.0.1:{port + 1}")).code == "blocked_url"


def test_listing_a_network_opens_no_port_elsewhere() -> None:
    resolve = names(public_example=["93.184.216.34"])
    error = refusal("http://public.example:6379/", EgressRules(allow="10.0.0.0/8"), resolve)
    assert error.code == "blocked_url"
    assert "port 6379" in error.message


@pytest.mark.parametrize("allow", ["10.0.0.0/99", "host:port", ":80", "[::1", "a/b"])
def test_wrong_allow_lists(allow: str) -> None:
    if allow == "[::1":  # read as the address it begins
        assert EgressRules(allow=allow).allowed
        return
    with pytest.raises(FastioError) as caught:
        EgressRules(allow=allow)
    assert caught.value.code == "invalid"


def test_headers_are_limited(site: Site, egress: Egress) -> None:
    big = {f"X-{n}": "y" * 1000 for n in range(70)}
    site.routes["/big"] = lambda h: h.answer(200, b"x", **big)
    with pytest.raises(FastioError) as caught:
        egress.read(site.url("/big"))
    assert caught.value.code == "blocked_url"

    def endless(h: Handler) -> None:
        h.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            h.wfile.write(b"X-More: " + b"y" * 4096 + b"\r\n")

    site.routes["/endless"] = endless
    with pytest.raises(FastioError) as caught:
        egress.read(site.url("/endless"))
    assert caught.value.code in ("unavailable", "blocked_url")


def test_headers_that_drip_end_at_the_deadline(site: Site) -> None:
    gone = threading.Event()

    def drip(h: Handler) -> None:
        h.wfile.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while not gone.wait(0.01):
                h.wfile.write(b"X: y\r\n")
        except OSError:
            pass

    site.routes["/"] = drip
    egress = Egress(EgressRules(allow="127.0.0.1", answer_s=0.3))
    with pytest.raises(FastioError) as caught:
        egress.read(site.url("/"))
    gone.set()
    assert caught.value.code == "timeout"
    egress.close()


def test_small_answers_are_limited(site: Site, egress: Egress) -> None:
    site.file("/", b"x" * 5000)
    assert len(egress.read(site.url("/")).content) == 5000
    with pytest.raises(FastioError) as caught:
        egress.read(site.url("/"), size_bytes_max=4999)
    assert caught.value.code == "too_large"


def test_nobody_listens(egress: Egress) -> None:
    with pytest.raises(FastioError) as caught:
        egress.read(f"http://127.0.0.1:{free_port()}/")
    assert caught.value.code == "unavailable"
    assert caught.value.details["kind"] == "connect"


def test_default_ports() -> None:
    assert {80, 443} <= PORTS
    assert not {22, 25, 6379, 5432, 2375} & PORTS


def test_a_client_to_one_service_of_the_settings(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reached wherever it is, past proxies; nothing else on this machine is."""
    other = Site(host="127.0.0.2")
    for name in ("HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    site.file("/v1/chat", b"{}")
    site.redirect("/v1/away", other.url("/"))
    with client_for(site.url("/v1"), headers={"X-Key": "1"}, read_s=10, connect_s=5) as client:
        assert client.get(site.url("/v1/chat")).content == b"{}"
        assert client.get(site.url("/v1/away")).status_code == 302
        with pytest.raises(FastioError) as caught:
            client.get(other.url("/"))
    assert caught.value.code == "blocked_url"
    assert site.headers("x-key") == ["1", "1"]
    assert other.requests == []
    other.close()


def test_a_client_to_a_service_with_a_certificate_of_ones_own(
    authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = secure_site(authority, "127.0.0.1")
    site.file("/v1", b"safe")
    client = client_for(site.url("/v1"), headers={}, read_s=10, connect_s=5)
    with client, pytest.raises(httpx.ConnectError):
        client.get(site.url("/v1"))
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    with client_for(site.url("/v1"), headers={}, read_s=10, connect_s=5) as client:
        assert client.get(site.url("/v1")).content == b"safe"
    site.close()


ODD = [b"a", b"=", b";", b" ", b'"', b"\0", b"\xff", b"\xc3\xa9", b"Domain", b"Expires=", b"Path=/",
       b"Max-Age=", b"9" * 30, b"\t", b"\x80", b",", b"Version=1", b'Port="80"']  # fmt: skip


def set_cookies(*cookies: str) -> Any:
    """A route that sets cookies until they come back, redirecting to itself."""

    def route(h: Handler) -> None:
        if h.headers.get("cookie"):
            h.answer(200, h.headers["cookie"].encode())
            return
        h.send_response_only(302)
        for cookie in cookies:
            h.send_header("Set-Cookie", cookie)
        h.send_header("Location", h.path)
        h.send_header("Content-Length", "0")
        h.end_headers()

    return route


def test_a_site_gets_its_cookies_back_along_redirects(site: Site, egress: Egress) -> None:
    site.routes["/x"] = set_cookies("a=1; Path=/", "b=2")
    assert set(egress.read(site.url("/x")).content.decode().split("; ")) == {"a=1", "b=2"}
    assert site.headers("cookie")[0] is None
    assert len(site.requests) == 2
    egress.read(site.url("/x"))
    assert site.headers("cookie")[2] is None  # nothing is kept between fetches


def test_cookies_join_those_of_the_user_which_stay_at_their_origin(
    site: Site, egress: Egress
) -> None:
    other = Site(host="127.0.0.2")
    other.routes["/x"] = lambda h: h.answer(200, b"there")
    far = Egress(EgressRules(allow="127.0.0.1,127.0.0.2"))

    def route(h: Handler) -> None:
        if "a=1" in (h.headers.get("cookie") or ""):
            h.answer(302, Location=other.url("/x"))
        else:
            h.answer(302, Location="/x", Set_Cookie="a=1")

    site.routes["/x"] = route
    try:
        assert far.read(site.url("/x"), secrets={"Cookie": "own=9"}).content == b"there"
        assert site.headers("cookie") == ["own=9", "own=9; a=1"]
        assert other.headers("cookie") == [None]
    finally:
        other.close()
        far.close()


@pytest.mark.parametrize(
    ("cookie", "host", "returned"),
    [
        ("a=1", "www.example.com", True),
        ("a=1", "sub.www.example.com", False),
        ("a=1", "example.com", False),
        ("a=1; Domain=example.com", "www.example.com", True),
        ("a=1; Domain=example.com", "other.example.com", True),
        ("a=1; Domain=.example.com", "notexample.com", False),
        ("a=1; Domain=example.com", "example.org", False),
        ("a=1; Domain=other.example.com", "other.example.com", False),
        ("a=1; Domain=com", "other.com", False),
        ("a=1; Path=/elsewhere", "www.example.com", False),
        ("a=1; Max-Age=0", "www.example.com", False),
        ("a=1; Secure", "www.example.com", False),
    ],
)
def test_cookies_stay_with_their_site(cookie: str, host: str, returned: bool) -> None:
    cookies = new_cookies()
    asked = httpx.Request("GET", "http://www.example.com/x")
    cookies.extract_cookies(httpx.Response(302, headers={"Set-Cookie": cookie}, request=asked))
    following = httpx.Request("GET", f"http://{host}/y")
    cookies.set_cookie_header(following)
    assert following.headers.get("cookie") == ("a=1" if returned else None)


def test_registries_set_no_cookies() -> None:
    cookies = new_cookies()
    asked = httpx.Request("GET", "https://mine.co.uk/")
    header = {"Set-Cookie": "a=1; Domain=co.uk"}
    cookies.extract_cookies(httpx.Response(302, headers=header, request=asked))
    assert not list(cookies.jar)


@given(st.lists(st.sampled_from(ODD), max_size=12).map(b"".join))
def test_cookies_of_any_kind_go_back_whole_or_not_at_all(cookie: bytes) -> None:
    cookies = new_cookies()
    asked = httpx.Request("GET", "http://www.example.com/x")
    cookies.extract_cookies(httpx.Response(302, headers=[(b"set-cookie", cookie)], request=asked))
    following = httpx.Request("GET", "http://www.example.com/y")
    cookies.set_cookie_header(following)
    assert following.headers.get("cookie", "").isprintable()
