"""One state object while it is changed: one change or several, and one new version of it.

What has to be there, and at which version, is checked change by change; the work on the JSON itself
is put off and done for all objects of a call at once (``documents.edit``), each read and written
once, however many changes there are.
"""

from fastio_cli.blobs.content import inline
from fastio_cli.errors import FastioError
from fastio_cli.operations import documents
from fastio_cli.operations.context import check_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastio_cli import model
    from fastio_cli.blobs.content import Content
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row

MEDIA_TYPE = "application/json"


class StateEdit:
    """The changes that a call makes to the object at a path.

    ``number`` is that of the change that comes next, None if there is but one. ``total`` is, once
    it is written, the sum of the last increment.
    """

    def __init__(
        self,
        ctx: "Context",
        path: str,
        lock_token: "str | None",
        if_version: "int | None" = None,
        number: "int | None" = None,
    ) -> None:
        self._ctx = ctx
        self.path = path
        self.number = number
        self.total: float | None = None
        self._target = ctx.begin_change(path, lock_token, if_version)
        live = self._target.live
        self._kind: str | None = live["kind"] if live is not None else None  # what stands there now
        self._schema: str | None = live["schema"] if live is not None else None
        self._changes: list[documents.Change] = []
        self._data: dict[str, object] | None = None
        self._whole: Content | None = None  # what was written last in place of all

    def go_on(self, number: int, lock_token: "str | None", if_version: "int | None") -> None:
        """Begin the next change; raises as :meth:`Context.begin_change` does."""
        self.number = number
        self._ctx.check_lock(self.path, lock_token)
        check_version(self.path, self._version, if_version)

    @property
    def exists(self) -> bool:
        """Whether there is an object, after the changes so far."""
        return self._kind is not None

    def set(
        self, value: "Content", at: "str | None" = None, schema: "Content | None" = None
    ) -> None:
        """Write the object, or the value at a pointer inside it."""
        if at:
            self._need_state()
            self._change("set", "assign", (at, value.body), {"at": at})
        else:
            self._refuse_file()
            self._replace("set", value)
        if schema is not None and schema.body is not None:
            self._schema = schema.body.decode()

    def init(self, value: "Content", schema: "Content | None" = None) -> None:
        """Write the object if there is none."""
        if self.exists:
            self._need_state()
            return
        self._replace("init", value)
        if schema is not None and schema.body is not None:
            self._schema = schema.body.decode()

    def patch(self, patch: "Content", format: str = "merge") -> None:
        """Change parts of the object."""
        self._need_state()
        self._change("patch", format, (patch.body,))

    def append(self, value: "Content", at: "str | None" = None, create: bool = False) -> None:
        """Append to an array in the object; ``create`` begins it where nothing is."""
        self._need_or_begin("append", at, create)
        self._change("append", "append", (at, value.body, create), {"at": at} if at else None)

    def increment(
        self, at: "str | None" = None, by: "int | float" = 1, create: bool = False
    ) -> None:
        """Add to a number in the object; ``create`` begins it where nothing is."""
        self._need_or_begin("increment", at, create)
        self._change("increment", "increment", (at, by, create), {"at": at} if at else None)

    def update(self, expression: str, default: "Content | None" = None) -> None:
        """Replace the object by what an expression makes of it, or of the default."""
        body = default.body if default is not None else None
        if body is None or self.exists:
            self._need_state()
        self._change("update", "update", (expression, body))
        self._kind = "state"

    def delete(self) -> None:
        """Delete the object."""
        if not self.exists:
            raise self._ctx.not_found(self.path, self._target.head)
        self._change("delete", "delete", ())
        self._kind = self._schema = None

    def _change(
        self,
        verb: str,
        kind: str,
        args: "tuple[object, ...]",
        data: "dict[str, object] | None" = None,
    ) -> None:
        self._changes.append((self.number, verb, kind, args))
        self._data = data

    def _replace(self, verb: str, value: "Content") -> None:
        self._change(verb, "replace", (value.body,))
        self._kind, self._whole = "state", value

    def _need_or_begin(self, verb: str, at: "str | None", create: bool) -> None:
        """Raise as ``_need_state`` does, unless the verb may begin the object."""
        if self.exists or not create:
            self._need_state(verb, at)
        self._kind = "state"

    def _need_state(self, verb: "str | None" = None, at: "str | None" = None) -> None:
        """Raise ``not_found`` where nothing stands, ``invalid`` where a file does.

        ``verb`` is one that can begin the object, as the hint says then.
        """
        if self._kind is None:
            error = self._ctx.not_found(self.path, self._target.head)
            if verb is not None:
                error.hint = f"Begin it: {_command(verb, self.path, at)} --create"
            elif self._target.head is None:
                error.hint = f"Create it first: {_command('init', self.path)} '{{}}'"
            raise error
        if self._kind != "state":
            raise not_a_state_object(self.path)

    def _refuse_file(self) -> None:
        if self._kind == "file":
            raise FastioError(
                "invalid",
                f"{self.path} is a file; it cannot become a state object.",
                f"Choose another path, or delete it first: fastio file delete {self.path}",
                path=self.path,
            )

    @property
    def _version(self) -> int:
        """The version that the object has after the changes so far; 0 if there is none."""
        head = self._target.head
        before: int = head["version"] if head is not None else 0
        return (before + bool(self._changes)) if self.exists else 0

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to write. What was made and deleted at once never was."""
        return bool(self._changes) and (self.exists or self._target.live is not None)

    @property
    def needs_work(self) -> bool:
        """Whether the JSON has to be looked at for what is written."""
        if len(self._changes) == 1:
            kind = self._changes[0][2]
            return kind != "delete" and (kind != "replace" or self._schema is not None)
        return bool(self._changes)

    @property
    def read_bytes(self) -> int:
        """How much has to be read to do it."""
        live = self._target.live
        is_read = live is not None and self._changes[0][2] not in ("replace", "delete")
        return live["size_bytes"] if live is not None and is_read else 0

    def edited(self) -> "documents.Edited":
        """What is to be done, as ``documents.edit`` takes it."""
        live = self._target.live
        version = live["version"] if live is not None else 0
        body = body_of(self._ctx.content(self.path, version)) if self.read_bytes else None
        schema = self._schema.encode() if self.exists and self._schema is not None else None
        return self.path, version, body, tuple(self._changes), schema

    def write(self, body: "bytes | None") -> "model.Object":
        """Write the one new version, with this body; None where what was written last stands."""
        several = {"changes": len(self._changes)} if len(self._changes) > 1 else None
        if not self.exists:
            return self._ctx.write_deletion(self._target, "delete", several)
        content = self._whole
        if content is None or body not in (None, content.body):
            assert body is not None
            content = inline(body)
        return self._ctx.write_version(
            self._target,
            change="transact" if several else self._changes[0][1],
            kind="state",
            content=content,
            media_type=MEDIA_TYPE,
            schema=self._schema,
            data=several or self._data,
        )


def _command(verb: str, path: str, at: "str | None" = None) -> str:
    """How a state object is changed at the command line."""
    from shlex import quote

    value = " VALUE" if verb == "append" else ""
    where = f" --at {quote(at)}" if at else ""
    return f"fastio state {verb} {quote(path)}{value}{where}"


def work_on(ctx: "Context", edits: "Iterable[StateEdit]") -> "dict[str, bytes | None]":
    """Make the changes of all edits to the JSON, as far as that is needed; new bodies by path.

    Raises ``too_large`` if that is too much for one call, and what the changes raise.
    """
    # What was made and deleted at once is looked at too: a change in between may be wrong.
    working = [edit for edit in edits if edit.needs_work]
    if not working:
        return {}
    if sum(edit.read_bytes for edit in working) > documents.EDITED_BYTES_MAX:
        raise documents.too_much_at_once()
    bodies = {}
    results = ctx.compute(documents.edit, tuple(edit.edited() for edit in working))
    for edit, (body, total) in zip(working, results, strict=True):
        bodies[edit.path], edit.total = body, total
    return bodies


def write_edits(ctx: "Context", edits: "Sequence[StateEdit]") -> "list[model.Object]":
    """Write each object that edits change. Raises as :func:`work_on` does."""
    bodies = work_on(ctx, edits)
    return [edit.write(bodies.get(edit.path)) for edit in edits if edit.is_changed]


def body_of(row: "Row") -> bytes:
    """The text of a version that is a state object."""
    if row["deleted"]:
        raise FastioError(
            "not_found",
            f"Version {row['version']} of {row['path']} is a deletion.",
            f"See its history: fastio state history {row['path']}",
            path=row["path"],
        )
    if row["kind"] != "state":
        raise not_a_state_object(row["path"])
    body: bytes = row["body"]
    return body


def not_a_state_object(path: str) -> FastioError:
    """The error for a file where a state object is wanted."""
    return FastioError(
        "invalid",
        f"{path} is a file, not a state object.",
        f"Read it as a file: fastio file get {path}",
        path=path,
    )
