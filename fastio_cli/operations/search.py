"""Search: everything written is found by its words and its meaning, asked, and packed for prompts.

The index is a reader of the event log. A search first brings it up to date outside any transaction
(``prepare``), then ranks on one snapshot, so that what it returns reflects every earlier write.
"""

from fastio_cli.blobs.content import inline
from fastio_cli.errors import FastioError
from fastio_cli.json_text import encode, stored
from fastio_cli.operations.operation import UNPREPARED, Unprepared, operation
from fastio_cli.operations.records import timestamp
from fastio_cli.operations.state import append, init
from fastio_cli.operations.types import (
    ALL,
    Age,
    Boolean,
    History,
    KindName,
    MatchLimit,
    ObjectPath,
    PathPattern,
    Question,
    SearchMode,
    Token,
    Tokens,
)
from fastio_cli.operations.workspaces import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.operations.context import Context, Preparation
    from fastio_cli.search.hits import SearchHit
    from fastio_cli.search.service import PreparedQuery
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.search_rows import IndexRow

BASE = "/v1/workspaces/{workspace}"
HEADING_CHARACTERS_MAX = 400
PROBLEMS_MAX = 100
UPDATE_S_MAX = 1.0
ASK_PASSAGES = 6
CONTEXT_PASSAGES = 100
# The schema of an object that keeps a conversation, which makes it known as no source of answers.
CONVERSATION = {
    "title": "fastio conversation",
    "type": "array",
    "items": {"type": "object", "required": ["question", "answer"]},
}
SUMMARY = "session_summary.json"
SUMMARY_BYTES_MAX = 4 * 1024 * 1024  # as much as the largest budget may ask for


def _prepare_query(
    preparation: "Preparation", *, query: str, mode: str = "hybrid", **filters: object
) -> "PreparedQuery":
    """Bring the index up to date and embed the query."""
    seen = preparation.read(lambda ctx: (ctx.workspace_id, _index(ctx), ctx.seq))
    return preparation.open_search().prepare(preparation.store, *seen, query, mode)


@operation(
    "search.query", f"POST {BASE}/search", effect="read", role="viewer", prepare=_prepare_query
)
def query(
    ctx: "Context",
    *,
    query: Question,
    mode: SearchMode = "hybrid",
    path: PathPattern | None = None,
    kind: KindName | None = None,
    since_s: Age | None = None,
    limit: MatchLimit = 10,
    merge: Boolean = True,
    explain: Boolean = False,
) -> "model.MatchList | Unprepared":
    """Find the passages of a workspace that answer a query best, by words and by meaning.

    ``path`` is a pattern (``*`` matches anything, also ``/``), ``since_s`` an age: filters apply
    before ranking. ``merge`` makes neighbouring passages one. ``explain`` adds how it was ranked.
    """
    index = _index(ctx)
    # Preparing it here, if that is quick, spares a warm query a second transaction.
    quick = ctx.search.try_prepare
    prepared: PreparedQuery | None = ctx.prepared or quick(index, ctx.seq, query, mode)
    if prepared is None:
        return UNPREPARED
    filters = _filters(ctx, path, kind, since_s)
    candidates = ctx.search.rank(
        ctx.tx, ctx.workspace_id, index, query, prepared, filters, lexical=mode != "semantic"
    )
    hits = ctx.search.hits(ctx.tx, ctx.workspace_id, candidates, limit, merge=merge)
    terms = set(ctx.search.query_terms(query))
    return {
        "items": [_match(hit, terms) for hit in hits],
        "next_cursor": None,
        "mode": "lexical" if prepared.vector is None else mode,
        "pending": prepared.pending,
        "note": prepared.note,
        "explain": ctx.search.explain(query, prepared, filters, len(candidates))
        if explain
        else None,
    }


