"""The records of fastio, the same on every surface: plain JSON data, no behaviour.

A record is a ``dict`` with these keys, the same from Python, the shell and HTTP, so nothing is
converted on the way. Times are RFC 3339 in UTC with milliseconds, sizes bytes, durations seconds.
Keys never vanish: what is not known is ``None``. Imported for types and schemas only.
"""

from typing import Any, Literal, TypedDict

Kind = Literal["state", "file"]


class Workspace(TypedDict):
    """A workspace: a named set of objects with one event log."""

    name: str
    object_count: int
    size_bytes: int
    seq: int
    created_at: str
    updated_at: str
    deleted_at: str | None


class Object(TypedDict):
    """An object at a path: a state object (JSON) or a file (bytes), without its content."""

    path: str
    kind: Kind
    version: int
    etag: str
    media_type: str
    size_bytes: int
    author: str
    created_at: str
    updated_at: str
    deleted: bool
    schema: bool


class StateDoc(TypedDict):
    """A state object, or a part of one, with the version it was read at."""

    path: str
    version: int
    etag: str
    value: Any


class StateInit(StateDoc):
    """The object at a path after ``state.init``; ``created`` says whether it is new."""

    created: bool


class Version(TypedDict):
    """One version of an object; ``change`` is the verb that made it. A deletion is a version."""

    path: str
    version: int
    kind: Kind
    etag: str
    media_type: str
    size_bytes: int
    author: str
    at: str
    change: str
    deleted: bool


class Diff(TypedDict):
    """The difference between two versions: an RFC 6902 patch for JSON, a unified diff for text."""

    path: str
    from_version: int
    to_version: int
    json_patch: list[dict[str, Any]] | None
    text: str | None


class Lock(TypedDict):
    """A live lock without its token."""

    path: str
    fence: int
    holder: str
    purpose: str
    ttl_s: float
    acquired_at: str
    expires_at: str
    waiters: int


class HeldLock(Lock):
    """A lock with its token, as its holder gets it."""

    token: str


class Event(TypedDict):
    """One entry of a workspace's log."""

    seq: int
    type: str
    actor: str
    path: str | None
    version: int | None
    at: str
    data: dict[str, Any]
    prev_hash: str
    hash: str


class Actor(TypedDict):
    """Who acted in a workspace: how often, what they did last, and the locks that they hold."""

    name: str
    events: int
    last_seq: int
    last_type: str
    last_path: str | None
    last_at: str
    locks: list[str]


class ActorList(TypedDict):
    """Who acted lately, the last first."""

    items: list[Actor]
    next_cursor: None


class LockNote(TypedDict):
    """A live lock, in short."""

    path: str
    holder: str
    purpose: str
    expires_at: str


class Brief(TypedDict):
    """What whoever asks should know before going on; ``newest`` are events, the last first.

    ``last_seen_seq`` is the last event of theirs, null if there is none among the newest.
    """

    actor: str
    workspace: str
    seq: int
    last_seen_seq: int | None
    events_since: int
    actors_since: list[str]
    newest: list[Event]
    held: list[LockNote]
    locked: list[LockNote]


class AuditReport(TypedDict):
    """The result of recomputing a workspace's hash chain."""

    workspace: str
    verified: bool
    events: int
    head_seq: int
    head_hash: str
    problem: str | None


class WorkspaceUsage(TypedDict):
    """The usage of a workspace. ``size_bytes`` includes history, ``live_bytes`` does not."""

    name: str
    object_count: int
    state_count: int
    file_count: int
    live_bytes: int
    size_bytes: int
    event_count: int
    storage_bytes_max: int


class Org(TypedDict):
    """An org: who owns it and what its workspaces hold."""

    name: str
    owners: list[str]
    workspace_count: int
    created_at: str


class NewOrg(Org):
    """A new org with its owner's token, shown only once."""

    token: str


class OrgUsage(TypedDict):
    """What an org uses of its limits, deleted workspaces and history included."""

    name: str
    workspace_count: int
    object_count: int
    size_bytes: int
    index_bytes: int
    storage_bytes_max: int
    credits: int
    credits_per_month: int | None


class Member(TypedDict):
    """A member's role: in the whole org, or in one workspace."""

    name: str
    role: str
    workspace: str | None
    created_at: str


class MemberList(TypedDict):
    """A page of members."""

    items: list[Member]
    next_cursor: str | None


class AccessToken(TypedDict):
    """A token's record, without the token itself."""

    id: str
    member: str
    label: str
    role: str
    scopes: list[str]
    workspace: str | None
    created_at: str
    created_by: str
    created_by_token: str | None
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class NewAccessToken(AccessToken):
    """A new token, shown only once."""

    token: str


class AccessTokenList(TypedDict):
    """A page of tokens."""

    items: list[AccessToken]
    next_cursor: str | None


class Transfer(TypedDict):
    """An offer to hand an org over; ``state`` is open, claimed, revoked or expired."""

    id: str
    org: str
    state: str
    created_by: str
    created_at: str
    expires_at: str
    claimed_by: str | None


class NewTransfer(Transfer):
    """A new offer with the claim to pass on, shown only once."""

    claim: str


class TransferList(TypedDict):
    """A page of transfers."""

    items: list[Transfer]
    next_cursor: str | None


