"""fastio query, ask, context and index"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Flag, Opt, command
from fastio_cli.cli.framework.options import given
from fastio_cli.cli.framework.values import integer, seconds
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli import model
    from fastio_cli.cli.framework.session import Session

EXCERPT_CHARACTERS = 300
QUERY = Arg("query", "What to look for, in plain words")
WAIT = Flag("--wait", help="First finish the vectors of everything written, showing progress")


def object_path(text: str, name: str) -> str:
    """A path, or ``fio://workspace/path``, checked while it is known which option it is of."""
    from fastio_cli.cli.framework.session import SCHEME
    from fastio_cli.operations.types import PATH_RULE

    is_elsewhere = text.startswith(SCHEME)
    PATH_RULE.check(text[len(SCHEME) :].partition("/")[2] if is_elsewhere else text, name)
    return text


def age(text: str, name: str) -> float:
    """How long ago: ``90s``, ``2h``, ``7d`` (days are not among the units of a duration)."""
    if text.endswith("d") and text[:-1].isdecimal():
        return float(text[:-1]) * 86400
    try:
        return seconds(text, name)
    except FastioError as e:
        raise FastioError(e.code, e.message, "Write it as 7d, 12h or 1h30m.") from None


FILTERS = (
    Opt("--path", help="Only objects whose path matches, as 'notes/*'", metavar="PATTERN"),
    Opt("--type", help="Only objects of this kind", choices=("file", "state"), param="kind"),
    Opt(
        "--since",
        help="Only what changed in the last, as 7d",
        metavar="DURATION",
        convert=age,
        param="since_s",
    ),
)


@command(
    "query",
    QUERY,
    *FILTERS,
    Opt("--limit", help="At most this many (default: 10)", metavar="N", convert=integer),
    Opt("--mode", help="How to search", choices=("hybrid", "semantic", "lexical")),
    Flag("--all-workspaces", help="Search every workspace"),
    Flag("--explain", help="Show how the results were ranked"),
    WAIT,
    op=("search.query", "search.query_all", "index.update", "workspace.list"),
)
def query(cli: Session, query: str, wait: bool, all_workspaces: bool, **options: Any) -> None:
    """Examples:
    fastio query "what did we decide about pricing?"
    fastio query "retry policy" --path 'notes/*' --since 7d --mode lexical
    """
    params = given(
        query=query,
        kind=options["type"],
        path=options["path"],
        since_s=options["since"],
        limit=options["limit"],
        mode=options["mode"],
        explain=options["explain"] or None,
    )
    if wait:
        here = cli.workspace_of(options["path"])
        for workspace in cli.every_workspace() if all_workspaces else [here]:
            finish(cli, workspace)
    if not all_workspaces:
        show_matches(cli, cli.call("search.query", **params))
        return
    page = cli.call("search.query_all", **params)
    for item in page["items"]:
        item["path"] = f"fio://{item['workspace']}/{item['path']}"
    show_matches(cli, page)


@command(
    "ask",
    Arg("question", "What you want to know, in plain words"),
    *FILTERS,
    Opt(
        "--session",
        help="State object that keeps the conversation",
        metavar="PATH",
        convert=object_path,
    ),
    Opt("--model", help="The chat model to ask (default: the setting chat_model)", metavar="NAME"),
    Opt("--endpoint", help="The chat endpoint to ask (default: the setting chat_url)"),
    WAIT,
    op=("search.ask", "search.converse", "index.update"),
)
def ask(cli: Session, question: str, wait: bool, session: str | None, **options: Any) -> None:
    """Without a chat endpoint the answer is the best sentences as they stand.

    Examples:
    fastio ask "which supplier was cheapest, and why?"
    fastio ask "and the second?" --session chats/suppliers.json
    """
    chosen = given(chat_url=options["endpoint"], chat_model=options["model"])
    if chosen and cli.is_remote:
        raise FastioError(
            "invalid",
            "A server asks the chat endpoint of its own settings.",
            "Leave out --model and --endpoint.",
        )
    cli.override(**chosen)
    if wait:
        finish(cli, cli.workspace_of(options["path"] or session))
    shown: list[str] = []

    def show(sentence: str) -> None:
        shown.append(sentence)
        cli.out.chunk(sentence)

    on_chunk = show if cli.out.format == "table" and cli.out.is_whole else None
    params = given(question=question, kind=options["type"], since_s=options["since"])
    if session is None:
        answer = cli.call("search.ask", on_chunk, **params, **given(path=options["path"]))
    else:
        params.update(path=session, lock_token=None, **given(within=options["path"]))
        answer = cli.call("search.converse", on_chunk, **params)
    show_answer(cli, answer, "".join(shown))


