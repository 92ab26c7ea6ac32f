"""Running imports for a command: queue them, run them, and show their progress."""

from __future__ import annotations

import sys
import time
from contextlib import closing

from fastio_cli.cli.framework.options import given
from fastio_cli.cli.framework.session import lock_token
from fastio_cli.cli.framework.text import dumps
from fastio_cli.cli.logins import accounts
from fastio_cli.errors import FastioError
from fastio_cli.jobs.imports import ImportJob, Imports
from fastio_cli.jobs.runner import JobRunner
from fastio_cli.operations.imports import OVER, REQUEST_BYTES_MAX
from fastio_cli.operations.records import import_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any, Self

    from rich.progress import TaskID

    from fastio_cli import model
    from fastio_cli.cli.framework.session import Session
    from fastio_cli.storage.db import Row

    Steps = Generator[tuple[list[model.Import], list["ImportProgress"]], None, None]

URLS_PER_CALL = 1000
POLL_S = 1.0
COLUMNS = "id,state,path,version,received_bytes,reason"


def create(cli: Session, params: dict[str, Any]) -> PendingImports:
    """Queue the URLs of a command line."""
    urls = list(params.pop("urls"))
    listed = params.pop("from_file")
    if listed is not None:
        urls += [u for u in _lines(listed) if not u.startswith("#")]
    if not urls:
        raise FastioError("invalid", "There is no URL.", "fastio import https://host/file.pdf")
    header_file = params.pop("header_file")
    key = params.pop("idempotency_key")
    if params["lock_token"] is None:
        params["lock_token"] = lock_token()
    wanted = given(
        headers=_headers(header_file) if header_file is not None else None,
        size_bytes_max=params.pop("max_size"),
        **params,
    )
    items: list[model.Import] = []
    workspace = ""
    start = 0
    for some_urls in _batches(urls, wanted.get("headers") or {}):
        some = {**wanted, "urls": some_urls}
        call = cli.prepare("import.create", some, f"{key}:{start}" if key and start else key)
        start += len(some_urls)
        try:
            items += cli.engine.run(call)["items"]
        except FastioError as e:
            if items:
                e.message += f" The first {len(items):,} imports are queued all the same."
            raise
        workspace = call.workspace
    return PendingImports(cli, workspace, items)


def retry(cli: Session, id: int, header_file: str | None, params: dict[str, Any]) -> PendingImports:
    """Queue an import again."""
    headers = _headers(header_file) if header_file is not None else None
    record = cli.call("import.retry", id=id, **given(headers=headers, **params))
    return PendingImports(cli, cli.workspace, [record])


class PendingImports:
    """Imports of one workspace that a command waits for."""

    def __init__(self, cli: Session, workspace: str, items: list[model.Import]) -> None:
        self.workspace = workspace
        self.actor: str = items[0]["actor"]
        self.records = {item["id"]: item for item in items}
        self.waiting = {id for id, item in self.records.items() if item["state"] not in OVER}
        self._at_server = cli.is_remote

    def note(self, record: model.Import) -> bool:
        """Update one import's record; True if it has ended now."""
        if record["id"] not in self.waiting:
            return False
        self.records[record["id"]] = record
        if record["state"] in OVER:
            self.waiting.discard(record["id"])
        return record["state"] in OVER

    def unfinished(self, code: str) -> FastioError:
        left = f"{len(self.waiting)} of {len(self.records)} imports have not ended"
        id = min(self.waiting, default=0)
        if self._at_server:
            return FastioError(
                code,
                f"{left}; the server continues with them.",
                f"Wait for one: fastio import show {id} --wait 60",
            )
        return FastioError(
            code, f"{left}; they stay queued.", f"Continue them: fastio import retry {id}"
        )


class ImportProgress:
    """The progress of one transfer."""

    def __init__(self, id: int, url: str, received: int, total: int | None) -> None:
        self.id = id
        self.url = url
        self.received = received
        self.total = total


def follow(cli: Session, queued: PendingImports, wait: bool, timeout_s: float | None) -> None:
    """Follow these imports to their end, and print them.

    A server runs its imports itself: they are waited for only with ``wait`` or a ``timeout_s``.
    Raises the failure of the first that failed, ``timeout`` when the time is up.
    """
    streamed = cli.out.format == "jsonl" and not cli.out.quiet
    if cli.is_remote and not wait and timeout_s is None:
        _print(cli, list(queued.records.values()), essential="id")
        return
    deadline = time.monotonic() + timeout_s if timeout_s is not None else None
    steps = _watch(cli, queued) if cli.is_remote else _work(cli, queued)
    try:
        with _view(cli) as view, closing(steps):
            for records, running in steps:
                for record in records:
                    if queued.note(record) and streamed:
                        cli.out.row(record)
                view.show(running)
                if deadline is not None and queued.waiting and time.monotonic() >= deadline:
                    raise queued.unfinished("timeout")
    except KeyboardInterrupt:
        raise queued.unfinished("interrupted") from None
    records = list(queued.records.values())
    if not streamed:
        _print(cli, records, essential="path")
    _raise_failed(records)


