"""Going on with a transfer that was cut: never with the bytes of another state of the file."""

from __future__ import annotations

import random

import pytest

from .importing import Importing
from .site import Handler, Site

OLD = random.Random(1).randbytes(1_000_000)
NEW = random.Random(2).randbytes(1_000_000)
CUT = 400_000
DATE = "Sat, 10 Jan 2026 00:00:00 GMT"
EARLIER = "Thu, 01 Jan 2026 00:00:00 GMT"
LATER = "Fri, 02 Jan 2026 00:00:00 GMT"


class Careless:
    """A server that cuts ``old`` and gives the rest of ``new``, whatever ``If-Range`` says."""

    def __init__(self, new: bytes, old: dict[str, str], rest: dict[str, str]) -> None:
        self.new, self.old, self.rest = new, old, rest
        self.asked: list[str | None] = []

    def __call__(self, h: Handler) -> None:
        wanted = h.headers.get("range")
        self.asked.append(wanted)
        if len(self.asked) == 1:
            h.begin(200, **{"Content-Length": str(len(OLD)), **self.old})
            h.wfile.write(OLD[:CUT])
            h.cut()
            return
        start = int(wanted[6:-1]) if wanted else 0
        stated = {"Content-Range": f"bytes {start}-{len(self.new) - 1}/{len(self.new)}"}
        h.answer(
            206 if wanted else 200, self.new[start:], **(stated if wanted else {}), **self.rest
        )


CHANGES: dict[str, tuple[bytes, dict[str, str], dict[str, str]]] = {
    "etag": (NEW, {"ETag": '"v1"'}, {"ETag": '"v2"'}),
    "weak etag": (NEW, {"ETag": '"v1"'}, {"ETag": 'W/"v1"'}),
    "no etag": (NEW, {"ETag": '"v1"'}, {}),
    "etag and total": (NEW[:900_000], {"ETag": '"v1"'}, {"ETag": '"v2"'}),
    "total": (NEW[:900_000], {"ETag": '"v1"'}, {"ETag": '"v1"'}),
    "time": (
        NEW,
        {"Last-Modified": EARLIER, "Date": DATE},
        {"Last-Modified": LATER, "Date": DATE},
    ),
    "time only": (NEW, {"ETag": '"v1"', "Last-Modified": EARLIER}, {"Last-Modified": EARLIER}),
    "coding": (NEW, {"ETag": '"v1"'}, {"ETag": '"v1"', "Content-Encoding": "br"}),
}


@pytest.mark.parametrize("by_hand", [False, True], ids=["attempts", "retry"])
@pytest.mark.parametrize("change", [c for c in CHANGES if c != "coding"])
def test_another_state_is_never_put_behind_the_first(
    importing: Importing, site: Site, change: str, by_hand: bool
) -> None:
    """Between the attempts of one run, and between runs, which share only what is stored."""
    server = site.routes["/f.bin"] = Careless(*CHANGES[change])
    if by_hand:
        importing.settings(import_attempts_max="1")
    (id,) = importing.queue(site.url("/f.bin"))
    while importing.work(id)[0]["state"] != "done":
        assert by_hand
        importing.call("import.retry", id=id)
    assert importing.bytes("f.bin") == server.new
    assert server.asked == [None, f"bytes={CUT}-", None]
    assert importing.leftovers() == []


def test_a_rest_in_another_coding_is_not_taken(importing: Importing, site: Site) -> None:
    server = site.routes["/f.bin"] = Careless(*CHANGES["coding"])
    importing.settings(import_attempts_max="2")
    (id,) = importing.queue(site.url("/f.bin"))
    assert importing.work(id)[0]["state"] == "failed"
    server.rest = {}
    importing.call("import.retry", id=id)
    importing.work(id)
    assert importing.bytes("f.bin") == NEW
    assert server.asked == [None, f"bytes={CUT}-", None]


@pytest.mark.parametrize(
    "headers",
    [{"ETag": '"v1"'}, {"Last-Modified": EARLIER, "Date": DATE}, {"Last-Modified": EARLIER}],
    ids=["etag", "time", "time, by our clock"],
)
def test_the_same_state_is_gone_on_with(
    importing: Importing, site: Site, headers: dict[str, str]
) -> None:
    server = site.routes["/f.bin"] = Careless(OLD, headers, headers)
    assert importing.run(site.url("/f.bin"))["state"] == "done"
    assert importing.bytes("f.bin") == OLD
    assert server.asked == [None, f"bytes={CUT}-"]
    assert site.headers("if-range")[1] == next(iter(headers.values()))


@pytest.mark.parametrize("modified", [DATE, LATER.replace("2026", "2096"), "yesterday"])
def test_a_time_that_may_name_two_states_is_no_validator(
    importing: Importing, site: Site, modified: str
) -> None:
    """It was modified in the second of the answer, after it, or at no time at all."""
    headers = {"Last-Modified": modified, "Date": DATE}
    server = site.routes["/f.bin"] = Careless(OLD, headers, headers)
    assert importing.run(site.url("/f.bin"))["state"] == "done"
    assert server.asked == [None, None]


def test_a_range_that_cannot_be_served_begins_anew(importing: Importing, site: Site) -> None:
    """Also where the size is the same: a shorter file may have taken the place of the first."""
    server = Careless(NEW[:CUT], {"ETag": '"v1"'}, {})

    def route(h: Handler) -> None:
        if h.headers.get("range"):
            server.asked.append(h.headers["range"])
            h.answer(416, Content_Range=f"bytes */{CUT}")
        else:
            server(h)

    site.routes["/f.bin"] = route
    assert importing.run(site.url("/f.bin"))["state"] == "done"
    assert importing.bytes("f.bin") == NEW[:CUT]


def test_parts_of_three_states_end_as_the_last(importing: Importing, site: Site) -> None:
    """Each answer is of another state, and only the last one is whole."""
    bodies = [random.Random(n).randbytes(1_000_000) for n in range(5)]
    count = iter(range(5))

    def route(h: Handler) -> None:
        number = next(count)
        start = int((h.headers.get("range") or "bytes=0-")[6:-1])
        stated = {"Content-Range": f"bytes {start}-999999/1000000"} if start else {}
        length = str(1_000_000 - start)
        h.begin(206 if start else 200, ETag=f'"{number}"', Content_Length=length, **stated)
        h.wfile.write(bodies[number][start:] if number == 4 else bodies[number][start:][:300_000])
        h.cut()

    site.routes["/f.bin"] = route
    importing.settings(import_attempts_max="9")
    assert importing.run(site.url("/f.bin"))["state"] == "done"
    assert importing.bytes("f.bin") == bodies[4]


def test_staged_bytes_belong_to_their_state(importing: Importing) -> None:
    """A crash after the bytes of a new state, before that state is on record."""
    blobs = importing.engine.blobs
    first = blobs.staged("1-1")
    first.restart("aa")
    first.append(OLD)
    assert first.sync() == len(OLD)
    first.close()
    second = blobs.staged("1-1", len(OLD), "aa")
    assert second.size_bytes == len(OLD)
    second.restart("bb")
    second.append(NEW)
    second.sync()
    second.close()
    assert blobs.staged("1-1", len(OLD), "aa").size_bytes == 0
    assert importing.leftovers() == ["1-1-bb"]
    runner = importing.runner()
    runner.step()  # at its start it sweeps what nobody goes on with
    runner.close()
    assert importing.leftovers() == []