def _prepare_query_all(
    preparation: "Preparation", *, query: str, mode: str, **filters: object
) -> "dict[int, PreparedQuery]":
    """Bring the indexes of all workspaces that are searched up to date, and embed the query."""
    search = preparation.open_search()
    places = preparation.read(_searched)
    return {
        row["id"]: search.prepare(preparation.store, row["id"], index, row["seq"], query, mode)
        for row, index in places
    }


@operation(
    "search.query_all", "POST /v1/search", effect="read", role="member", prepare=_prepare_query_all
)
def query_all(
    ctx: "Context",
    *,
    query: Question,
    mode: SearchMode = "hybrid",
    path: PathPattern | None = None,
    kind: KindName | None = None,
    since_s: Age | None = None,
    limit: MatchLimit = 10,
    merge: Boolean = True,
    explain: Boolean = False,
) -> "model.WorkspaceMatchList | Unprepared":
    """Find the passages that answer a query best in all workspaces that one may read.

    The parameters are those of ``search.query``. A workspace whose intelligence is off is left out.
    """
    if ctx.prepared is None:
        return UNPREPARED
    filters = _filters(ctx, path, kind, since_s)
    found: list[tuple[str, SearchHit]] = []
    explained: dict[str, object] = {}
    for row, index in _searched(ctx):
        prepared = ctx.prepared.get(row["id"])
        if prepared is None:  # made since
            continue
        name = row["name"].rpartition("/")[2]
        candidates = ctx.search.rank(
            ctx.tx, row["id"], index, query, prepared, filters, lexical=mode != "semantic"
        )
        hits = ctx.search.hits(ctx.tx, row["id"], candidates, limit, merge=merge)
        found += [(name, hit) for hit in hits]
        explained[name] = ctx.search.explain(query, prepared, filters, len(candidates))
    terms = set(ctx.search.query_terms(query))
    ctx.search.rescore_across([hit for _, hit in found], terms)
    found.sort(key=lambda place: -place[1].candidate.score)
    queries: list[PreparedQuery] = list(ctx.prepared.values())
    return {
        "items": [{**_match(hit, terms), "workspace": name} for name, hit in found[:limit]],
        "next_cursor": None,
        "mode": "lexical" if any(q.vector is None for q in queries) else mode,
        "pending": sum(q.pending for q in queries),
        "note": next((q.note for q in queries if q.note), None),
        "explain": explained if explain else None,
    }


def _compose_answer(
    preparation: "Preparation",
    *,
    question: str,
    path: str | None,
    kind: str | None,
    since_s: float | None,
    history: "list[dict[str, object]] | None",
    exclude: str | None,
) -> "model.Answer":
    search = preparation.open_search()
    asked = search.contextual_query(question, history or [])
    prepared = _prepare_query(preparation, query=asked)

    def retrieve(ctx: "Context") -> "list[SearchHit]":
        filters = _filters(ctx, path, kind, since_s)
        hits = search.filter_relevant(_retrieve(ctx, asked, prepared, filters, 4 * ASK_PASSAGES))
        excluded = {exclude, *_conversations(ctx, hits)}
        hits = [hit for hit in hits if hit.best["path"] not in excluded]
        return search.deduplicate(hits)[:ASK_PASSAGES]

    hits = preparation.read(retrieve)
    reply = search.answer(question, hits, history or [], preparation.on_chunk)
    return {
        "question": question,
        "answer": reply.text,
        "found": reply.found,
        "citations": _citations(hits, reply.cited),
        "model": reply.model,
        "pending": prepared.pending,
        "note": prepared.note,
    }


@operation(
    "search.ask",
    f"POST {BASE}/ask",
    effect="read",
    role="viewer",
    response="chunks",
    prepare=_compose_answer,
)
def ask(
    ctx: "Context",
    *,
    question: Question,
    path: PathPattern | None = None,
    kind: KindName | None = None,
    since_s: Age | None = None,
    history: History | None = None,
    exclude: ObjectPath | None = None,
) -> "model.Answer | Unprepared":
    """Answer a question from what the workspace holds, each sentence with its source.

    A chat endpoint answers if one is set (``chat_url``); otherwise the answer is the best sentences
    as they stand. ``history`` are earlier turns: ``{"question": …, "answer": …}``; ``exclude`` is
    the object that keeps them, which is no source, nor is any other that has the schema which
    ``fastio ask --session`` gives to those it begins. A model's sentences can be had as they come.
    """
    return UNPREPARED if ctx.prepared is None else ctx.prepared


