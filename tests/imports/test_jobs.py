"""What goes wrong on the way, and how imports live through it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trustme

from fastio_cli.errors import FastioError
from tests.engines import made_store

from .conftest import secure_site
from .importing import Importing
from .site import Handler, Site

BODY = random.Random(3).randbytes(1_000_000)


def once(importing: Importing) -> None:
    """No further attempts."""
    importing.settings(import_attempts_max="1")


def failure(importing: Importing, url: str, **params: object) -> tuple[str, str]:
    record = importing.run(url, **params)
    assert record["state"] == "failed", record
    assert importing.paths() == []
    return record["reason_code"], record["reason"]


def test_cut_at_every_tenth_and_resumed_each_time(importing: Importing, site: Site) -> None:
    file = site.file("/f.bin", BODY)
    file.cut_every = len(BODY) // 10
    record = importing.run(site.url("/f.bin"))
    assert record["state"] == "done", record
    assert importing.bytes("f.bin") == BODY
    ranges = site.headers("range")
    assert ranges == [None] + [f"bytes={n * len(BODY) // 10}-" for n in range(1, 10)]
    assert set(site.headers("if-range")[1:]) == {file.etag}
    assert record["attempts"] == 10
    assert importing.leftovers() == []


def test_without_validators_it_begins_anew(importing: Importing, site: Site) -> None:
    cuts = iter([300_000, 600_000])

    def route(h: Handler) -> None:
        cut = next(cuts, None)
        h.begin(200, Content_Length=str(len(BODY)))
        h.wfile.write(BODY[:cut])
        if cut is not None:
            h.cut()

    site.routes["/f.bin"] = route
    assert importing.run(site.url("/f.bin"))["state"] == "done"
    assert importing.bytes("f.bin") == BODY
    assert site.headers("range") == [None, None, None]


def test_a_file_that_changes_between_the_parts(importing: Importing, site: Site) -> None:
    site.file("/f.bin", BODY).cut_every = 500_000
    changed = BODY[::-1]

    def swap(h: Handler) -> None:
        site.file("/f.bin", changed)

    site.routes["/f.bin"].before_body = swap  # type: ignore[attr-defined]
    assert importing.run(site.url("/f.bin"))["state"] == "done"
    assert importing.bytes("f.bin") == changed


def test_a_server_that_sends_the_wrong_part(importing: Importing, site: Site) -> None:
    file = site.file("/f.bin", BODY)
    file.cut_every = 500_000

    def route(h: Handler) -> None:
        if h.headers.get("range"):
            part = BODY[100:]
            length = f"bytes 100-{len(BODY) - 1}/{len(BODY)}"
            h.answer(206, part, Content_Range=length, ETag=file.etag)
        else:
            file(h)
            file.cut_every = None

    site.routes["/f.bin"] = route
    assert importing.run(site.url("/f.bin"))["state"] == "done"
    assert importing.bytes("f.bin") == BODY


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not_found"), (410, "not_found"), (401, "unauthenticated"), (403, "forbidden"),
     (500, "unavailable"), (503, "unavailable"), (429, "rate_limited"), (418, "invalid"),
     (204, "invalid"), (304, "invalid"), (206, "invalid")],
)  # fmt: skip
def test_statuses(importing: Importing, site: Site, status: int, code: str) -> None:
    once(importing)
    site.routes["/f"] = lambda h: h.answer(status)
    found, reason = failure(importing, site.url("/f"))
    assert found == code
    assert str(status) in reason


def test_failures_that_may_pass_are_tried_again(importing: Importing, site: Site) -> None:
    answers = iter([503, 500, 429, 200])

    def route(h: Handler) -> None:
        status = next(answers)
        h.answer(status, b"x" if status == 200 else b"", Retry_After="0")

    site.routes["/f"] = route
    record = importing.run(site.url("/f"))
    assert record["state"] == "done"
    assert record["attempts"] == 4
    site.routes["/never"] = lambda h: h.answer(503)
    before = len(site.requests)
    failed = importing.run(site.url("/never"))
    assert failed["state"] == "failed"
    assert failed["hint"] == f"Try again later: fastio import retry {failed['id']}"
    assert len(site.requests) - before == 5
    site.routes["/gone"] = lambda h: h.answer(404)
    before = len(site.requests)
    importing.run(site.url("/gone"))
    assert len(site.requests) - before == 1


def test_retry_after_is_heeded(importing: Importing, site: Site) -> None:
    site.routes["/f"] = lambda h: h.answer(503, Retry_After="500")
    id = importing.queue(site.url("/f"))[0]
    runner = importing.runner()
    while importing.show(id)["attempts"] == 0 or importing.show(id)["state"] == "running":
        runner.step()
    runner.step()
    assert len(site.requests) == 1
    assert importing.show(id)["state"] == "queued"
    assert "503" in importing.show(id)["reason"]
    site.file("/f", b"x")
    importing.clock = lambda: time.time() + 501
    while importing.show(id)["state"] != "done":
        runner.step()
    runner.close()


def test_wrong_lengths(importing: Importing, site: Site) -> None:
    once(importing)

    def short(h: Handler) -> None:
        h.begin(200, Content_Length="1000")
        h.wfile.write(b"x" * 999)
        h.cut()

    site.routes["/short"] = short
    code, reason = failure(importing, site.url("/short"))
    assert code == "unavailable"
    assert "failed" in reason or "ended" in reason

    def chunked(h: Handler) -> None:
        h.begin(200, Transfer_Encoding="chunked")
        h.wfile.write(b"5\r\nhello\r\n")
        h.cut()

    site.routes["/chunked"] = chunked
    assert failure(importing, site.url("/chunked"))[0] == "unavailable"
    site.routes["/nonsense"] = lambda h: (h.wfile.write(b"\x00\x01 what\r\n\r\n"), h.cut())[1]
    assert failure(importing, site.url("/nonsense"))[0] == "unavailable"


def test_endless_bodies_end_at_the_limit(importing: Importing, site: Site) -> None:
    def endless(h: Handler) -> None:
        h.begin(200, Connection="close")
        while True:
            h.wfile.write(b"x" * 65536)

    site.routes["/f"] = endless
    code, reason = failure(importing, site.url("/f"), size_bytes_max=2_000_000)
    assert code == "too_large"
    assert "2,000,000" in reason
    assert importing.leftovers() == []
    site.file("/stated", BODY)
    code, reason = failure(importing, site.url("/stated"), size_bytes_max=999_999)
    assert code == "too_large"
    assert "1,000,000 bytes" in reason


def test_slow_and_silent_bodies(importing: Importing, site: Site) -> None:
    importing.settings(import_attempts_max="1", import_stall_s="1")
    gone = threading.Event()

    def drip(h: Handler) -> None:
        h.begin(200, Content_Length="1000000")
        try:
            while not gone.wait(0.05):
                h.wfile.write(b"x")
        except OSError:
            pass

    def silent(h: Handler) -> None:
        h.begin(200, Content_Length="1000")
        h.wfile.write(b"x")
        gone.wait(30)

    site.routes["/drip"] = drip
    site.routes["/silent"] = silent
    code, reason = failure(importing, site.url("/drip"))
    assert code == "timeout"
    assert "bytes a second" in reason
    assert failure(importing, site.url("/silent"))[0] == "timeout"
    gone.set()


def test_redirect_loops_and_refused_addresses(importing: Importing, site: Site) -> None:
    site.redirect("/loop", "/loop")
    assert failure(importing, site.url("/loop"))[0] == "blocked_url"
    site.redirect("/meta", "http://169.254.169.254/latest/meta-data/")
    code, reason = failure(importing, site.url("/meta"))
    assert code == "blocked_url"
    assert "169.254.169.254" in reason
    assert failure(importing, "http://127.0.0.2/")[0] == "blocked_url"
    assert failure(importing, "file:///etc/passwd")[0] == "blocked_url"
    assert failure(importing, "not a url")[0] == "invalid"


def test_tls_errors_are_said_and_not_repeated(importing: Importing, authority: trustme.CA) -> None:
    site = secure_site(authority, "127.0.0.1")
    site.file("/f", b"x")
    record = importing.run(site.url("/f"))
    assert record["state"] == "failed"
    assert record["attempts"] == 1
    assert "not secure" in record["reason"]
    site.close()


def test_validators_that_cannot_be_sent_back(importing: Importing, site: Site) -> None:
    cuts = iter([300_000, None])

    def route(h: Handler) -> None:
        cut = next(cuts)
        h.begin(200, Content_Length=str(len(BODY)), ETag='"\xe4"', Last_Modified="\x01")
        h.wfile.write(BODY[:cut])
        h.cut()

    site.routes["/f.bin"] = route
    assert importing.run(site.url("/f.bin"))["state"] == "done"
    assert importing.bytes("f.bin") == BODY


def test_login_pages_are_no_files(importing: Importing, site: Site) -> None:
    login = b"<html><form action=/in><input name=u><input type='password' name=p></form></html>"
    html = {"Content-Type": "text/html; charset=utf-8"}
    site.routes["/sso/login"] = lambda h: h.answer(200, login, **html)
    site.redirect("/report.pdf", "/sso/login?next=/report.pdf")
    code, reason = failure(importing, site.url("/report.pdf"))
    assert code == "forbidden"
    assert "login page" in reason
    site.routes["/data.csv"] = lambda h: h.answer(200, b"<html>Sorry</html>", **html)
    assert "web page" in failure(importing, site.url("/data.csv"))[1]
    site.routes["/wiki"] = lambda h: h.answer(200, b"<html>An article</html>", **html)
    assert importing.run(site.url("/wiki"))["state"] == "done"


def test_the_rest_of_the_batch_goes_on(importing: Importing, site: Site) -> None:
    once(importing)
    site.file("/a", b"a")
    site.file("/z", b"z")
    site.routes["/bad"] = lambda h: h.answer(500)
    urls = [site.url(p) for p in ("/a", "/none", "/bad", "/z")]
    records = importing.run(*urls[:2], "http://10.0.0.1/", *urls[2:])
    assert [r["state"] for r in records] == ["done", "failed", "failed", "failed", "done"]
    assert importing.paths() == ["a", "z"]


def test_cancelled_before_and_during(importing: Importing, site: Site) -> None:
    begun, gone = threading.Event(), threading.Event()

    def route(h: Handler) -> None:
        h.begin(200, Content_Length="100000000", ETag='"1"')
        h.wfile.write(b"x" * 200_000)
        begun.set()
        try:
            while not gone.wait(0.01):
                h.wfile.write(b"x" * 10_000)
        except OSError:
            gone.set()

    site.routes["/f"] = route
    queued, running = importing.queue(site.url("/f"), site.url("/f"))
    assert importing.call("import.cancel", id=queued)["state"] == "cancelled"
    runner = importing.runner()
    runner.step()
    assert begun.wait(30)
    assert importing.call("import.cancel", id=running)["state"] == "cancelled"
    deadline = time.monotonic() + 30
    while runner.running or importing.leftovers():
        assert time.monotonic() < deadline
        runner.step()
    gone.set()
    runner.close()
    assert importing.paths() == []
    assert importing.show(queued)["attempts"] == 0
    with pytest.raises(FastioError, match="ended already"):
        importing.call("import.cancel", id=running)
    site.file("/f", b"now")
    importing.call("import.retry", id=running)
    assert importing.work(running)[0]["state"] == "done"


def test_retry_goes_on_where_a_failed_import_stopped(importing: Importing, site: Site) -> None:
    once(importing)
    file = site.file("/f.bin", BODY)
    file.cut_every = 400_000
    id = importing.queue(site.url("/f.bin"))[0]
    assert importing.work(id)[0]["state"] == "failed"
    assert importing.show(id)["received_bytes"] == 400_000
    file.cut_every = None
    importing.call("import.retry", id=id)
    assert importing.work(id)[0]["state"] == "done"
    assert site.headers("range") == [None, "bytes=400000-"]
    assert importing.bytes("f.bin") == BODY


def test_a_killed_runner_leaves_nothing_half_and_another_goes_on(
    importing: Importing, site: Site
) -> None:
    """SIGKILL in mid-transfer; then a later runner asks for the rest only."""
    release = threading.Event()
    file = site.file("/f.bin", BODY)

    def slowly(h: Handler) -> None:
        h.begin(200, Content_Length=str(len(BODY)), ETag=file.etag)
        try:
            for start in range(0, 900_000, 1000):
                h.wfile.write(BODY[start : start + 1000])
                if release.wait(0.004):
                    return
        except OSError:
            pass

    site.routes["/f.bin"] = slowly
    environ = {
        **os.environ,
        "FASTIO_STORE": str(importing.folder),
        "FASTIO_EGRESS_ALLOW": "127.0.0.1",
        "XDG_CONFIG_HOME": str(importing.folder / "config"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "fastio_cli", "import", site.url("/f.bin")],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    rows = []
    while not (rows and rows[0]["received_bytes"] and rows[0]["source_etag"]):
        assert time.monotonic() < deadline
        assert process.poll() is None
        rows = importing.call("import.list")["items"]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    release.set()
    assert importing.paths() == []
    safe = importing.show(rows[0]["id"])["received_bytes"]
    assert 0 < safe < len(BODY)
    site.routes["/f.bin"] = file
    runner = importing.runner()
    runner.step()
    assert importing.show(rows[0]["id"])["state"] == "running"  # the dead one's lease still holds
    runner.close()
    importing.clock = lambda: time.time() + 60
    assert importing.work(rows[0]["id"])[0]["state"] == "done"
    assert site.headers("range")[-1] == f"bytes={safe}-"
    assert importing.bytes("f.bin") == BODY
    assert importing.leftovers() == []


def test_a_runner_for_one_actor_leaves_the_others_alone(importing: Importing, site: Site) -> None:
    site.file("/f", b"x")
    params = {"urls": [site.url("/f")]}
    theirs = importing.engine.call("import.create", params, actor="bob")["items"][0]["id"]
    runner = importing.runner("ada")
    mine = importing.queue(site.url("/f"), to="mine")[0]
    deadline = time.monotonic() + 30
    while importing.show(mine)["state"] != "done":
        assert time.monotonic() < deadline
        runner.step()
    runner.step()
    runner.close()
    assert importing.show(theirs)["state"] == "queued"
    assert importing.work(theirs)[0]["state"] == "done"


def test_a_runner_that_lost_its_lease_writes_nothing(importing: Importing, site: Site) -> None:
    hold = threading.Event()
    file = site.file("/f", b"late")
    file.before_body = lambda h: hold.wait(30) and None
    id = importing.queue(site.url("/f"))[0]
    slow = importing.runner()
    slow.step()
    importing.clock = lambda: time.time() + 60  # its lease has run out
    file.before_body = lambda h: None
    assert importing.work(id)[0]["state"] == "done"
    hold.set()
    deadline = time.monotonic() + 30
    while slow.running:
        assert time.monotonic() < deadline
        slow.step()
    slow.close()
    assert len(importing.call("object.history", path="f")["items"]) == 1


def test_quota(importing: Importing, site: Site) -> None:
    importing.engine.limits.storage_bytes_max = 100_000
    site.file("/f", BODY)
    assert failure(importing, site.url("/f"))[0] == "quota_exceeded"


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, site: Site) -> None:
    """A limit on the size of files stands in for the disk's end: writes fail the same way."""
    site.file("/big.bin", BODY * 3)
    site.file("/small.txt", b"fits")
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))\n"
        "from fastio_cli.cli.main import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    environ = {
        **os.environ,
        "FASTIO_STORE": made_store(tmp_path / "s"),
        "FASTIO_EGRESS_ALLOW": "127.0.0.1",
        "XDG_CONFIG_HOME": str(tmp_path / "c"),
    }
    urls = [site.url("/big.bin"), site.url("/small.txt")]
    done = subprocess.run(
        [sys.executable, "-c", script, "import", *urls],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 9, done
    assert "could not be stored" in done.stdout
    importing = Importing(tmp_path / "s")
    assert importing.paths() == ["small.txt"]
    assert importing.leftovers() == []
    importing.engine.store.close()


@pytest.mark.parametrize(
    "params",
    [
        {"urls": ["http://a/", "http://b/"], "to": "one.txt"},
        {"urls": ["http://a/", "http://b/"], "name": "x"},
        {"urls": ["http://a/"], "to": "one.txt", "name": "x"},
        {"urls": ["http://a/"], "to": "../x"},
        {"urls": ["http://a/"], "to": "/x/"},
        {"urls": ["http://a/"], "name": "a/b"},
        {"urls": ["http://a/"], "sha256": "z" * 64},
        {"urls": []},
        {"urls": ["http://a/"], "on_conflict": "maybe"},
    ],
)
def test_wrong_parameters(importing: Importing, params: dict[str, object]) -> None:
    with pytest.raises(FastioError) as caught:
        importing.call("import.create", **params)
    assert caught.value.code == "invalid"
    assert importing.call("import.list")["items"] == []
