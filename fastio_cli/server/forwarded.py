"""Who the client is where proxies stand before the server.

Each proxy appends the address of who spoke to it to ``X-Forwarded-For``; what stands before that
may be made up by the client. With ``N`` proxies the client's address is therefore the N-th from the
right. Who connects to us is taken for the last of the proxies: a server that is behind proxies must
be reached through them alone (over a Unix socket, where a peer has no address, nobody else can).
"""

from __future__ import annotations

import ipaddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

FORWARDED_FOR = b"x-forwarded-for"


class Forwarded:
    """An application behind ``proxies`` proxies, at least one."""

    def __init__(self, app: ASGIApp, proxies: int) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as its client's instead of the last proxy's."""
        if scope["type"] == "http":
            fields = [value for name, value in scope["headers"] if name == FORWARDED_FOR]
            address = client_of(b",".join(fields).decode("latin-1"), self._proxies)
            if address is not None:
                scope["client"] = (address, 0)
            scope["server"] = None  # that a proxy reached us here says nothing of its clients
        await self._app(scope, receive, send)


def client_of(forwarded_for: str, proxies: int) -> str | None:
    """The client's address by what the proxies say; None if they say none that is one.

    A request that came through fewer proxies is of whoever spoke to the first of them.
    """
    entries = forwarded_for.split(",")
    entry = entries[-min(proxies, len(entries))].strip()
    if entry.startswith("["):  # [2001:db8::1]:4711
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:  # 192.0.2.1:4711
        entry = entry.partition(":")[0]
    try:
        return str(ipaddress.ip_address(entry))
    except ValueError:
        return None