def _compose_turn(
    preparation: "Preparation",
    *,
    path: str,
    question: str,
    kind: str | None,
    within: str | None,
    since_s: float | None,
    lock_token: str | None,
) -> "model.Answer":
    return _compose_answer(
        preparation,
        question=question,
        path=within,
        kind=kind,
        since_s=since_s,
        history=preparation.read(lambda ctx: _turns(ctx, path)),
        exclude=path,
    )


@operation(
    "search.converse",
    f"POST {BASE}/conversations/{{path:path}}",
    effect="write",
    role="editor",
    response="chunks",
    prepare=_compose_turn,
)
def converse(
    ctx: "Context",
    *,
    path: ObjectPath,
    question: Question,
    within: PathPattern | None = None,
    kind: KindName | None = None,
    since_s: Age | None = None,
    lock_token: Token | None = None,
) -> "model.Answer | Unprepared":
    """Answer a question as ``search.ask`` does, and keep it in the conversation at a path.

    The earlier turns that are kept there are its history; an object that is not there begins with
    the first one. ``within`` is a pattern for the paths that are searched.
    """
    if ctx.prepared is None:
        ctx.check_lock(path, lock_token)  # before the work, not after it
        return UNPREPARED
    answer: model.Answer = ctx.prepared
    turn = {"question": question, "answer": answer["answer"]}
    _turns(ctx, path)  # still a conversation, if it is there
    value, schema = inline(encode([turn])), inline(encode(CONVERSATION))
    if not init(ctx, path=path, value=value, schema=schema, lock_token=lock_token)["created"]:
        append(ctx, path=path, value=inline(encode(turn)), lock_token=lock_token)
    return answer


def _compose_pack(
    preparation: "Preparation",
    *,
    query: str,
    budget: int,
    summary: str | None,
    path: str | None,
    kind: str | None,
    since_s: float | None,
) -> "model.ContextPack":
    search = preparation.open_search()
    prepared = _prepare_query(preparation, query=query)

    def retrieve(ctx: "Context") -> "tuple[list[SearchHit], tuple[str, str] | None]":
        filters = _filters(ctx, path, kind, since_s)
        # Not merged: a merged hit might not fit where one of its passages does.
        hits = _retrieve(ctx, query, prepared, filters, CONTEXT_PASSAGES, merge=False)
        return hits, _summary(ctx, summary)

    hits, begin = preparation.read(retrieve)
    hits = search.filter_relevant(hits)
    hits = [hit for hit in hits if hit.best["path"] != (summary or SUMMARY)]
    packed = search.pack(begin, hits, budget)
    return {
        "text": packed.text,
        "tokens": packed.tokens,
        "budget": budget,
        "tokenizer": search.token_counter.name,
        "citations": _citations(packed.hits, list(range(1, len(packed.hits) + 1))),
        "pending": prepared.pending,
        "note": prepared.note,
    }


@operation(
    "search.context", f"POST {BASE}/context", effect="read", role="viewer", prepare=_compose_pack
)
def context(
    ctx: "Context",
    *,
    query: Question,
    budget: Tokens = 2000,
    summary: ObjectPath | None = None,
    path: PathPattern | None = None,
    kind: KindName | None = None,
    since_s: Age | None = None,
) -> "model.ContextPack | Unprepared":
    """Pack what a prompt needs to go on: the session's summary, then the best passages.

    ``summary`` is the object that comes first: if none is named, ``session_summary.json`` where
    there is one. The text never has more than ``budget`` tokens, counted as ``tokenizer`` counts.
    """
    return UNPREPARED if ctx.prepared is None else ctx.prepared


