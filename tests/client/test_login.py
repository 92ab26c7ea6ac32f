"""Where tokens come from, where they are kept, and that none goes where it should not."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path

import pexpect
import pytest

from tests.client.scripted import record
from tests.client.serving import command, fastio

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def url(server):
    return server.url


@pytest.fixture
def token(server):
    return server.token("ada")


def credentials(home):
    return home / ".config/fastio/credentials.toml"


def keyring(monkeypatch, name):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", f"tests.client.keyrings.{name}")


def member(*args, **options):
    return fastio("whoami", "-q", *args, **options).stdout.strip()


def error(done):
    assert "Traceback" not in done.stderr
    return json.loads(done.stderr)["error"]


def test_in_the_systems_keyring(home, url, token, monkeypatch):
    keyring(monkeypatch, "Working")
    assert json.loads(fastio("login", url, stdin=token).stdout)["kept_in"] == "keyring"
    assert token not in credentials(home).read_text()
    assert member() == "ada"
    assert '"keyring"' in fastio("profile", "list").stdout
    assert json.loads(fastio("logout").stdout)["forgotten"]
    assert (home / "keyring.json").read_text() == "{}"
    assert error(fastio("whoami"))["code"] == "unauthenticated"


def test_in_a_file_of_ones_own(home, url, token):
    kept_in = json.loads(fastio("login", url, stdin=token).stdout)["kept_in"]
    assert kept_in == str(credentials(home))
    assert stat.S_IMODE(credentials(home).stat().st_mode) == 0o600
    assert stat.S_IMODE(credentials(home).parent.stat().st_mode) == 0o700
    assert token not in (home / ".config/fastio/config.toml").read_text()
    assert member() == "ada"


def test_a_keyring_that_is_locked(home, url, token, monkeypatch):
    keyring(monkeypatch, "Locked")
    assert json.loads(fastio("login", url, stdin=token).stdout)["kept_in"] == str(credentials(home))
    assert member() == "ada"


def test_a_keyring_that_was_locked_since(home, url, token, monkeypatch):
    keyring(monkeypatch, "Working")
    fastio("login", url, stdin=token)
    keyring(monkeypatch, "Locked")
    refused = error(fastio("whoami"))
    assert refused["code"] == "unauthenticated"
    assert "nobody is there to unlock it" in refused["message"]
    assert error(fastio("logout"))["code"] == "unavailable"
    monkeypatch.setenv("FASTIO_TOKEN", token)
    assert member() == "ada"


def test_from_a_file_standard_input_or_a_person(home, url, token):
    (home / "t").write_text(f"{token}\n")
    assert fastio("login", url, "--token", "@t", "-q").stdout == "ada\n"
    assert fastio("login", url, "--token", "-", "-q", stdin=token).stdout == "ada\n"
    program, *args = command("login", url, "-q")
    with pexpect.spawn(program, args, encoding="utf-8", timeout=60) as terminal:
        terminal.expect("Token: ")
        terminal.sendline(token)
        terminal.expect(pexpect.EOF)
        assert token not in terminal.before
        assert "ada" in terminal.before


def test_not_from_the_command_line(home, url, token):
    assert error(fastio("login", url, "--token", token))["code"] == "invalid"
    assert not credentials(home).exists()


def test_the_environment_goes_before_what_is_kept(home, url, server, token):
    fastio("login", url, stdin=token)
    bob, eve = server.token("bob"), server.token("eve")
    (home / "t").write_text(eve)
    assert member(environ={"FASTIO_TOKEN_FILE": "t"}) == "eve"
    assert member(environ={"FASTIO_TOKEN_FILE": "t", "FASTIO_TOKEN": bob}) == "bob"
    refused = error(fastio("whoami", environ={"FASTIO_TOKEN_FILE": "absent"}))
    assert refused["code"] == "invalid"


def test_profiles_of_one_server_have_tokens_of_their_own(home, url, server, token):
    fastio("login", url, "--profile", "human", stdin=token)
    fastio("login", url, "--profile", "agent", stdin=server.token("robot"))
    assert member() == "robot"
    assert member("--profile", "human") == "ada"
    assert member(environ={"FASTIO_PROFILE": "human"}) == "ada"
    # A profile that is named on the command line means its token, whatever the environment holds.
    other = {"FASTIO_TOKEN": server.token("eve")}
    assert member(environ=other) == "eve"
    assert member("--profile", "human", environ=other) == "ada"


def test_the_name_of_a_profile_is_that_of_its_host(home, server, token):
    port = server.url.rpartition(":")[2]
    for host, name in (("127.0.0.1", f"127.0.0.1-{port}"), ("localhost", f"localhost-{port}")):
        done = fastio("login", f"http://{host}:{port}", stdin=token)
        assert json.loads(done.stdout)["profile"] == name
    assert fastio("profile", "list", "-q").stdout.split() == ["local", *_names(home)]


def _names(home):
    return list(tomllib.loads((home / ".config/fastio/config.toml").read_text())["profiles"])


def test_a_token_goes_to_its_own_server_only(home, url, token, scripted):
    fastio("login", url, stdin=token)
    other, _ = scripted(record({"items": []}))
    fastio("state", "list", "--store", other.url)
    assert "authorization" not in other.requests[0].headers


def test_a_projects_file_does_not_send_the_environments_token_away(home, url, token, scripted):
    other, _ = scripted(record({"value": 1}))
    project = home / "cloned"
    (project / ".fastio").mkdir(parents=True)
    (project / ".fastio/config.toml").write_text(f'store = "{other.url}"\n')
    os.chdir(project)
    refused = error(fastio("state", "get", "a", environ={"FASTIO_TOKEN": token}))
    assert (refused["code"], other.requests) == ("forbidden", [])
    fastio("trust")
    refused = error(fastio("state", "get", "a", environ={"FASTIO_TOKEN": token}))
    assert refused["code"] == "forbidden"
    assert other.requests == []
    # Without a token to lose, or when the person says so, the project may name its server.
    assert fastio("state", "get", "a").stdout == "1\n"
    fastio("state", "get", "a", environ={"FASTIO_TOKEN": token, "FASTIO_STORE": other.url})
    assert other.requests[-1].headers["authorization"] == f"Bearer {token}"
    (project / ".fastio/config.toml").write_text(f'store = "{url}"\n')
    fastio("trust")
    fastio("login", url, "--profile", "mine", stdin=token)
    assert member() == "ada"


def test_a_projects_file_does_not_say_whom_to_trust(home):
    (home / ".fastio").mkdir()
    (home / ".fastio/config.toml").write_text('ca_file = "evil.pem"\nstore = "https://x.invalid"\n')
    fastio("trust")
    shown = fastio("config", "show", "ca_file")
    assert json.loads(shown.stdout)["value"] is None
    assert "ca_file" in shown.stderr


def test_a_failed_login_changes_nothing(home, url, server):
    token = server.token("ada")
    fastio("login", url, "--profile", "work", stdin=token)
    before = (home / ".config/fastio/config.toml").read_text()
    for bad_url, bad_token in ((url, "fio_x"), ("http://127.0.0.1:1", token), (url + "/no", token)):
        assert fastio("login", bad_url, "--profile", "other", stdin=bad_token).returncode != 0
    assert (home / ".config/fastio/config.toml").read_text() == before
    assert member() == "ada"


def test_what_a_profile_holds_besides_its_server(home, url, token):
    fastio("login", url, "--profile", "work", stdin=token)
    fastio("config", "set", "format", "table", "--profile", "work")
    assert fastio("whoami", "--fields", "member").stdout == "member  ada\n"
    assert fastio("whoami", "--fields", "member", "--profile", "local").stdout.startswith("{")
    fastio("login", url, "--profile", "work", stdin=token)  # again: what was set stays
    assert fastio("whoami", "--fields", "member").stdout == "member  ada\n"
    fastio("config", "unset", "format", "--profile", "work")
    assert fastio("whoami", "--fields", "member").stdout == '{"member":"ada"}\n'


def test_completion_offers_profiles_and_asks_the_server(home, url, token, server):
    server.engine.call("state.set", {"path": "plans/a.json", "value": 1})
    fastio("login", url, "--profile", "work", stdin=token)
    profiles = fastio("complete", "words", "profile", "use", "=")
    assert profiles.stdout.split() == ["names", "local", "work"]
    paths = fastio("complete", "words", "state", "get", "=pl")
    assert paths.stdout.split() == ["names", "pl", "plans/a.json"]
    away = fastio("complete", "words", "--", "--store", "http://127.0.0.1:1", "state", "get", "=")
    assert (away.stdout, away.stderr) == ("", "")