def _work(cli: Session, queued: PendingImports) -> Steps:
    """Run their jobs here in steps; yields what changed, and the progress of the running ones."""
    engine, token = cli.local_engine(), accounts(cli).token
    workspace = engine.store.read(lambda tx: tx.workspaces.by_name(queued.workspace))
    id = workspace["id"] if workspace is not None else 0
    imports = Imports(engine, cli.config, lambda row: token, is_owner=True)
    runner = JobRunner(engine, [imports], queued.actor)
    poll_at = time.monotonic() + POLL_S
    try:
        while queued.waiting:
            rows: list[Row | None] = []
            # Other processes may run or cancel them, too.
            if runner.step() or time.monotonic() >= poll_at:
                poll_at = time.monotonic() + POLL_S
                rows = engine.store.read(
                    lambda tx: [tx.imports.get(id, n) for n in sorted(queued.waiting)]
                )
            jobs = [job for job in runner.running.values() if isinstance(job, ImportJob)]
            yield (
                [import_record(row) for row in rows if row is not None],
                [
                    ImportProgress(j.import_id, j.row["url"], j.transfer.received, j.transfer.total)
                    for j in jobs
                ],
            )
    finally:
        runner.close()


def _watch(cli: Session, queued: PendingImports) -> Steps:
    """Poll the server that runs them; yields as ``_work`` does."""
    while queued.waiting:
        first = min(queued.waiting)
        one = cli.call("import.show", workspace=queued.workspace, id=first, wait_s=POLL_S)
        records = [one, *_others(cli, queued, first)]
        yield (
            records,
            [
                ImportProgress(r["id"], r["url"], r["received_bytes"], r["total_bytes"])
                for r in records
                if r["state"] == "running"
            ],
        )


def _others(cli: Session, queued: PendingImports, first: int) -> Iterator[model.Import]:
    """The current records of those waited for, besides the first."""
    last = max(queued.waiting)
    cursor = str(last + 1)
    while last > first and cursor is not None:
        page = cli.call(
            "import.list", workspace=queued.workspace, cursor=cursor, limit=URLS_PER_CALL
        )
        cursor = page["next_cursor"]
        for record in page["items"]:
            last = record["id"]
            if last in queued.waiting and last > first:
                yield record


def _print(cli: Session, records: list[model.Import], essential: str) -> None:
    if len(records) == 1:
        cli.out.record(records[0], essential=essential)
    else:
        page = {"items": records, "next_cursor": None}
        cli.out.page(page, columns=COLUMNS, essential=essential)


def _raise_failed(records: list[model.Import]) -> None:
    failed = [r for r in records if r["state"] in ("failed", "cancelled")]
    if not failed:
        return
    first = failed[0]
    code, reason = first["reason_code"], first["reason"] or ""
    if first["state"] == "cancelled":
        code, reason = "interrupted", "It was cancelled."
    of_many = f"{len(failed)} of {len(records)} imports did not succeed. " if records[1:] else ""
    raise FastioError(
        code or "interrupted",
        of_many + reason,
        first["hint"] or f"Try it again: fastio import retry {first['id']}",
        import_id=first["id"],
        failed=[r["id"] for r in failed],
    )


def _lines(file: str) -> list[str]:
    from fastio_cli.cli.framework.values import source

    text = source("-" if file == "-" else f"@{file}", "--from-file")
    assert isinstance(text, bytes)
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError:
        raise FastioError("invalid", f"{file} is not UTF-8 text.") from None
    return [line.strip() for line in lines if line.strip()]


def _batches(urls: list[str], headers: dict[str, str]) -> Iterator[list[str]]:
    """URLs as one call takes them: not too many, and not too long with their headers."""
    each = sum(len(name) + len(text) for name, text in headers.items())
    batch: list[str] = []
    size = 0
    for url in urls:
        cost = len(url) + each
        if batch and (len(batch) == URLS_PER_CALL or size + cost > REQUEST_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(url)
        size += cost
    yield batch


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


def _view(cli: Session) -> QuietProgressView:
    if cli.out.quiet:
        return QuietProgressView()
    return BarProgressView() if sys.stderr.isatty() else JsonProgressView()


class QuietProgressView:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, transfers: list[ImportProgress]) -> None:
        pass


class JsonProgressView(QuietProgressView):
    """A JSON line per running transfer, once a second."""

    def __init__(self) -> None:
        self._at = time.monotonic() + 1

    def show(self, transfers: list[ImportProgress]) -> None:
        if time.monotonic() < self._at:
            return
        self._at = time.monotonic() + 1
        for one in transfers:
            line = {
                "import": one.id,
                "received_bytes": one.received,
                "total_bytes": one.total,
            }
            print(dumps(line), file=sys.stderr, flush=True)


class BarProgressView(QuietProgressView):
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
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, transfers: list[ImportProgress]) -> None:
        from fastio_cli.cli.framework.text import visible

        running = {one.id: one for one in transfers if one.received}
        for id in set(self._tasks) - set(running):
            self._progress.remove_task(self._tasks.pop(id))
        for id, one in running.items():
            if id not in self._tasks:
                label = visible(one.url.partition("?")[0].rstrip("/").rpartition("/")[2])
                self._tasks[id] = self._progress.add_task(f"{id} {label[:40]}")
            self._progress.update(self._tasks[id], completed=one.received, total=one.total)
