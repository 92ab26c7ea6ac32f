"""fastio store"""

from __future__ import annotations

from contextlib import contextmanager

from fastio_cli.cli.framework.command import Arg, Flag, Opt, command
from fastio_cli.cli.framework.exit import Exit
from fastio_cli.cli.maintenance import REVOKE_TOKENS, begin_numbers
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastio_cli.cli.framework.session import Session
    from fastio_cli.engine.client import Client
    from fastio_cli.storage.absent import IfAbsent
    from fastio_cli.storage.copy import Endpoint


WORKSPACES = Opt(
    "--workspace",
    "-w",
    help="Only this workspace; may be repeated",
    metavar="NAME",
    name="workspaces",
    many=True,
    complete="workspace",
)


@command(
    "store copy",
    Arg("source", "The store to copy: a folder, database (postgresql://…) or server's URL"),
    Arg("target", "Where to: a folder, database or server, empty unless --workspace is given"),
    WORKSPACES,
    Opt("--as", help="What the copy of the workspace is called", metavar="NAME", name="new_name"),
    Opt("--source-blobs", help="Where a source database keeps large files", metavar="PLACE"),
    Opt("--target-blobs", help="Where a target database keeps large files", metavar="PLACE"),
    Flag("--progress", help="Show how far it is"),
    help="Copy a whole store into an empty one, or workspaces into any, and compare them.",
)
def copy(
    cli: Session,
    source: str,
    target: str,
    workspaces: list[str],
    new_name: str | None,
    source_blobs: str | None,
    target_blobs: str | None,
    progress: bool,
) -> None:
    """Workspaces, objects with their history, files, the log, orgs, members, tokens and imports are
    copied as they are, and compared at the end; locks are not, and the search index is made anew.
    With --workspace only those, with their imports, also into a store that holds others. Run it
    again after an interruption, and it resumes where it stopped. Stop the writers of the source
    before: what the copy gives out itself, versions, events and fences, begins far above.
    From or to a server every kept version of the objects is written again, in the name of whoever
    copies: their contents are the same, not the log, authors, times and numbers.

    Examples:
    fastio store copy .fastio postgresql://fastio@db.internal/fastio --progress
    fastio store copy .fastio ~/team --workspace default --as research
    """
    from fastio_cli.opening import is_server
    from fastio_cli.storage.copy import copy_store

    names = _names(cli, workspaces, new_name)
    if is_server(source) or is_server(target):
        _transfer(cli, source, target, names)
        return

    with (
        _place(cli, source, source_blobs, "refuse") as old,
        _place(cli, target, target_blobs, "make") as new,
        _ProgressBar(progress) as show,
    ):
        compared = copy_store(old, new, show, names)
    if compared["live_locks"]:
        cli.out.note(f"{compared['live_locks']} locks are held in the source; the copy has none.")
    cli.out.record(compared, essential="events")


def _transfer(cli: Session, source: str, target: str, names: dict[str, str] | None) -> None:
    """Copy workspaces through operations, as a server allows."""
    from contextlib import closing

    from fastio_cli.engine.transfer import NOT_COPIED, Transfer

    if names is None:
        raise FastioError(
            "invalid",
            "Of a server, or to one, single workspaces are copied.",
            "Name them: --workspace NAME",
        )
    note = cli.out.note if cli.out.terminal else lambda path: None
    total: dict[str, int] = {"workspaces": 0}
    with closing(_client(cli, source)) as one, closing(_client(cli, target)) as other:
        for name, new_name in names.items():
            for what, count in Transfer(one, other).copy(name, new_name, note).items():
                total[what] = total.get(what, 0) + count
            total["workspaces"] += 1
    if total["live_locks"]:
        cli.out.note(f"{total['live_locks']} locks are held in the source; the copy has none.")
    cli.out.record({**total, "not_copied": NOT_COPIED}, essential="versions")