class Claimed(TypedDict):
    """The org and the new owner's token for it, shown only once."""

    org: str
    member: str
    role: str
    token: str


class WhoAmI(TypedDict):
    """The identity behind a token."""

    org: str
    member: str
    role: str
    scopes: list[str]


class Account(TypedDict):
    """A login at a file service; ``expires_at`` is null for one that is refreshed automatically."""

    service: str
    logged_in: bool
    expires_at: str | None
    kept_in: str | None


class AccountList(TypedDict):
    """The file services, and whether one is logged in there."""

    items: list[Account]
    next_cursor: str | None


class Import(TypedDict):
    """The import of one URL: a job at first, then the record of the bytes' origin.

    ``reason`` says why it failed, or why it will be retried. ``final_url`` is the last URL of the
    redirects, without its query.
    """

    id: int
    url: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    path: str | None
    version: int | None
    unchanged: bool
    received_bytes: int
    total_bytes: int | None
    attempts: int
    reason_code: str | None
    reason: str | None
    hint: str | None
    on_conflict: str
    sha256: str | None
    media_type: str | None
    final_url: str | None
    source_etag: str | None
    source_last_modified: str | None
    fetched_at: str | None
    actor: str
    created_at: str
    updated_at: str


class Job(TypedDict):
    """Background work: its state and its outcome.

    ``due_at`` says when a queued one begins, ``lease_until`` until when a running one is its
    runner's. ``attempts`` counts since it was queued, ``failures`` those in a row; ``reason`` says
    in words why it failed, or why it is going to be tried again.
    """

    id: str
    kind: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    due_at: str | None
    lease_until: str | None
    attempts: int
    failures: int
    reason_code: str | None
    reason: str | None
    hint: str | None
    actor: str
    queued_at: str
    updated_at: str


class JobList(TypedDict):
    """A page of jobs, the newest first."""

    items: list[Job]
    next_cursor: str | None


class ImportList(TypedDict):
    """A page of imports, newest first; those just made in the order of their URLs."""

    items: list[Import]
    next_cursor: str | None


class ObjectList(TypedDict):
    """A page of objects."""

    items: list[Object]
    next_cursor: str | None


class VersionList(TypedDict):
    """A page of versions, newest first."""

    items: list[Version]
    next_cursor: str | None


class WorkspaceList(TypedDict):
    """A page of workspaces."""

    items: list[Workspace]
    next_cursor: str | None


class LockList(TypedDict):
    """A page of live locks."""

    items: list[Lock]
    next_cursor: str | None


class EventList(TypedDict):
    """A page of events; pass ``next_cursor`` as ``after`` for the next page."""

    items: list[Event]
    next_cursor: str | None
    has_more: bool


class Transaction(TypedDict):
    """The objects of one transaction, each once, in the order in which they were first named."""

    items: list[Object]
    seq: int


class Location(TypedDict):
    """Where in an object a passage is: lines, page, or JSON Pointer."""

    line: int | None
    end_line: int | None
    page: int | None
    pointer: str | None


class ScoreParts(TypedDict):
    """The parts of a score: BM25 and cosine, raw and as weighted in the sum."""

    bm25: float | None
    cosine: float | None
    lexical: float
    semantic: float


class Match(TypedDict):
    """A passage that was found; ``highlights`` are the ranges of ``snippet`` that match."""

    path: str
    version: int
    kind: Kind
    updated_at: str
    location: Location
    heading: str
    snippet: str
    highlights: list[list[int]]
    score: float
    parts: ScoreParts


class WorkspaceMatch(Match):
    """A passage that was found in one of several workspaces."""

    workspace: str


class WorkspaceMatchList(TypedDict):
    """The best passages of several workspaces first; ``explain`` is by workspace."""

    items: list[WorkspaceMatch]
    next_cursor: None
    mode: str
    pending: int
    note: str | None
    explain: dict[str, Any] | None


class MatchList(TypedDict):
    """The best passages first. ``pending`` passages were found by their words alone."""

    items: list[Match]
    next_cursor: None
    mode: str
    pending: int
    note: str | None
    explain: dict[str, Any] | None


class Citation(TypedDict):
    """Where a statement comes from."""

    number: int
    path: str
    version: int
    location: Location


class Answer(TypedDict):
    """An answer whose sentences point at their sources as ``[1]``; not ``found``: no answer."""

    question: str
    answer: str
    found: bool
    citations: list[Citation]
    model: str | None
    pending: int
    note: str | None


class ContextPack(TypedDict):
    """Text for a prompt: the summary and the best passages, within a number of tokens."""

    text: str
    tokens: int
    budget: int
    tokenizer: str
    citations: list[Citation]
    pending: int
    note: str | None


class IndexProblem(TypedDict):
    """An object that could not be indexed, or only in part."""

    path: str
    version: int
    problem: str


class IndexStatus(TypedDict):
    """The progress of a workspace's index."""

    workspace: str
    enabled: bool
    seq: int
    indexed_seq: int
    objects: int
    passages: int
    pending: int
    model: str | None
    problems: list[IndexProblem]


class Intelligence(TypedDict):
    """Whether a workspace is searched."""

    workspace: str
    enabled: bool
