"""Running imports for a command: queue them, work them off, and show how far they are."""

from __future__ import annotations

import os
import sys
import time

from fastio_cli.cli.options import given
from fastio_cli.cli.session import lock_token_of
from fastio_cli.cli.text import dumps
from fastio_cli.errors import FastioError
from fastio_cli.operations.imports import OVER
from fastio_cli.operations.records import import_record
from fastio_cli.worker import ImportWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from fastio_cli.cli.session import Session
    from fastio_cli.store.contract import Row
    from fastio_cli.transfer.oauth import Accounts
    from fastio_cli.worker import Job

URLS_PER_CALL = 1000
LOOK_EVERY_S = 1.0
WATCH_S = 25.0  # one call's share of waiting for a server
COLUMNS = "id,state,path,version,received_bytes,reason"


def create(cli: Session, params: dict[str, Any]) -> Queued:
    """Queue the URLs of a command line."""
    urls = list(params.pop("urls"))
    listed = params.pop("from_file")
    if listed is not None:
        urls += [u for u in _lines(listed) if not u.startswith("#")]
    if not urls:
        raise FastioError("invalid", "There is no URL.", "fastio import https://host/file.pdf")
    header_file, to = params.pop("header_file"), params["to"]
    key = params.pop("idempotency_key")
    if params["lock_token"] is None and to and not to.endswith("/"):
        params["lock_token"] = lock_token_of(to)
    wanted = given(
        headers=_headers(header_file) if header_file is not None else None,
        size_bytes_max=params.pop("max_size"),
        **params,
    )
    items: list[Any] = []
    workspace = ""
    for start in range(0, len(urls), URLS_PER_CALL):
        some = {**wanted, "urls": urls[start : start + URLS_PER_CALL]}
        call = cli.prepare("import.create", some, f"{key}:{start}" if key and start else key)
        items += cli.engine.run(call)["items"]
        workspace = call.workspace
    return Queued(workspace, items)


class Queued:
    """Imports of one workspace that a command waits for."""

    def __init__(self, workspace: str, items: list[Any]) -> None:
        self.workspace = workspace
        self.actor: str = items[0]["actor"]
        self.records = {item["id"]: item for item in items}
        self.waiting = {id for id, item in self.records.items() if item["state"] not in OVER}

    def note(self, row: Row | None) -> bool:
        """Take over what became of one of them; True if it has ended now."""
        if row is None or row["id"] not in self.waiting:
            return False
        self.records[row["id"]] = import_record(row)
        if row["state"] in OVER:
            self.waiting.discard(row["id"])
        return row["state"] in OVER

    def unfinished(self, code: str) -> FastioError:
        return FastioError(
            code,
            f"{len(self.waiting)} of {len(self.records)} imports have not ended; they stay queued.",
            f"Go on with them: fastio import retry {min(self.waiting, default=0)}",
        )


def follow(cli: Session, queued: Queued, timeout_s: float | None) -> None:
    """Work until these imports have ended, and print them.

    Raises the failure of the first that failed, ``timeout`` when the time is up: they stay queued.
    """
    streamed = cli.out.format == "jsonl" and not cli.out.quiet
    if cli.is_remote:
        _watch(cli, queued, timeout_s)
        _report(cli, list(queued.records.values()), False)
        return
    worker = ImportWorker(cli.local_engine(), cli.config, accounts(cli).token, queued.actor)
    deadline = time.monotonic() + timeout_s if timeout_s is not None else None
    try:
        with _view(cli) as view:
            for row in _changes(cli, queued, worker):
                if queued.note(row) and streamed:
                    cli.out.row(queued.records[row["id"]])
                view.show(worker.running.values())
                if deadline is not None and queued.waiting and time.monotonic() >= deadline:
                    raise queued.unfinished("timeout")
    except KeyboardInterrupt:
        raise queued.unfinished("interrupted") from None
    finally:
        worker.close()
    _report(cli, list(queued.records.values()), streamed)


def _watch(cli: Session, queued: Queued, timeout_s: float | None) -> None:
    """Wait until the server has ended these imports."""
    deadline = time.monotonic() + timeout_s if timeout_s is not None else None
    while queued.waiting:
        left = WATCH_S if deadline is None else min(WATCH_S, deadline - time.monotonic())
        if left <= 0:
            raise queued.unfinished("timeout")
        id = min(queued.waiting)
        record = cli.call("import.show", workspace=queued.workspace, id=id, wait_s=left)
        queued.records[id] = record
        if record["state"] in OVER:
            queued.waiting.discard(id)


