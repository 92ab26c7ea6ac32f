"""What an operation is: a function, its name, its HTTP route, its effect, the role it needs.

An operation is stated once, by decorating a function::

    @operation("state.patch", "PATCH /v1/workspaces/{workspace}/state/{path:path}",
               effect="write", role="editor")
    def patch(ctx: Context, *, path: ObjectPath, patch: Json) -> "Object":
        \"\"\"Merge a JSON patch into one state object.\"\"\"

Its parameters are the function's keyword-only parameters, whose annotations are rules
(``types.py``). The first line of its docstring is its help everywhere. The name of its result's
record (``model.py``) is its return annotation. Nothing else needs to be written for an operation to
exist in the engine and over HTTP.
"""

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

    F = TypeVar("F", bound=Callable[..., object])

CATALOGUE: "dict[str, Operation]" = {}


class Operation:
    """One thing fastio can do.

    ``effect`` is ``read`` or ``write``; ``role`` the least role that may do it (viewer, editor,
    admin, owner; or member: anybody with a token; or anyone). ``rules`` and ``defaults`` describe
    its parameters. Its traits say what is special about it, so that no code asks for its name:

    * ``returns_secret``: the field of the answer that is a secret. It is never kept: a repeated
      request is answered by ``replay``, which is given a context and the rest of the first answer,
      and makes the secret again or raises the error that says how to get a new one;
    * ``inline``: it reads or changes a few rows by their keys, and may run in the event loop of a
      server if the object at its path is small and each of ``outside_loop_params`` has its default,
      which are programs of the user's (queries, schemas) or reach for what may be large;
    * ``json_params``: the parameters that are JSON values, or records with such values by name;
    * ``response``: ``json`` (a record), ``bytes`` (a download) or ``chunks`` (a record that is told
      chunk by chunk to a client that streams it);
    * ``wait_param``: the parameter that says how long to wait for something to happen;
    * ``path_params``: the parameters that name objects of the workspace; one whose name with
      ``_workspace`` is a parameter too is in the workspace that this names;
    * ``workspace_param``: the parameter that names a further workspace it works in
      (:meth:`~fastio_cli.operations.context.Context.beside`);
    * ``upload_param``: the parameter that is the body of the request, as bytes;
    * ``admit``: raises, before the bytes of an upload are taken in, what would refuse the call
      after that; it is given a context to read with, their number (0 if it is not known) and the
      operation's parameters;
    * ``commutative``: it adds to what is there, so that it is right whatever was written since its
      caller last read;
    * ``destructive``: it takes away what somebody may still need; that is so of whatever is asked
      for by DELETE, unless it says otherwise;
    * ``targets_workspace``: what it reads or changes is the workspace itself;
    * ``own_token_param``: the parameter that names a token to end, which any token, however narrow,
      may do to itself;
    * ``prepare``: does what is slow, or needs transactions of its own, outside the operation's
      transaction (see :data:`UNPREPARED`).
    """

    def __init__(
        self,
        name: str,
        route: str,
        effect: str,
        role: str,
        returns_secret: str | None,
        replay: "Callable[[Any, Any], object] | None",
        inline: bool,
        response: str,
        prepare: "Callable[..., object] | None",
        own_token_param: str | None,
        admit: "Callable[..., object] | None",
        commutative: bool,
        destructive: bool | None,
        run: "Callable[..., Any]",
    ) -> None:
        self.name = name
        self.method, _, self.route = route.partition(" ")
        self.effect = effect
        self.role = role
        self.returns_secret = returns_secret
        self.replay = replay
        self.inline = inline
        self.response = response
        self.prepare = prepare
        self.own_token_param = own_token_param
        self.admit = admit
        self.commutative = commutative
        self.destructive = self.method == "DELETE" if destructive is None else destructive
        self.run = run
        self.in_workspace = "{workspace}" in route
        self.targets_workspace = route.endswith("{workspace}")
        self.rules = {
            key: rule for key, rule in run.__annotations__.items() if key not in ("ctx", "return")
        }
        self.defaults = run.__kwdefaults__ or {}
        self.wait_param = next((k for k, rule in self.rules.items() if rule.waits), None)
        self.path_params = [key for key, rule in self.rules.items() if rule.is_path]
        self.workspace_param = next((k for k, r in self.rules.items() if r.enters_workspace), None)
        self.outside_loop_params = [k for k, rule in self.rules.items() if not rule.is_inline]
        self.json_params = {
            key: rule.json_keys for key, rule in self.rules.items() if rule.json_keys is not None
        }
        self.upload_param = next((k for k, rule in self.rules.items() if rule.uploads), None)

    @property
    def help(self) -> str:
        """The first line of the docstring."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]

    @property
    def schema(self) -> "dict[str, object]":
        """Its parameters as a JSON Schema (2020-12) of one object."""
        properties = {key: dict[str, object](rule.schema) for key, rule in self.rules.items()}
        for key, default in self.defaults.items():
            properties[key]["default"] = default
        return {
            "type": "object",
            "properties": properties,
            "required": [key for key in self.rules if key not in self.defaults],
            "additionalProperties": False,
        }

    @property
    def record(self) -> "type | None":
        """The record that it returns; None if that is bytes."""
        from fastio_cli.operations.record_schema import record_of

        return record_of(self.run)

    @property
    def result_schema(self) -> "dict[str, object] | None":
        """Its result as a JSON Schema (2020-12); None if that is bytes."""
        from fastio_cli.operations.record_schema import result_schema

        return None if self.record is None else result_schema(self.record)

    def decode(
        self, params: "dict[str, object]", names: "dict[str, str] | None" = None
    ) -> "dict[str, object]":
        """Check every parameter against its rule. Raises ``invalid`` naming the parameter.

        ``names`` are what errors call parameters by instead of their own names.
        """
        decoded = dict(self.defaults)
        for key, value in params.items():
            rule = self.rules.get(key)
            if rule is None:
                raise FastioError(
                    "invalid",
                    f"{self.name} has no parameter {key!r}.",
                    f"Its parameters are: {', '.join(self.rules)}",
                )
            decoded[key] = rule.check(value, key if names is None else names.get(key, key))
        if len(decoded) != len(self.rules):
            missing = ", ".join(key for key in self.rules if key not in decoded)
            raise FastioError("invalid", f"{self.name} needs {missing}.")
        return decoded


def operation(
    name: str,
    route: str,
    *,
    effect: str,
    role: str,
    returns_secret: str | None = None,
    replay: "Callable[[Any, Any], object] | None" = None,
    inline: bool = False,
    response: str = "json",
    prepare: "Callable[..., object] | None" = None,
    own_token_param: str | None = None,
    admit: "Callable[..., object] | None" = None,
    commutative: bool = False,
    destructive: bool | None = None,
) -> "Callable[[F], F]":
    """Enter a function into the catalogue; the function itself stays as it is."""

    def enter(run: "F") -> "F":
        CATALOGUE[name] = Operation(
            name,
            route,
            effect,
            role,
            returns_secret,
            replay,
            inline,
            response,
            prepare,
            own_token_param,
            admit,
            commutative,
            destructive,
            run,
        )
        return run

    return enter


class Pending:
    """An operation's answer "not yet": commit what was done, wait, then run me again.

    ``wait_s`` bounds the waiting since the first run. It runs again after an event of the workspace
    that it ``concerns`` (every one, if that is None) when ``ready``, if there is one, says so on a
    snapshot; at ``wake_at_ms`` of the store's clock; and every ``renew_s``. When time is up,
    ``abandon`` undoes what the waiting left behind, and ``otherwise`` is raised if it is an
    exception, else returned. ``seq`` is the last event that the run saw; the engine fills it in.
    """

    def __init__(
        self,
        wait_s: float,
        otherwise: object,
        *,
        concerns: "Callable[[Row], bool] | None" = None,
        ready: "Callable[[Tx], bool] | None" = None,
        wake_at_ms: int | None = None,
        renew_s: float | None = None,
        abandon: "Callable[[Tx], None] | None" = None,
    ) -> None:
        self.wait_s = wait_s
        self.otherwise = otherwise
        self.seq = 0
        self.concerns = concerns
        self.ready = ready
        self.wake_at_ms = wake_at_ms
        self.renew_s = renew_s
        self.abandon = abandon


def about(path: str) -> "Callable[[Row], bool]":
    """Says of an event whether it concerns a path: it is of that, or of the whole workspace."""
    return lambda event: event["path"] is None or event["path"] == path


def about_any(paths: "list[str]") -> "Callable[[Row], bool]":
    """As :func:`about`, of several paths, and what is below the first if that is a folder."""
    below = paths[0] if paths[0].endswith("/") else None

    def concerns(event: "Row") -> bool:
        path = event["path"]
        is_below = below is not None and path is not None and path.startswith(below)
        return path is None or path in paths or is_below

    return concerns


class Unprepared:
    """The type of :data:`UNPREPARED`."""


#: What an operation returns, before it changes anything, when it needs what its ``prepare`` gives.
#: The engine then leaves the transaction, calls ``prepare`` with a
#: :class:`~fastio_cli.operations.context.Preparation` and the operation's parameters, and runs the
#: operation again with the result, which is never None, as ``ctx.prepared``. So the operation is
#: authorised before anything is prepared, and what is slow is done while nobody waits for it. The
#: slow part of ``ctx.compute`` in a write is prepared the same way (``engine/outside.py``).
UNPREPARED = Unprepared()
