"""fastio store"""

from __future__ import annotations

from contextlib import contextmanager

from fastio_cli.cli.framework.command import Arg, Flag, Opt, command
from fastio_cli.cli.maintenance import REVOKE_TOKENS, begin_numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastio_cli.cli.framework.session import Session
    from fastio_cli.storage.absent import IfAbsent
    from fastio_cli.storage.copy import Endpoint


@command(
    "store copy",
    Arg("source", "The store to copy: a folder, or postgresql://USER@HOST/DATABASE"),
    Arg("target", "Where to: an empty folder or database"),
    Opt("--source-blobs", help="Where a source database keeps large files", metavar="PLACE"),
    Opt("--target-blobs", help="Where a target database keeps large files", metavar="PLACE"),
    Flag("--progress", help="Show how far it is"),
    help="Copy a whole store into an empty one, and compare them.",
)
def copy(
    cli: Session,
    source: str,
    target: str,
    source_blobs: str | None,
    target_blobs: str | None,
    progress: bool,
) -> None:
    """Workspaces, objects with their history, files, the log, orgs, members, tokens and imports are
    copied as they are, and compared at the end; locks are not, and the search index is made anew.
    Run it again after an interruption, and it resumes where it stopped. Stop the writers of the
    source before.

    Example:
    fastio store copy .fastio postgresql://fastio@db.internal/fastio --progress
    """
    from fastio_cli.storage.copy import copy_store

    with (
        _place(cli, source, source_blobs, "refuse") as old,
        _place(cli, target, target_blobs, "make") as new,
        _ProgressBar(progress) as show,
    ):
        compared = copy_store(old, new, show)
    cli.out.record(compared, essential="events")


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
