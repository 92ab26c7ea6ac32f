"""fastio who, fastio prime"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Opt, command
from fastio_cli.cli.framework.options import LIMIT, given
from fastio_cli.cli.framework.values import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastio_cli import model
    from fastio_cli.cli.framework.session import Session

NAME_BYTES_MAX = 60  # of a path, an actor, a purpose, so that all of it stays short
ACTORS_MAX = 5


@command(
    "who",
    Opt("--since", help="Only who acted within this time (default: 1d)", convert=seconds),
    LIMIT,
    op="actor.list",
    help="List who acted lately, with what they last did and the locks they hold.",
)
def who(cli: Session, since: float | None, **params: object) -> None:
    page = cli.call("actor.list", **given(since_s=since, **params))
    cli.out.page(page, columns="name,events,last_at,last_type,last_path,locks", essential="name")


@command(
    "prime",
    op="actor.brief",
    help="Tell an agent in a few lines where things stand, for its hooks.",
)
def prime(cli: Session) -> None:
    """Programs of agents run it when a session begins, or before they shorten one, and show the
    agent what it prints: who it is, its locks, what changed since it was last here, and how to go
    on. It never has more than 1,500 tokens.

    Example:
    fastio prime
    """
    brief: model.Brief = cli.call("actor.brief")
    if cli.flags["format"] in ("json", "jsonl"):  # for who asks: a hook reads a pipe
        cli.out.record(brief, essential="seq")
    else:
        for line in _lines(brief):
            cli.out.line(line)


def _lines(brief: model.Brief) -> Iterator[str]:
    yield (
        f"fastio keeps shared state for you: you are {_short(brief['actor'])} in workspace "
        f"{brief['workspace']}, at event {brief['seq']}."
    )
    for lock in brief["held"]:
        yield f"You hold the lock on {_short(lock['path'])} until {lock['expires_at']}."
    for lock in brief["locked"]:
        reason = f" ({_short(lock['purpose'])})" if lock["purpose"] else ""
        yield (
            f"{_short(lock['path'])} is locked by {_short(lock['holder'])}{reason} until "
            f"{lock['expires_at']}."
        )
    yield from _changes(brief)
    yield "Go on with:"
    yield "- fastio context 'WHAT YOU WORK ON'   what is known about it"
    yield "- fastio state get PATH, fastio file get PATH   read"
    yield "- fastio lock run PATH -- COMMAND   change what others change too"
    yield "- fastio event list --last 20   what happened"
    yield "- fastio help COMMAND   how to use one"


def _changes(brief: model.Brief) -> Iterator[str]:
    if not brief["events_since"]:
        yield "Nothing happened since you were last here."
        return
    names = [_short(name) for name in brief["actors_since"][:ACTORS_MAX]]
    more = " and others" if len(brief["actors_since"]) > ACTORS_MAX else ""
    since = "so far" if brief["last_seen_seq"] is None else "since you were last here"
    yield f"{brief['events_since']} events {since}, by {', '.join(names)}{more}; the newest:"
    for event in brief["newest"]:
        version = f" v{event['version']}" if event["version"] is not None else ""
        path = f" {_short(event['path'])}{version}" if event["path"] is not None else ""
        yield f"- {event['seq']} {event['type']}{path} by {_short(event['actor'])}"


def _short(text: str) -> str:
    """A name, shortened in its middle. In bytes, as tokens are."""
    data = text.encode()
    if len(data) <= NAME_BYTES_MAX:
        return text
    half = NAME_BYTES_MAX // 2
    return f"{data[:half].decode(errors='ignore')}…{data[-half:].decode(errors='ignore')}"
