"""A reader of the log never misses an event or sees one twice, however slowly writers commit."""

from __future__ import annotations

import threading
from typing import Any

WRITERS = 4
WRITES = 12
DEADLINE_S = 60.0


def test_a_slow_committer_is_not_overtaken(pg_url, open_engine):
    """Every third write stays open until the reader has looked again, twice."""
    engine = open_engine(pg_url)
    looked = threading.Condition()
    looks = 0

    def stay_open() -> None:
        with looked:
            begun = looks
            assert looked.wait_for(lambda: looks >= begun + 2, DEADLINE_S)

    def write_some(number: int) -> None:
        for i in range(WRITES):
            params = {"path": f"{number}/{i}", "value": i}
            call = engine.prepare("state.set", params, "default", f"writer-{number}")

            def work(tx: Any, call: Any = call, slow: bool = i % 3 == 0) -> Any:
                done = engine._run(tx, call)
                if slow:
                    stay_open()
                return done

            engine.store.write(work)

    writers = [threading.Thread(target=write_some, args=(n,)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    seen: list[int] = []
    cursor = 0
    while any(w.is_alive() for w in writers) or len(seen) < WRITERS * WRITES:
        page = engine.call("event.list", {"after": cursor})
        seen += [event["seq"] for event in page["items"]]
        cursor = int(page["next_cursor"])
        with looked:
            looks += 1
            looked.notify_all()
    for writer in writers:
        writer.join(DEADLINE_S)
    assert seen == list(range(1, WRITERS * WRITES + 1))
    assert engine.call("audit.verify")["verified"]


def test_a_waiting_reader_hears_of_another_process(pg_url, open_engine):
    reader, writer = open_engine(pg_url), open_engine(pg_url)
    pages: list[Any] = []
    waiting = threading.Thread(
        target=lambda: pages.append(reader.call("event.list", {"wait_s": DEADLINE_S}))
    )
    waiting.start()
    writer.call("state.set", {"path": "a", "value": 1})
    waiting.join(DEADLINE_S)
    assert [e["seq"] for e in pages[0]["items"]] == [1]
