"""Which heads of requests are refused, so that nobody before us reads a request in another way.

A proxy and a server that disagree about where a request ends, or whom it is for, let one client
speak as another (request smuggling). So what RFC 9112 calls invalid, and what we would have to
guess, is answered with an error and the connection is closed.
"""

from __future__ import annotations

import re

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

BAD_REQUEST = 400
NOT_IMPLEMENTED = 501
VERSION_NOT_SUPPORTED = 505
VERSIONS = ("1.0", "1.1")
# RFC 3986 §3.2.2 and 3.2.3: a name, an IPv4 address or an IP literal, and perhaps a port; it may
# be empty.
HOST = re.compile(rb"(\[[0-9A-Fa-fv:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(:[0-9]*)?")


class Refusal:
    """Why a request is refused, and the status that HTTP has for that."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        self.status = status
        self.error = FastioError("invalid", message, hint)


MALFORMED = Refusal(BAD_REQUEST, "This is not HTTP/1.1 as RFC 9112 has it.")
HEAD_TOO_LARGE = Refusal(BAD_REQUEST, "The request's head is too large.")


def refusal_of(
    version: str,
    method: str,
    target: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    is_upgrade: bool,
) -> Refusal | None:
    """Why a request with this head is refused; None if it is not.

    ``is_upgrade``: the parser takes what follows the head for another protocol, so a body would be
    lost, or be read as a request of its own.
    """
    if version not in VERSIONS:
        return Refusal(VERSION_NOT_SUPPORTED, "Requests are taken in HTTP/1.0 and HTTP/1.1 only.")
    codings, hosts, length = [], [], b"0"
    for name, value in headers:
        if name == b"transfer-encoding":
            codings.append(value)
        elif name == b"host":
            hosts.append(value.strip())
        elif name == b"content-length":
            length = value
    # RFC 9112 §3.2
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        return Refusal(BAD_REQUEST, "A request names its Host once.")
    if hosts and HOST.fullmatch(hosts[0]) is None:
        return Refusal(BAD_REQUEST, "The request's Host is not a name or an address.")
    if b"#" in target:  # no part of a request target: RFC 9112 §3.2
        return Refusal(BAD_REQUEST, "A request's URL has no #; write it as %23.")
    if codings and (refusal := _refused_coding(version, codings)) is not None:
        return refusal
    if method == "CONNECT":
        return Refusal(NOT_IMPLEMENTED, "This is no proxy: there is no CONNECT.")
    if is_upgrade and (codings or length.strip(b"0")):
        return Refusal(
            BAD_REQUEST,
            "A request with a body cannot ask for another protocol.",
            "Send it without Upgrade, with curl by --http1.1.",
        )
    return None


def _refused_coding(version: str, fields: Sequence[bytes]) -> Refusal | None:
    """RFC 9112 §6.1: no transfer coding in HTTP/1.0, none that is not known, chunked once."""
    if version == "1.0":
        return Refusal(BAD_REQUEST, "HTTP/1.0 has no Transfer-Encoding.")
    codings = [coding.strip().lower() for coding in b",".join(fields).split(b",")]
    if any(coding != b"chunked" for coding in codings):
        return Refusal(NOT_IMPLEMENTED, "The one Transfer-Encoding that is taken is chunked.")
    return MALFORMED if len(codings) > 1 else None