def _names(cli: Session, workspaces: list[str], new_name: str | None) -> dict[str, str] | None:
    """The workspaces to copy and what their copies are called; None for the whole store."""
    from fastio_cli.operations.types import NAME_RULE

    before = cli.flags.get("workspace")
    chosen = workspaces or ([before] if before else [])
    if new_name is not None:
        NAME_RULE.check(new_name, "--as")
        if len(chosen) != 1:
            raise FastioError(
                "invalid",
                "--as names the copy of one workspace.",
                "Name that with --workspace, and copy others by commands of their own.",
            )
        return {chosen[0]: new_name}
    return {name: name for name in chosen} or None


@command(
    "store compare",
    Arg("first", "A store: a folder, postgresql://USER@HOST/DATABASE or the URL of a server"),
    Arg("second", "The store to compare with it"),
    WORKSPACES,
    Opt("--as", help="What the second store calls the workspace", metavar="NAME", name="new_name"),
    op=("audit.verify", "object.list", "object.history", "file.get", "event.list"),
    help="Compare the workspaces of two stores: logs, objects, every kept version's bytes.",
)
def compare(
    cli: Session, first: str, second: str, workspaces: list[str], new_name: str | None
) -> None:
    """Exits with 0 if they are the same, with 1 if not, and lists what differs. The hash chains are
    recomputed, and the bytes of every kept version are read and hashed, on both sides. Without
    --workspace all workspaces that one may read are compared. What is no content is not: locks,
    members, tokens, imports.

    Examples:
    fastio store compare .fastio postgresql://fastio@db.internal/fastio
    fastio store compare .fastio https://fastio.example.org -w default --as research
    """
    from contextlib import closing

    from fastio_cli.engine.compare import Comparison

    names = _names(cli, workspaces, new_name)
    with closing(_client(cli, first)) as one, closing(_client(cli, second)) as other:
        note = cli.out.note if cli.out.terminal else lambda name: None
        result = Comparison(one, other).run(names, note)
    cli.out.record(result, essential="same")
    if not result["same"]:
        raise Exit(1)


def _client(cli: Session, name: str) -> Client:
    from fastio_cli.config.sources import refuse_address
    from fastio_cli.opening import open_client

    refuse_address(name, "the arguments")
    return open_client(cli.config_for(name), note=cli.out.note)


@command(
    "store restored",
    REVOKE_TOKENS,
    help="Tell fastio that the store was put back to an earlier state by other means.",
)
def restored(cli: Session, revoke_tokens: bool) -> None:
    """Run it once after a database was restored by its own means (pg_restore, a snapshot, recovery
    to a point in time), or a folder was put back, before anybody uses it: versions, events, fences
    and tokens of locks that were given out since are then of no use.

    Example:
    fastio store restored --store postgresql://fastio@db.internal/fastio
    """
    from fastio_cli.storage.incarnation import begin

    engine = cli.local_engine()
    begun = engine.store.write(lambda tx: begin(tx, None, revoke_tokens=revoke_tokens))
    begin_numbers(cli, begun)
    cli.out.record(begun, essential="floor")


@contextmanager
def _place(cli: Session, name: str, blobs: str | None, if_absent: IfAbsent) -> Iterator[Endpoint]:
    from fastio_cli.config.sources import refuse_address
    from fastio_cli.storage import open_blobs, open_store
    from fastio_cli.storage.copy import Endpoint

    refuse_address(name, "the arguments")
    config = cli.config_for(name)
    store = open_store(name, durability=config.text("durability"), if_absent=if_absent)
    try:
        yield Endpoint(store, open_blobs(name, blobs or config.blobs()))
    finally:
        store.close()


class _ProgressBar:
    """A progress bar on standard error, if requested."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def __enter__(self) -> Callable[[int, int], None]:
        if not self._wanted:
            return lambda done, total: None
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True))
        self._bar.start()
        task = self._bar.add_task("Copying events", total=None)
        return lambda done, total: self._bar.update(task, completed=done, total=total)

    def __exit__(self, *exception: object) -> None:
        if self._wanted:
            self._bar.stop()