def _changes(cli: Session, queued: Queued, worker: ImportWorker) -> Iterator[Any]:
    """Work, and give what changes; None now and then when nothing does."""
    store = cli.local_engine().store
    workspace = store.read(lambda tx: tx.workspaces.by_name(queued.workspace))
    id = workspace["id"] if workspace is not None else 0
    look_at = time.monotonic() + LOOK_EVERY_S
    while queued.waiting:
        yield from (row for row in worker.step() if row["workspace_id"] == id)
        if time.monotonic() >= look_at:  # others may work on ours, or cancel them
            look_at = time.monotonic() + LOOK_EVERY_S
            yield from store.read(
                lambda tx: [tx.imports.get(id, n) for n in sorted(queued.waiting)]
            )
        yield None


def accounts(cli: Session) -> Accounts:
    """The logins of this user at file services."""
    from fastio_cli.config import user_folder
    from fastio_cli.transfer.guard import Egress, rules_of
    from fastio_cli.transfer.oauth import Accounts
    from fastio_cli.transfer.providers import Endpoints

    endpoints = Endpoints(cli.config.get("import_endpoints") or "")
    folder = user_folder("config", os.environ)
    return Accounts(folder, lambda: Egress(rules_of(cli.config)), endpoints, cli.config.get)


def log_in(cli: Session, service: str, device: bool) -> dict[str, Any]:
    """Log in at a service, through the browser or by a code on another device."""
    known = accounts(cli)
    if device:
        return known.log_in_by_device(service, cli.out.note)
    return known.log_in_by_browser(service, cli.out.note)


def _report(cli: Session, records: list[Any], streamed: bool) -> None:
    if len(records) == 1 and not streamed:
        cli.out.record(records[0], essential="path")
    elif not streamed:
        page = {"items": records, "next_cursor": None}
        cli.out.page(page, columns=COLUMNS, essential="path")
    failed = [r for r in records if r["state"] in ("failed", "cancelled")]
    if not failed:
        return
    first = failed[0]
    of_many = f"{len(failed)} of {len(records)} imports did not succeed. " if records[1:] else ""
    raise FastioError(
        first["reason_code"] if first["state"] == "failed" else "interrupted",
        of_many + (first["reason"] if first["state"] == "failed" else "It was cancelled."),
        first["hint"] or f"Try it again: fastio import retry {first['id']}",
        import_id=first["id"],
        failed=[r["id"] for r in failed],
    )


def _lines(file: str) -> list[str]:
    from fastio_cli.cli.values import source

    text = source("-" if file == "-" else f"@{file}", "--from-file")
    assert isinstance(text, bytes)
    try:
        lines = text.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise FastioError("invalid", f"{file} is not UTF-8 text.") from None
    return [line.strip() for line in lines if line.strip()]


def _headers(file: str) -> dict[str, str]:
    """HTTP headers from a file, ``Name: value`` a line."""
    headers = {}
    for line in _lines(file):
        name, colon, value = line.partition(":")
        usable = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if not colon or not usable or not value.isprintable():
            raise FastioError("invalid", f"{file}: a line is not of the form 'Name: value'.")
        headers[name] = value.strip()
    return headers


def _view(cli: Session) -> Any:
    if cli.out.quiet:
        return _Silence()
    return _Bars() if sys.stderr.isatty() else _Lines()


class _Silence:
    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, jobs: Iterable[Job]) -> None:
        pass


class _Lines(_Silence):
    """Once a second a JSON line for each transfer that goes on."""

    def __init__(self) -> None:
        self._at = time.monotonic() + 1

    def show(self, jobs: Iterable[Job]) -> None:
        if time.monotonic() < self._at:
            return
        self._at = time.monotonic() + 1
        for job in jobs:
            line = {
                "import": job.id,
                "received_bytes": job.transfer.received,
                "total_bytes": job.transfer.total,
            }
            print(dumps(line), file=sys.stderr, flush=True)


class _Bars(_Silence):
    """A bar for each transfer."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            console=Console(stderr=True, highlight=False, emoji=False),
            transient=True,
        )
        self._tasks: dict[int, Any] = {}

    def __enter__(self) -> Any:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, jobs: Iterable[Job]) -> None:
        from fastio_cli.cli.text import visible

        going = {job.id: job for job in jobs if job.transfer.received}
        for id in set(self._tasks) - set(going):
            self._progress.remove_task(self._tasks.pop(id))
        for id, job in going.items():
            if id not in self._tasks:
                label = visible(job.row["url"].partition("?")[0].rstrip("/").rpartition("/")[2])
                self._tasks[id] = self._progress.add_task(f"{id} {label[:40]}")
            self._progress.update(
                self._tasks[id], completed=job.transfer.received, total=job.transfer.total
            )