@command(
    "context",
    Arg("task", "What is to be done, in plain words", param="query"),
    Opt("--budget", help="At most this many tokens (default: 2000)", metavar="N", convert=integer),
    Opt("--summary", help="State object that comes first (default: session_summary.json)"),
    *FILTERS,
    WAIT,
    op=("search.context", "index.update"),
)
def context(cli: Session, task: str, wait: bool, **options: Any) -> None:
    """Example:
    fastio context "continue the pricing task" --budget 2000
    """
    if wait:
        finish(cli, cli.workspace_of(options["path"] or options["summary"]))
    params = given(
        query=task,
        budget=options["budget"],
        summary=options["summary"],
        kind=options["type"],
        path=options["path"],
        since_s=options["since"],
    )
    pack = cli.call("search.context", **params)
    if pack["note"]:
        cli.out.note(pack["note"])
    if cli.out.format in ("table", "raw", "markdown") and cli.out.is_whole:
        cli.out.line(pack["text"].rstrip("\n"))
    else:
        cli.out.record({**pack, "text": pack["text"].rstrip("\n")}, essential="text")


@command("index status", op="index.status")
def status(cli: Session) -> None:
    cli.out.record(cli.call("index.status"), essential="pending")


@command("index rebuild", WAIT, op=("index.rebuild", "index.update"))
def rebuild(cli: Session, wait: bool) -> None:
    cli.call("index.rebuild")
    if wait:
        finish(cli)
    cli.out.record(cli.call("index.status"), essential="pending")


@command("index clear", op="index.clear")
def clear(cli: Session) -> None:
    cli.out.record(cli.call("index.clear"), essential="passages")


def finish(cli: Session, workspace: str | None = None) -> None:
    """Index until nothing is pending, with a progress bar for a person."""
    status: model.IndexStatus = cli.call("index.update", workspace=workspace)
    if not _unfinished(status):
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Indexing", total=None)
        while True:
            done = status["passages"] - status["pending"]
            progress.update(task, total=status["passages"], completed=done)
            if not _unfinished(status):
                return
            status = cli.call("index.update", workspace=workspace)


def show_answer(cli: Session, answer: model.Answer, shown: str) -> None:
    """Print an answer and its sources, without what was shown as it came.

    When the line to a server was cut meanwhile, the answer may be another one: then it is whole.
    """
    if answer["note"]:
        cli.out.note(answer["note"])
    if cli.out.format != "table" or not cli.out.is_whole:
        cli.out.record(answer, essential="answer")
        return
    is_shown = shown.strip() == answer["answer"]
    if shown:
        cli.out.line("")
    if not is_shown:
        cli.out.line(answer["answer"])
    for citation in answer["citations"]:
        cli.out.line(
            f"  [{citation['number']}] {place_of(citation)}, version {citation['version']}"
        )


def show_matches(cli: Session, page: model.MatchList) -> None:
    """Print what was found: for people with the matching words marked, else as it is."""
    if page["note"]:
        cli.out.note(page["note"])
    if page["pending"]:
        cli.out.note(f"{page['pending']} passages wait for their vectors; finish them with --wait.")
    if cli.out.format != "table" or not cli.out.is_whole:
        columns = "path,version,location.line,score,snippet"
        cli.out.page(page, columns=columns, essential="path", more=None)
        return
    if not page["items"]:
        cli.out.note("Nothing found.")
    for item in page["items"]:
        cli.out.line(f"{place_of(item)}  (version {item['version']}, score {item['score']:.2f})")
        cli.out.line("    " + _excerpt(item).replace("\n", " "))
    if page["explain"]:
        cli.out.document(page["explain"])


def place_of(item: model.Match | model.Citation) -> str:
    """``path:12-14``, ``path#/pointer`` or ``path page 3``."""
    location = item["location"]
    if location["page"] is not None:
        return f"{item['path']} page {location['page']}"
    if location["pointer"]:
        return f"{item['path']}#{location['pointer']}"
    if location["line"] is None:
        return str(item["path"])
    first, last = location["line"], location["end_line"]
    return f"{item['path']}:{first}" + (f"-{last}" if last not in (None, first) else "")


def _excerpt(item: model.Match) -> str:
    """The part of the snippet around its first match, matches in brackets."""
    text, ranges = item["snippet"], item["highlights"]
    start = max(0, ranges[0][0] - EXCERPT_CHARACTERS // 3) if ranges else 0
    end = min(len(text), start + EXCERPT_CHARACTERS)
    parts, at = [], start
    for first, last in ranges:
        if first >= at and last <= end:
            parts += [text[at:first], "[", text[first:last], "]"]
            at = last
    body = "".join([*parts, text[at:end]])
    return ("… " if start else "") + body + (" …" if end < len(text) else "")


def _unfinished(status: model.IndexStatus) -> bool:
    behind = status["enabled"] and status["indexed_seq"] < status["seq"]
    return bool(behind or (status["pending"] and status["model"]))