@operation("index.status", f"GET {BASE}/index", effect="read", role="viewer")
def status(ctx: "Context") -> "model.IndexStatus":
    """Show how far the search index has come, and which objects it could not read."""
    return _status(ctx)


def _work_on_index(preparation: "Preparation") -> bool:
    workspace_id = preparation.read(lambda ctx: ctx.workspace_id)
    preparation.open_search().update(preparation.store, workspace_id, UPDATE_S_MAX)
    return True


@operation(
    "index.update", f"POST {BASE}/index", effect="read", role="viewer", prepare=_work_on_index
)
def update(ctx: "Context") -> "model.IndexStatus | Unprepared":
    """Work on the search index for about a second, and show how far it has come."""
    return UNPREPARED if ctx.prepared is None else _status(ctx)


def _drop_index(preparation: "Preparation") -> bool:
    """Remove what is indexed in bounded steps; what came meanwhile is made anew too."""
    workspace_id = preparation.read(lambda ctx: ctx.workspace_id)
    preparation.open_search().clear(preparation.store, workspace_id)
    return True


@operation(
    "index.rebuild",
    f"POST {BASE}/index-rebuild",
    effect="write",
    role="editor",
    prepare=_drop_index,
)
def rebuild(ctx: "Context") -> "model.IndexStatus | Unprepared":
    """Drop the search index and begin it anew; the next searches finish it."""
    return _begin_anew(ctx)


@operation(
    "index.clear", f"DELETE {BASE}/index", effect="write", role="editor", prepare=_drop_index
)
def clear(ctx: "Context") -> "model.IndexStatus | Unprepared":
    """Drop the search index; the next search makes it again from the log."""
    return _begin_anew(ctx)


def _begin_anew(ctx: "Context") -> "model.IndexStatus | Unprepared":
    index = ctx.tx.search.index(ctx.workspace_id)
    if index is not None:
        if ctx.prepared is None:
            return UNPREPARED
        ctx.tx.search.invalidate(ctx.workspace_id, bool(index["enabled"]))
    return _status(ctx)


def _searched(ctx: "Context") -> "list[tuple[Row, IndexRow | None]]":
    """The workspaces of the org that the caller may read and that are searched."""
    rows = [(row, ctx.tx.search.index(row["id"])) for row in visible(ctx, ALL)]
    return [(row, index) for row, index in rows if index is None or index["enabled"]]


def _turns(ctx: "Context", path: str) -> "list[dict[str, object]]":
    """The turns of the conversation at a path. Raises ``invalid`` if that is none."""
    head = ctx.tx.unit.head(ctx.workspace_id, path)
    if head is None or head["deleted"]:
        return []
    row = ctx.content(path, head["version"])
    kept = stored(row["body"].decode()) if row["kind"] == "state" else None
    if not isinstance(kept, list) or not all(isinstance(turn, dict) for turn in kept):
        raise FastioError(
            "invalid",
            f"{path} is no conversation: it is not a list of questions and answers.",
            "Name another object with --session; a new one is begun by itself.",
        )
    return kept


def _index(ctx: "Context") -> "IndexRow | None":
    """The index's row. Raises ``invalid`` in a workspace that is not searched."""
    index = ctx.tx.search.index(ctx.workspace_id)
    if index is not None and not index["enabled"]:
        raise FastioError(
            "invalid",
            f"Intelligence is off in workspace {ctx.workspace_name}: nothing of it is searched.",
            f"Turn it on: fastio workspace intelligence on -w {ctx.workspace_name}",
            reason="intelligence_off",
        )
    return index


def _retrieve(
    ctx: "Context",
    query: str,
    prepared: "PreparedQuery",
    filters: dict[str, object],
    limit: int,
    *,
    merge: bool = True,
) -> "list[SearchHit]":
    """The best passages for a question."""
    candidates = ctx.search.rank(ctx.tx, ctx.workspace_id, _index(ctx), query, prepared, filters)
    return ctx.search.hits(ctx.tx, ctx.workspace_id, candidates, limit, merge=merge)


