"""A request's way to a call, once for every surface: rate limit, identity, parameters.

A surface asks ``limit`` first, then finds out what is wanted, then has ``identify`` say by whom,
and makes a ``call`` of it for the executor. Whether that member may do it is decided in the
transaction of the call (``engine/authorization.py``).
"""

from __future__ import annotations

from fastio_cli.identity import unauthenticated
from fastio_cli.server.authentication import Authenticator
from fastio_cli.server.http import params_of, range_of, text_of
from fastio_cli.server.rate_limit import RateLimit, network_of
from fastio_cli.server.shares import Budget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.blobs.content import Content
    from fastio_cli.engine.engine import Call, Engine
    from fastio_cli.identity import Identity
    from fastio_cli.operations.operation import Operation
    from fastio_cli.server.executor import RequestExecutor
    from fastio_cli.server.request_context import RequestContext

BODIES_BYTES_MAX = 256 * 1024 * 1024  # of requests that are not small, all together
ORG_RATES = 4  # how many members' rates an org has, all its members together


class Pipeline:
    """What every request goes through before its operation runs."""

    def __init__(self, engine: Engine, executor: RequestExecutor, rate_per_s: float) -> None:
        self._engine = engine
        self._authenticator = Authenticator(executor)
        self.rate_limit = RateLimit(rate_per_s)
        self.bodies = Budget(BODIES_BYTES_MAX)
        self.org_rate_limit = RateLimit(rate_per_s * ORG_RATES)

    def limit(self, ctx: RequestContext) -> None:
        """Count a request for its member and org, whatever the token, or for its address.

        Raises ``rate_limited``. Nobody has more for having made more tokens, and nobody less for
        what a colleague was refused.
        """
        identity = self._authenticator.known(ctx.token)
        if identity is None:
            self.rate_limit.take(network_of(ctx.client))
            return
        self.rate_limit.take(f"@{identity.org}/{identity.member}")  # no address begins so
        self.org_rate_limit.take(identity.org)

    async def identify(self, ctx: RequestContext, role: str = "member") -> Identity:
        """Whose request it is. Raises ``unauthenticated`` unless ``role`` says anyone may ask."""
        identity = await self._authenticator.identify(ctx.token)
        if identity.digest is None and role != "anyone":
            raise unauthenticated()
        ctx.actor = identity.member
        await self._authenticator.touch(identity)
        return identity

    def call(
        self,
        ctx: RequestContext,
        operation: Operation,
        in_path: dict[str, str],
        identity: Identity,
        body: bytes = b"",
        content: Content | None = None,
    ) -> Call:
        """The call that an HTTP request asks for, from all its parts; ``content`` is an upload.

        A body that is not small is not to be read in the event loop.
        Raises ``invalid`` for parameters that are not what the operation takes.
        """
        params = params_of(operation, ctx, in_path, body, self._engine.compute)
        if operation.upload_param is not None:
            params[operation.upload_param] = content
        if operation.response == "bytes" and (span := range_of(ctx)) is not None:
            params["offset"], length = span
            if length is not None:
                params["length"] = length
        key = ctx.headers.get("idempotency-key")
        key = text_of(key) if key is not None else None
        call = self.prepare(ctx, operation.name, params, identity, key)
        call.raw_json = True
        return call

    def prepare(
        self,
        ctx: RequestContext,
        name: str,
        params: dict[str, object],
        identity: Identity,
        idempotency_key: str | None = None,
    ) -> Call:
        """A call of an operation in the request's workspace, its parameters checked."""
        workspace = ctx.workspace or "default"
        return self._engine.prepare(name, params, workspace, "", idempotency_key, identity=identity)
