"""HTTP and the engine's terms: what a request asks for, and how an outcome is answered.

Headers: ``If-Match`` and ``If-None-Match: *`` are ``if_version`` (RFC 9110), ``Lock-Token`` is
``lock_token``, ``Idempotency-Key`` the key, ``Range`` an offset and a length. Secrets come in
headers or bodies, never in a URL, which ends up in logs.
"""

from __future__ import annotations

import logging
import re
from urllib.parse import unquote, unquote_plus

from fastio_cli.errors import FastioError
from fastio_cli.operations.documents import read_params
from fastio_cli.server.responses import ENVELOPE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from fastio_cli.operations.operation import Operation
    from fastio_cli.server.request_context import RequestContext


ENVELOPE_DEPTH = 1
SECRETS = ("lock_token", "to_lock_token", "claim")  # which no URL may hold
IN_HEADERS = {"lock_token": "lock-token"}
ETAG = re.compile(r'"([0-9]{1,16})(?:-[0-9a-f]{1,64})?"')
RANGE = re.compile(r"bytes=([0-9]{1,16})-([0-9]{0,16})")
MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)


def params_of(
    operation: Operation,
    ctx: RequestContext,
    in_path: dict[str, str],
    body: bytes,
    compute: Callable[..., object],
) -> dict[str, object]:
    """The parameters of a call, each from the one place where it may stand."""
    params = _body_params(operation, ctx, body, compute) if body else {}
    if ctx.query:
        for name, text in query_of(ctx.query):
            if name in SECRETS:
                raise FastioError("invalid", f"{name} is a secret and must not stand in a URL.")
            rule = operation.rules.get(name)
            _add(params, name, rule.read(text, name) if rule is not None else text)
    for name, text in in_path.items():
        _add(params, name, operation.rules[name].read(text, name))
    for name, value in _header_params(operation, ctx):
        _add(params, name, value)
    return params


def query_of(query: bytes) -> list[tuple[str, str]]:
    """The fields of a query string. Raises ``invalid`` when it is not UTF-8."""
    fields = []
    try:
        for field in query.decode("ascii").split("&"):
            name, _, value = field.partition("=")
            if field:
                fields.append(
                    (unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict"))
                )
    except UnicodeDecodeError:
        raise FastioError("invalid", "The URL is not valid UTF-8.") from None
    return fields


def _body_params(
    operation: Operation, ctx: RequestContext, body: bytes, compute: Callable[..., Any]
) -> dict[str, object]:
    media_type = ctx.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise FastioError("invalid", "The body must be JSON, as Content-Type: application/json.")
    params: dict[str, object] = compute(
        read_params, body, ENVELOPE_BYTES, ENVELOPE_DEPTH, operation.json_params
    )
    return params


def _add(params: dict[str, object], name: str, value: object) -> None:
    if name in params:
        raise FastioError("invalid", f"{name} is given twice.")
    params[name] = value


def _header_params(operation: Operation, ctx: RequestContext) -> Iterator[tuple[str, object]]:
    headers = ctx.headers
    for name, header in IN_HEADERS.items():
        if header in headers:
            if name not in operation.rules:
                raise FastioError("invalid", f"{operation.name} takes no {header} header.")
            yield name, text_of(headers[header])
    if "if_version" in operation.rules:
        unless = headers.get("if-none-match")
        if unless is not None and (unless.strip() != "*" or "if-match" in headers):
            # A precondition that is not understood must not be ignored.
            raise FastioError("invalid", "A change takes If-None-Match alone, and only as *.")
        if "if-match" in headers:
            match = ETAG.fullmatch(headers["if-match"].strip())
            if match is None:
                raise FastioError("invalid", "If-Match must be one ETag that fastio gave out.")
            yield "if_version", int(match[1])
        elif unless is not None:
            yield "if_version", 0


def text_of(header: str) -> str:
    """A text in a header: percent-encoded where it is not plain ASCII."""
    return unquote(header, errors="replace") if "%" in header else header


def etag_of(record: object) -> str | None:
    """The ETag of what was read or written: its version, and the beginning of its hash."""
    if isinstance(record, dict) and "etag" in record and "version" in record:
        return f'"{record["version"]}-{record["etag"][:16]}"'
    return None


def is_known(ctx: RequestContext, etag: str | None) -> bool:
    """Whether a reader has what has this ETag already (RFC 9110 §13.1.2: compared weakly)."""
    if etag is None or ctx.method not in ("GET", "HEAD"):
        return False
    known = [tag.strip() for tag in ctx.headers.get("if-none-match", "").split(",")]
    return known == ["*"] or etag in (tag.removeprefix("W/") for tag in known)


def range_of(ctx: RequestContext) -> tuple[int, int | None] | None:
    """Offset and length of a single byte range; others are ignored, as RFC 9110 allows.

    So is one with ``If-Range``: what it is to be a part of is not known yet.
    """
    if ctx.method != "GET" or "if-range" in ctx.headers:
        return None
    match = RANGE.fullmatch(ctx.headers.get("range", "").strip().lower())
    if match is None:
        return None
    start, end = int(match[1]), match[2]
    if not end:
        return start, None
    return None if int(end) < start else (start, int(end) - start + 1)


def internal(error: Exception, request_id: str) -> FastioError:
    """An unknown failure: the log gets the traceback, the client an id to ask about."""
    logging.getLogger("fastio").error("request %s failed", request_id, exc_info=error)
    return FastioError(
        "internal",
        "Something went wrong in the server.",
        f"Tell its operator the request's id: {request_id}",
        request_id=request_id,
    )
