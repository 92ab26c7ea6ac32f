"""``fastio import`` as people and programs see it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pexpect
import pytest

from fastio_cli.cli.framework.values import size
from fastio_cli.errors import FastioError
from tests.engines import made_store

from .site import Handler, Site


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "FASTIO_STORE": made_store(tmp_path / "store"),
        "FASTIO_EGRESS_ALLOW": "127.0.0.1",
        "FASTIO_IMPORT_RETRY_MS": "1",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "HOME": str(tmp_path),
    }


def fastio(
    environ: dict[str, str], *args: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastio_cli", *args],
        env=environ,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_list_of_urls(environ: dict[str, str], site: Site, tmp_path: Path) -> None:
    for name in "abc":
        site.file(f"/{name}.txt", name.encode())
    listing = tmp_path / "urls.txt"
    listing.write_text(f"# ours\n{site.url('/a.txt')}\n\n  {site.url('/b.txt')}  \n", "utf-8")
    done = fastio(environ, "import", site.url("/c.txt"), "--from-file", str(listing), "--to", "in/")
    assert done.returncode == 0, done.stderr
    page = json.loads(done.stdout)
    assert sorted(item["path"] for item in page["items"]) == ["in/a.txt", "in/b.txt", "in/c.txt"]
    assert fastio(environ, "file", "get", "in/b.txt").stdout == "b"
    piped = fastio(environ, "import", "--from-file", "-", "-q", stdin=f"{site.url('/a.txt')}\n")
    assert piped.stdout == "a.txt\n"


def test_json_lines_and_the_code_of_the_first_failure(environ: dict[str, str], site: Site) -> None:
    site.file("/a.txt", b"a")
    done = fastio(environ, "import", site.url("/a.txt"), site.url("/none"), "--format", "jsonl")
    assert done.returncode == 3
    assert {json.loads(line)["state"] for line in done.stdout.splitlines()} == {"done", "failed"}
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["code"] == "not_found"
    assert "1 of 2 imports" in error["message"]


def test_headers_from_a_file(environ: dict[str, str], site: Site, tmp_path: Path) -> None:
    site.file("/a.txt", b"a")
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer x\nX-Key:  1\n", "utf-8")
    assert (
        fastio(environ, "import", site.url("/a.txt"), "--header-file", str(headers)).returncode == 0
    )
    assert site.headers("authorization") == ["Bearer x"]
    assert site.headers("x-key") == ["1"]
    for text in ("no colon\n", "A b: c\n", "A: b\x01\n", ": x\n"):
        headers.write_text(text, "utf-8")
        refused = fastio(environ, "import", site.url("/a.txt"), "--header-file", str(headers))
        assert refused.returncode == 2
        assert "Name: value" in refused.stderr


def test_every_wish_of_a_command_line(environ: dict[str, str], site: Site) -> None:
    site.file("/a.csv", b"a,b\n")
    right, wrong = hashlib.sha256(b"a,b\n").hexdigest(), "0" * 64
    url = site.url("/a.csv")

    def imported(*args: str) -> tuple[int, Any]:
        done = fastio(environ, "import", url, *args)
        return done.returncode, json.loads(done.stdout)

    code, record = imported("--to", "in/", "--name", "b.csv", "--sha256", right)
    assert (code, record["path"]) == (0, "in/b.csv")
    assert imported("--to", "exact.csv")[1]["path"] == "exact.csv"
    assert imported("--to", "exact.csv")[1]["unchanged"]
    assert imported("--to", "exact.csv", "--on-conflict", "rename")[1]["path"] == "exact (2).csv"
    code, record = imported("--to", "exact.csv", "--on-conflict", "fail")
    assert (code, record["reason_code"]) == (5, "already_exists")
    code, record = imported("--to", "x", "--sha256", wrong)
    assert (code, record["reason_code"]) == (2, "invalid")
    code, record = imported("--to", "x", "--max-size", "3")
    assert (code, record["reason_code"]) == (8, "too_large")
    assert imported("--to", "x", "--max-size", "1kB", "--timeout", "30", "--wait")[0] == 0


def test_a_lock_token_comes_from_the_environment_or_a_file(
    environ: dict[str, str], site: Site, tmp_path: Path
) -> None:
    site.file("/a.csv", b"a,b\n")
    token = fastio(environ, "lock", "acquire", "a.csv", "-q").stdout.strip()
    blind = ("import", site.url("/a.csv"), "--to", "a.csv")
    assert fastio(environ, *blind).returncode == 6
    assert fastio({**environ, "FASTIO_LOCK_TOKEN": token}, *blind).returncode == 0
    file = tmp_path / "token"
    file.write_text(token)
    assert fastio(environ, "import", "retry", "2", "--lock-token", f"@{file}").returncode == 0


def test_a_retry_is_given_the_headers_again(
    environ: dict[str, str], site: Site, tmp_path: Path
) -> None:
    headers = tmp_path / "headers"
    headers.write_text("X-Key: 1\n")
    given = ("--header-file", str(headers))
    assert fastio(environ, "import", site.url("/a.txt"), *given).returncode == 3
    refused = fastio(environ, "import", "retry", "1")
    assert refused.returncode == 2
    assert "fastio import retry 1 --header-file FILE" in refused.stderr
    site.file("/a.txt", b"a")
    assert fastio(environ, "import", "retry", "1", *given).returncode == 0
    assert site.headers("x-key") == ["1", "1"]


def dripping(site: Site) -> threading.Event:
    """A file that never ends; the event stops it."""
    gone = threading.Event()

    def drip(h: Handler) -> None:
        h.begin(200, Content_Length="100000000", ETag='"1"')
        try:
            while not gone.wait(0.005):
                h.wfile.write(b"x" * 1000)
        except OSError:
            pass

    site.routes["/slow.bin"] = drip
    return gone


def test_a_timeout_leaves_the_import_queued(environ: dict[str, str], site: Site) -> None:
    gone = dripping(site)
    done = fastio(environ, "import", site.url("/slow.bin"), "--timeout", "0.5")
    gone.set()
    assert done.returncode == 7
    assert "fastio import retry 1" in done.stderr
    shown = json.loads(fastio(environ, "import", "show", "1").stdout)
    assert shown["state"] == "queued"
    site.file("/slow.bin", b"quick now")
    assert fastio(environ, "import", "retry", "1").returncode == 0


def test_ctrl_c_leaves_the_import_queued(environ: dict[str, str], site: Site) -> None:
    gone = dripping(site)
    process = subprocess.Popen(
        [sys.executable, "-m", "fastio_cli", "import", site.url("/slow.bin")],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: bool(site.requests))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    gone.set()
    assert process.returncode == 130
    assert "fastio import retry 1" in errors
    assert json.loads(fastio(environ, "import", "show", "1").stdout)["state"] == "queued"


def test_progress_is_json_lines_for_programs(environ: dict[str, str], site: Site) -> None:
    gone = dripping(site)
    process = subprocess.Popen(
        [sys.executable, "-m", "fastio_cli", "import", site.url("/slow.bin")],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = json.loads(process.stderr.readline())
    while not line["received_bytes"]:
        line = json.loads(process.stderr.readline())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    gone.set()
    assert line["import"] == 1
    assert 0 < line["received_bytes"] <= line["total_bytes"] == 100_000_000


def test_progress_is_bars_for_people(environ: dict[str, str], site: Site) -> None:
    gone = dripping(site)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "fastio_cli", "import", site.url("/slow.bin"), site.url("/slow.bin")],
        env={**environ, "TERM": "xterm", "COLUMNS": "100"},
        use_poll=True,
        encoding="utf-8",
        timeout=30,
    )
    child.expect(r"slow\.bin.*/100\.0 MB.*\n.*slow\.bin.*/100\.0 MB")  # one below the other
    child.sendintr()
    child.expect("fastio import retry")
    child.expect(pexpect.EOF)
    child.close()
    gone.set()
    assert child.exitstatus == 130


def test_two_commands_share_the_queue(environ: dict[str, str], site: Site) -> None:
    """Every file is written once, whoever works on it, and both commands see the end.

    The one that ends first gives back what it has begun of the other's.
    """
    urls: list[list[str]] = [[], []]
    for n in range(40):
        site.file(f"/{n}.txt", b"%d" % n)
        urls[n % 2].append(site.url(f"/{n}.txt"))
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "fastio_cli", "import", *some],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        for some in urls
    ]
    for child in children:
        printed, _ = child.communicate(timeout=60)
        assert {item["state"] for item in json.loads(printed)["items"]} == {"done"}
    objects = json.loads(fastio(environ, "file", "list", "--limit", "100").stdout)["items"]
    assert len(objects) == 40
    assert {o["version"] for o in objects} == {1}


@pytest.mark.parametrize(
    ("text", "bytes"),
    [
        ("7", 7),
        ("1k", 1000),
        ("500MB", 500_000_000),
        ("1GB", 10**9),
        ("1.5GiB", 3 * 2**29),
        ("2 KiB", 2048),
    ],
)
def test_sizes(text: str, bytes: int) -> None:
    assert size(text, "x") == bytes


@pytest.mark.parametrize("text", ["", "MB", "1XB", "-1", "1e9", "1 B B", "٣", "1..2GB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(FastioError):
        size(text, "x")


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
