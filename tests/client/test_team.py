"""A team: its set-up as the README shows it, and agents at work while the server dies."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
from pathlib import Path

import pytest
import trustme

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.storage.sqlite.store import SqliteStore
from tests.backends import until
from tests.client.serving import Serving, begin, command, fastio
from tests.ports import free_port

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
INCREMENTS = 120
KILLS = 3
WATCH = ("event", "watch", "--after", "0", "--type", "state.increment", "--fields", "seq,version")


def lines_of_the_readme() -> list[str]:
    """The shell lines of the set-up, without their comments."""
    section = README.partition("## For a team")[2]
    block = re.search(r"^```sh\n(.*?)^```$", section, re.S | re.M)
    assert block is not None
    return [re.sub(r"\s+#.*", "", line) for line in block[1].splitlines()]


class Machine:
    """A home of its own, with a shell in it."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        folder.mkdir()
        fastio_words = " ".join(map(shlex.quote, command()))
        self._prelude = f'fastio() {{ {fastio_words} "$@"; }}\n'
        self._environ = {"HOME": str(folder), "PATH": "/usr/bin:/bin", **environ}

    def run(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", self._prelude + line],
            cwd=self.folder,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        return done.stdout

    def begin(self, line: str) -> subprocess.Popen[str]:
        words = shlex.split(line)
        assert words[0] == "fastio"
        return begin(*words[1:], cwd=self.folder, env=self._environ, stderr=subprocess.DEVNULL)


def test_the_set_up_of_the_readme(tmp_path):
    install, token, serve, login, change, agent = lines_of_the_readme()
    assert install.startswith("pip install")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trust = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    server = Machine(tmp_path / "server")
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(server.folder / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(server.folder / "key.pem"))
    ada, researcher = (Machine(tmp_path / name, **trust) for name in ("ada", "researcher"))

    server.run(token)
    port = free_port()
    serve = serve.replace("0.0.0.0", f"127.0.0.1 --port {port}")  # the tests stay on this machine
    running = server.begin(serve)
    try:
        until(lambda: _listens(port) or running.poll() is not None)
        (ada.folder / "ada.token").write_text((server.folder / "ada.token").read_text())
        url = f"https://localhost:{port}"
        ada.run(login.replace("https://fastio.example.org:8787", url))
        assert ada.run(change + " -q") == "1\n"
        ada.run(agent)
        (researcher.folder / "agent.token").write_text((ada.folder / "agent.token").read_text())
        here = f"export FASTIO_STORE={url} FASTIO_TOKEN_FILE=agent.token\n"
        assert json.loads(researcher.run(here + "fastio state get plan.json")) == {"step": 1}
        assert json.loads(researcher.run(here + "fastio whoami"))["role"] == "editor"
        assert ada.run("fastio state list -q") == "plan.json\n"
    finally:
        running.terminate()
        running.wait(30)


@pytest.fixture
def serving(tmp_path, home):
    serving = Serving(tmp_path / "store")
    yield serving
    serving.stop()


def test_two_agents_while_the_server_is_killed(serving, tmp_path, monkeypatch):
    """Nothing is lost, each effect happens once, and those who wait and watch miss nothing."""
    monkeypatch.setenv("FASTIO_STORE", f"http://127.0.0.1:{serving.port}")
    monkeypatch.setenv("FASTIO_RETRY_S", "120")
    tokens = [{"FASTIO_TOKEN": serving.token(name, "editor")} for name in ("ann", "bob")]
    monkeypatch.setenv("FASTIO_TOKEN", serving.token("ada"))
    assert fastio("state", "set", "n.json", "0", "-q").stdout == "1\n"
    held = fastio("lock", "acquire", "report", "--ttl", "1h", "-q").stdout.strip()
    total = 2 * INCREMENTS
    watcher, waiter, heir = (
        begin(*words, stdout=subprocess.PIPE)
        for words in (
            (*WATCH, "--count", str(total)),
            ("state", "wait", "n.json", f"@ == `{total}`", "--timeout", "1h"),
            ("lock", "acquire", "report", "--wait", "1h", "-q"),
        )
    )
    agents = []
    for number, token in enumerate(tokens):
        answers = open(tmp_path / f"answers-{number}", "w+")  # noqa: SIM115
        agent = begin("batch", stdin=subprocess.PIPE, stdout=answers, env={**os.environ, **token})
        assert agent.stdin is not None
        agent.stdin.write('{"op": "state.increment", "path": "n.json"}\n' * INCREMENTS)
        agent.stdin.close()
        agents.append((agent, answers))

    store = SqliteStore(serving.folder)
    engine = Engine(store, BlobStore(f"{serving.folder}/blobs"), Limits())
    for kill in range(1, KILLS + 1):
        goal = total * kill // (KILLS + 1)
        until(lambda goal=goal: engine.call("state.get", {"path": "n.json"})["value"] >= goal)
        serving.kill()
        serving.start()
    values = []
    for agent, answers in agents:
        assert agent.wait(120) == 0
        answers.seek(0)
        values += [json.loads(line)["result"]["value"] for line in answers]
        answers.close()
    assert sorted(values) == list(range(1, total + 1))
    assert waiter.communicate(timeout=120)[0] == f"{total}\n"
    fastio("lock", "release", "report", "--lock-token", held, "-q")
    assert heir.communicate(timeout=120)[0].startswith("lk_")
    seen = [json.loads(line) for line in watcher.communicate(timeout=120)[0].splitlines()]
    assert [event["version"] for event in seen] == list(range(2, total + 2))
    assert [event["seq"] for event in seen] == sorted(event["seq"] for event in seen)
    assert (watcher.returncode, waiter.returncode, heir.returncode) == (0, 0, 0)
    assert json.loads(fastio("audit", "verify").stdout)["verified"]
    store.close()


def test_a_command_is_stopped_when_its_lock_may_be_anothers(serving, monkeypatch):
    """The server is away for longer than the lock lasts, though it would be tried for longer."""
    monkeypatch.setenv("FASTIO_STORE", f"http://127.0.0.1:{serving.port}")
    monkeypatch.setenv("FASTIO_TOKEN", serving.token("ada"))
    monkeypatch.setenv("FASTIO_RETRY_S", "600")
    words = ("lock", "run", "report", "--ttl", "2", "--", "sh", "-c", "echo begun; exec sleep 600")
    run = begin(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout is not None
    assert run.stdout.readline() == "begun\n"
    serving.kill()
    _, complaint = run.communicate(timeout=60)
    assert run.returncode == 5
    assert json.loads(complaint)["error"]["code"] == "lock_lost"
    serving.start()


def _listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0
