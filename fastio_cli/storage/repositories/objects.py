"""SQL of objects: the head of each path, every kept version, and the segments of appended files.

``objects`` has one row a path, small and often changed. ``versions`` holds the contents. A chain is
the content of an appended file: its segments are only ever added at the end, so a version of it is
the chain's number and a length.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.blobs.content import Content
    from fastio_cli.storage.db import Db, Row

_HEAD = """path, kind, version, etag, media_type, size_bytes, schema, author,
    created_at, updated_at, deleted"""
HEAD_NAMES = [name.strip() for name in _HEAD.split(",")]
_VERSION = """path, version, kind, etag, media_type, size_bytes, author, at, change, deleted"""
# Every write runs two of these: texts made once, and no upsert, which costs three times an update.
HEAD_OF = f"select {_HEAD} from objects where workspace_id = :workspace_id and path = :path"
ADD_VERSION = f"""insert into versions (workspace_id, {_VERSION}, body, blob, chain)
    values (:workspace_id, :path, :version, :kind, :etag, :media_type, :size_bytes,
    :author, :at, :change, :deleted, :body, :blob, :chain)"""
ADD_HEAD = f"""insert into objects (workspace_id, {_HEAD})
    values (:workspace_id, :path, :kind, :version, :etag, :media_type, :size_bytes,
    :schema, :author, :created_at, :updated_at, :deleted)"""
SET_HEAD = """update objects set kind = :kind, version = :version, etag = :etag,
    media_type = :media_type, size_bytes = :size_bytes, schema = :schema, author = :author,
    created_at = :created_at, updated_at = :updated_at, deleted = :deleted
    where workspace_id = :workspace_id and path = :path"""
DROP_VERSIONS = """delete from versions where workspace_id = :workspace_id and path = :path
    and version < :below"""
_OF_HEAD = ", ".join(f"v.{column.strip()}" for column in _VERSION.split(","))
LAST = chr(0x10FFFF)


class Objects:
    def __init__(self, db: Db) -> None:
        self._db = db

    def head(self, workspace_id: int, path: str) -> Row | None:
        """The newest state of a path, live or deleted, without its content."""
        return self._db.one(HEAD_OF, workspace_id=workspace_id, path=path)

    def content(self, workspace_id: int, path: str, version: int) -> Row | None:
        """One kept version with its content: body, blob or chain."""
        return self._db.one(
            f"""select {_VERSION}, body, blob, chain from versions
            where workspace_id = :workspace_id and path = :path and version = :version""",
            workspace_id=workspace_id,
            path=path,
            version=version,
        )

    def live_content(self, workspace_id: int, path: str) -> Row | None:
        """The newest version of a path with its content, unless it is deleted."""
        return self._db.one(
            f"""select {_OF_HEAD}, v.body, v.blob, v.chain from objects h
            join versions v on v.workspace_id = h.workspace_id and v.path = h.path
                and v.version = h.version
            where h.workspace_id = :workspace_id and h.path = :path and h.deleted = 0""",
            workspace_id=workspace_id,
            path=path,
        )

    def add_version(self, columns: Row) -> None:
        """Add a version as a row, with its content."""
        self._db.run_many(ADD_VERSION, [columns])

    def set_head(self, columns: Row) -> None:
        """Make a row the head of its path."""
        is_new = self.head(columns["workspace_id"], columns["path"]) is None
        self._db.run_many(ADD_HEAD if is_new else SET_HEAD, [columns])

    def page(
        self, workspace_id: int, prefix: str, after: str, kind: str | None, limit: int
    ) -> list[Row]:
        """Live objects by path, after a cursor, below a prefix."""
        condition = "and kind = :kind" if kind else ""
        return self._db.all(
            f"""select {_HEAD} from objects where workspace_id = :workspace_id
            and path > :after and path >= :prefix and path < :end and deleted = 0 {condition}
            order by path limit :limit""",
            workspace_id=workspace_id,
            prefix=prefix,
            after=after,
            end=prefix + LAST,
            limit=limit,
            **({"kind": kind} if kind else {}),
        )

    def versions(self, workspace_id: int, path: str, before: int, limit: int) -> list[Row]:
        """Kept versions of a path, newest first."""
        return self._db.all(
            f"""select {_VERSION} from versions where workspace_id = :workspace_id
            and path = :path and version < :before order by version desc limit :limit""",
            workspace_id=workspace_id,
            path=path,
            before=before,
            limit=limit,
        )

    def nth_newest(self, workspace_id: int, path: str, n: int) -> int:
        """The number of the nth newest kept version of a path; 0 if there are fewer."""
        row = self._db.one(
            """select version from versions where workspace_id = :workspace_id and path = :path
            order by version desc limit 1 offset :skipped""",
            workspace_id=workspace_id,
            path=path,
            skipped=n - 1,
        )
        return row["version"] if row is not None else 0

    def bytes_of_versions(self, workspace_id: int, path: str, since: int, below: int) -> int:
        """The bytes that versions between two numbers hold for themselves."""
        row = self._db.one(
            """select cast(coalesce(sum(size_bytes), 0) as bigint) as size_bytes from versions
            where workspace_id = :workspace_id and path = :path
            and version >= :since and version < :below and chain is null""",
            workspace_id=workspace_id,
            path=path,
            since=since,
            below=below,
        )
        assert row is not None
        size_bytes: int = row["size_bytes"]
        return size_bytes

    def add_segment(self, workspace_id: int, chain: int, start: int, content: Content) -> None:
        self._db.run(
            """insert into segments (workspace_id, chain, start, size_bytes, body, blob)
            values (:workspace_id, :chain, :start, :size_bytes, :body, :blob)""",
            workspace_id=workspace_id,
            chain=chain,
            start=start,
            size_bytes=content.size_bytes,
            body=content.body,
            blob=content.blob,
        )

    def chain_end(self, workspace_id: int, chain: int) -> int:
        """The length of a chain in bytes."""
        row = self._db.one(
            """select start + size_bytes as size_bytes from segments
            where workspace_id = :workspace_id and chain = :chain order by start desc limit 1""",
            workspace_id=workspace_id,
            chain=chain,
        )
        return row["size_bytes"] if row else 0

    def fork_chain(self, workspace_id: int, chain: int, new_chain: int, end: int) -> None:
        """Copy a chain's segments up to a length into a new chain."""
        self._db.run(
            """insert into segments (workspace_id, chain, start, size_bytes, body, blob)
            select workspace_id, :new_chain, start, size_bytes, body, blob from segments
            where workspace_id = :workspace_id and chain = :chain and start < :end""",
            workspace_id=workspace_id,
            chain=chain,
            new_chain=new_chain,
            end=end,
        )

    def segments(
        self, workspace_id: int, chain: int, start: int, end: int, limit: int
    ) -> list[Row]:
        """Segments that overlap ``start`` to ``end``, in order, at most ``limit``."""
        return self._db.all(
            """select start, size_bytes, body, blob from segments
            where workspace_id = :workspace_id and chain = :chain and start < :end
            and start >= (select coalesce(max(start), 0) from segments
                where workspace_id = :workspace_id and chain = :chain and start <= :start)
            order by start limit :limit""",
            workspace_id=workspace_id,
            chain=chain,
            start=start,
            end=end,
            limit=limit,
        )

    def forget_unused_chains(self, workspace_id: int) -> None:
        """Drop the segments of a workspace's chains that no kept version refers to."""
        self._db.run(
            """delete from segments where workspace_id = :workspace_id
            and not exists (select 1 from versions
            where versions.workspace_id = segments.workspace_id
            and versions.chain = segments.chain)""",
            workspace_id=workspace_id,
        )

    def uses_blob(self, name: str) -> bool:
        """Whether a version or segment of any workspace refers to a blob."""
        row = self._db.one(
            """select blob from versions where blob = :name
            union all select blob from segments where blob = :name limit 1""",
            name=name,
        )
        return row is not None

    def blobs_in_use(self) -> list[Row]:
        """The SHA-256 of every blob that a version or segment refers to, in all workspaces."""
        return self._db.all(
            """select blob from versions where blob is not null
            union select blob from segments where blob is not null"""
        )