def _conversations(ctx: "Context", hits: "list[SearchHit]") -> set[str]:
    """The objects among the hits that keep conversations: an earlier answer is no source."""
    paths = sorted({hit.best["path"] for hit in hits})
    schemas = ctx.tx.search.schemas(ctx.workspace_id, paths) if paths else {}
    return {path for path, schema in schemas.items() if stored(schema) == CONVERSATION}


def _summary(ctx: "Context", path: str | None) -> tuple[str, str] | None:
    """The object that opens a context pack: its title and its text.

    Raises ``not_found`` when there is none at a path that was asked for.
    """
    from fastio_cli.operations.files import download

    head = ctx.tx.objects.head(ctx.workspace_id, path or SUMMARY)
    if path is None and (head is None or head["deleted"]):
        return None
    row = ctx.content(path or SUMMARY, ctx.live(path or SUMMARY)["version"])
    body = download(ctx, row, 0, SUMMARY_BYTES_MAX)
    text = b"".join(body.chunks(lambda work: work(ctx.tx), ctx.blobs)).decode("utf-8", "replace")
    return f"{path or SUMMARY} (version {row['version']})", text


def _citations(hits: "list[SearchHit]", numbers: list[int]) -> "list[model.Citation]":
    return [
        {
            "number": number,
            "path": hits[number - 1].best["path"],
            "version": hits[number - 1].best["version"],
            "location": _location(hits[number - 1]),
        }
        for number in numbers
    ]


def _filters(
    ctx: "Context", path: str | None, kind: str | None, since_s: float | None
) -> dict[str, object]:
    since = None if since_s is None else ctx.now_ms - int(since_s * 1000)
    if path and not path.strip("*"):
        path = None  # lets everything through
    filters = {"path": path, "kind": kind, "since": since}
    return {name: value for name, value in filters.items() if value is not None}


def _match(hit: "SearchHit", terms: set[str]) -> "model.Match":
    candidate, best = hit.candidate, hit.best
    return {
        "path": best["path"],
        "version": best["version"],
        "kind": best["kind"],
        "updated_at": timestamp(best["updated_at"]),
        "location": _location(hit),
        "heading": best["heading"][-HEADING_CHARACTERS_MAX:],  # older indexes kept all of it
        "snippet": hit.text,
        "highlights": hit.highlights(terms),
        "score": round(candidate.score, 6),
        "parts": {
            "bm25": candidate.bm25,
            "cosine": candidate.cosine,
            "lexical": candidate.lexical,
            "semantic": candidate.semantic,
        },
    }


def _location(hit: "SearchHit") -> "model.Location":
    first, last = hit.rows[0], hit.rows[-1]
    pointers = {row["pointer"] for row in hit.rows}
    return {
        "line": first["line"],
        "end_line": last["end_line"],
        "page": first["page"],
        "pointer": pointers.pop() if len(pointers) == 1 else _common(pointers),
    }


def _common(pointers: "set[str | None]") -> str:
    """The pointer of the smallest subtree that holds them all."""
    parts = [(pointer or "").split("/") for pointer in pointers]
    common = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return "/".join(common)


def _status(ctx: "Context") -> "model.IndexStatus":
    index = ctx.tx.search.index(ctx.workspace_id)
    problems = ctx.tx.search.problems(ctx.workspace_id, PROBLEMS_MAX)
    return {
        "workspace": ctx.workspace_name,
        "enabled": index is None or bool(index["enabled"]),
        "seq": ctx.seq,
        "indexed_seq": index["seq"] if index is not None else 0,
        "objects": ctx.tx.search.object_count(ctx.workspace_id),
        "passages": index["passage_count"] if index is not None else 0,
        "pending": ctx.tx.search.count_unembedded(ctx.workspace_id),
        "model": (index["model"] or None) if index is not None else None,
        "problems": [dict(row) for row in problems],  # type: ignore[misc]
    }
