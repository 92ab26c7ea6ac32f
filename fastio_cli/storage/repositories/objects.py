"""SQL of objects: the head of each path, every kept version, and the segments of appended files.

``objects`` has one row a path, small and often changed. ``versions`` holds the contents. A chain is
the content of an appended file: its segments are only ever added at the end, so a version of it is
the chain's number and a length.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.blobs.content import Content
    from fastio_cli.storage.contract import Db, Row

_HEAD = """path, kind, version, etag, media_type, size_bytes, schema, author,
    created_at, updated_at, deleted"""
SLOT = "version, kind, media_type, schema, created_at, deleted"
SLOT_OF = f"select {SLOT} from objects where workspace_id = :workspace_id and path = :path"
_VERSION = """path, version, kind, etag, media_type, size_bytes, author, at, change, deleted"""
# Every write runs two of these: texts made once, and no upsert, which costs three times an update.
_HEAD_OF = f"select {_HEAD} from objects where workspace_id = :workspace_id and path = :path"
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
_HEAD_NAMES = [name.strip() for name in _HEAD.split(",")]
_CONTENT_NAMES = [*(name.strip() for name in _VERSION.split(",")), "body", "blob", "chain"]
LAST = chr(0x10FFFF)


class Objects:
    def __init__(self, db: Db) -> None:
        self._db = db

    def head(self, workspace_id: int, path: str) -> Row | None:
        """The newest state of a path, live or deleted, without its content."""
        return self._of_path(_HEAD_OF, workspace_id=workspace_id, path=path)

    def slot(self, workspace_id: int, path: str) -> Row | None:
        """What a change has to know of the head: of little use otherwise, but quickly read."""
        return self._of_path(SLOT_OF, workspace_id=workspace_id, path=path)

    def content(self, workspace_id: int, path: str, version: int) -> Row | None:
        """One kept version with its content: body, blob or chain."""
        return self._of_path(
            f"""select {_VERSION}, body, blob, chain from versions
            where workspace_id = :workspace_id and path = :path and version = :version""",
            workspace_id=workspace_id,
            path=path,
            version=version,
        )

    def live_content(self, workspace_id: int, path: str) -> Row | None:
        """The newest version of a path with its content, unless it is deleted."""
        return self._of_path(
            f"""select {_OF_HEAD}, v.body, v.blob, v.chain from objects h
            join versions v on v.workspace_id = h.workspace_id and v.path = h.path
                and v.version = h.version
            where h.workspace_id = :workspace_id and h.path = :path and h.deleted = 0""",
            workspace_id=workspace_id,
            path=path,
        )

    def _of_path(self, sql: str, **params: object) -> Row | None:
        """The row of a statement that looks at what is stored of one path."""
        return self._db.one(sql, **params)

    def write(self, columns: dict[str, object], is_new: bool) -> None:
        """Add a version and make it the head of its path, which ``is_new`` or has a head already.

        ``columns`` are those of both rows, by name.
        """
        self._db.put(ADD_VERSION, columns)
        self._db.put(ADD_HEAD if is_new else SET_HEAD, columns)

    def add_version(self, columns: dict[str, object]) -> None:
        """Add a version as a row, with its content."""
        self._db.put(ADD_VERSION, columns)

    def set_head(self, columns: Row) -> None:
        """Make a row the head of its path."""
        is_new = self.head(columns["workspace_id"], columns["path"]) is None
        self._db.put(ADD_HEAD if is_new else SET_HEAD, columns)

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

    def forget_versions(self, workspace_id: int, path: str, below: int) -> int:
        """Drop the versions below a number; the bytes they had."""
        rows = self._db.all(
            f"{DROP_VERSIONS} returning size_bytes, chain",
            workspace_id=workspace_id,
            path=path,
            below=below,
        )
        return sum(row["size_bytes"] for row in rows if row["chain"] is None)

    def usage(self, workspace_id: int) -> Row:
        """How many live objects of each kind there are, and their size without history."""
        row = self._db.one(
            """select cast(coalesce(sum(case when kind = 'state' then 1 else 0 end), 0) as bigint)
                as state_count,
            cast(coalesce(sum(case when kind = 'file' then 1 else 0 end), 0) as bigint)
                as file_count,
            cast(coalesce(sum(size_bytes), 0) as bigint) as live_bytes
            from objects where workspace_id = :workspace_id and deleted = 0""",
            workspace_id=workspace_id,
        )
        assert row is not None
        return row

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

    def blobs_in_use(self) -> list[Row]:
        """The SHA-256 of every blob that a version or segment refers to, in all workspaces."""
        return self._db.all(
            """select blob from versions where blob is not null
            union select blob from segments where blob is not null"""
        )


class KnownObjects(Objects):
    """Objects whose newest versions may be known without asking: each is the head of its path."""

    def known(self, workspace_id: int, path: str) -> Row | None:
        """The columns of a head and its content, if they are known."""
        raise NotImplementedError

    def head(self, workspace_id: int, path: str) -> Row | None:
        row = self.known(workspace_id, path)
        if row is None:
            return super().head(workspace_id, path)
        return {name: row[name] for name in _HEAD_NAMES}

    def slot(self, workspace_id: int, path: str) -> Row | None:
        return self.known(workspace_id, path) or super().slot(workspace_id, path)

    def content(self, workspace_id: int, path: str, version: int) -> Row | None:
        row = self.known(workspace_id, path)
        if row is not None and row["version"] == version:
            return {name: row[name] for name in _CONTENT_NAMES}
        return super().content(workspace_id, path, version)

    def live_content(self, workspace_id: int, path: str) -> Row | None:
        row = self.known(workspace_id, path)
        if row is None:
            return super().live_content(workspace_id, path)
        return None if row["deleted"] else row
