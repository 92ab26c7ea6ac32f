"""What lies between a client and its server: TLS, authorities of one's own, proxies."""

from __future__ import annotations

import os
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from fastio_cli.client import transport
from fastio_cli.client.remote import Remote
from fastio_cli.client.streams import SILENCE_S
from fastio_cli.errors import FastioError
from tests.client.conftest import TOKEN
from tests.client.forward import ForwardProxy
from tests.client.serving import Serving, fastio

NAME = "fastio.invalid"  # resolves nowhere: only a proxy can have brought us there


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with a certificate of a company's own authority."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = authority.issue_cert("localhost", NAME)
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    pem = str(folder / "server.pem")
    serving = Serving(folder / "store", "--tls-certificate", pem, "--tls-key", pem)
    serving.ca = str(folder / "ca.pem")  # type: ignore[attr-defined]
    serving.owner = serving.token("ada")  # type: ignore[attr-defined]
    yield serving
    serving.stop()


@pytest.fixture
def proxy(tls: Any) -> Iterator[ForwardProxy]:
    proxy = ForwardProxy(tls.port)
    yield proxy
    proxy.close()


def whoami(url: str, token: str, **options: Any) -> str:
    remote = Remote(url, token, retry_s=2, **options)
    try:
        return str(remote.call("access.whoami")["member"])
    finally:
        remote.close()


def refused(url: str, token: str, **options: Any) -> FastioError:
    with pytest.raises(FastioError) as caught:
        whoami(url, token, **options)
    return caught.value


def test_an_authority_of_ones_own(tls, home, monkeypatch):
    url = f"https://localhost:{tls.port}"
    assert whoami(url, tls.owner, ca_file=tls.ca) == "ada"
    monkeypatch.setenv("SSL_CERT_FILE", tls.ca)
    assert whoami(url, tls.owner) == "ada"


def test_a_certificate_that_nobody_vouches_for(tls, home, monkeypatch):
    error = refused(f"https://localhost:{tls.port}", tls.owner)
    assert error.code == "unavailable"
    assert "CERTIFICATE_VERIFY_FAILED" in error.message
    assert "SSL_CERT_FILE" in error.hint


def test_a_certificate_for_another_name(tls, home):
    error = refused(f"https://127.0.0.1:{tls.port}", tls.owner, ca_file=tls.ca)
    assert "CERTIFICATE_VERIFY_FAILED" in error.message


def test_an_authority_is_trusted_besides_the_public_ones(tls, home, monkeypatch):
    given: list[ssl.SSLContext] = []
    monkeypatch.setattr(transport.httpx, "Client", lambda **o: given.append(o["verify"]))
    transport.open_client("https://localhost", None, tls.ca)
    assert given[0].cert_store_stats()["x509_ca"] > 50
    assert given[0].verify_mode == ssl.CERT_REQUIRED
    assert given[0].check_hostname


def test_settings_that_are_wrong(home, monkeypatch, tmp_path):
    with pytest.raises(FastioError) as caught:
        Remote("https://localhost", None, ca_file="/no/such.pem")
    assert caught.value.code == "invalid"
    assert "/no/such.pem" in caught.value.message
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path))
    with pytest.raises(FastioError) as caught:
        Remote("https://localhost", None)
    assert str(tmp_path) in caught.value.message
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("HTTP_PROXY", "nonsense://proxy")
    with pytest.raises(FastioError) as caught:
        Remote("http://localhost", None)
    assert caught.value.code == "invalid"


def test_tls_where_there_is_none_and_the_other_way_round(tls, server, home):
    plain = f"https://127.0.0.1:{server.url.rpartition(':')[2]}"
    assert "http://" in refused(plain, tls.owner).hint
    assert refused(f"http://localhost:{tls.port}", tls.owner).code == "unavailable"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_through_a_proxy_with_tls(tls, proxy, home, monkeypatch, variable):
    monkeypatch.setenv(variable, proxy.url)
    assert whoami(f"https://{NAME}", tls.owner, ca_file=tls.ca) == "ada"
    assert proxy.asked == [f"CONNECT {NAME}:443"]


def test_through_a_proxy_in_the_clear(server, home, monkeypatch):
    proxy = ForwardProxy(int(server.url.rpartition(":")[2]))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    try:
        assert whoami(f"http://{NAME}", server.token("ada")) == "ada"
        assert proxy.asked == [f"GET http://{NAME}/v1/whoami"]
    finally:
        proxy.close()


def test_past_a_proxy(tls, proxy, home, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert whoami(f"https://localhost:{tls.port}", tls.owner, ca_file=tls.ca) == "ada"
    assert proxy.asked == []


def test_a_proxy_that_wants_a_password(tls, home, monkeypatch):
    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    proxy = ForwardProxy(tls.port, refuse=answer)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    try:
        error = refused(f"https://{NAME}", tls.owner, ca_file=tls.ca)
    finally:
        proxy.close()
    assert "407" in error.message
    assert "proxy" in error.hint.lower()
    assert len(proxy.asked) == 1  # the same answer would come again


def test_a_proxy_that_is_away(home, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert refused(f"https://{NAME}", TOKEN).code == "unavailable"


def test_a_proxy_of_a_kind_that_needs_more(home, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(FastioError) as caught:
        Remote(f"https://{NAME}", None)
    assert caught.value.code == "invalid"
    assert "socksio" in caught.value.message + caught.value.hint


def test_certificates_are_not_even_loaded_without_tls(server, home, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent"))
    assert whoami(server.url, server.token("ada")) == "ada"


def test_a_watch_ends_in_time_also_below_tls(tls, proxy, home, monkeypatch):
    for variable, url in (("NO_PROXY", f"https://localhost:{tls.port}"), ("X", f"https://{NAME}")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", proxy.url)
            patch.setenv(variable, "localhost")
            remote = Remote(url, tls.owner, ca_file=tls.ca)
            begun = time.monotonic()
            assert list(remote.watch("default", timeout_s=0.3)) == []
            assert 0.3 <= time.monotonic() - begun < SILENCE_S
            remote.close()


def test_a_login_remembers_whom_to_trust(tls, home):
    shutil.copy(tls.ca, home / "ca.pem")
    url = f"https://localhost:{tls.port}"
    assert fastio("login", url, stdin=tls.owner).returncode == 9
    assert fastio("login", url, "--ca-file", "ca.pem", "-q", stdin=tls.owner).stdout == "ada\n"
    os.chdir("/")
    assert fastio("whoami", "-q").stdout == "ada\n"
    assert fastio("login", url, "-q", stdin=tls.owner).stdout == "ada\n"  # known by now
    # The server is the same one when its URL is given; the profile in force is another.
    fastio("profile", "use", "local")
    for same in (url, f"{url}/"):
        assert fastio("whoami", "-q", "--store", same).stdout == "ada\n"
    # Without a profile of that server nobody vouches for it.
    environ = {"FASTIO_STORE": url.replace("localhost", "127.0.0.1"), "FASTIO_TOKEN": tls.owner}
    assert fastio("whoami", environ={**environ, "FASTIO_RETRY_S": "1"}).returncode == 9
