"""Responses without the file that was asked for: error statuses, web pages, login pages."""

from __future__ import annotations

import re

from fastio_cli.egress.rules import redact_url
from fastio_cli.errors import FastioError
from fastio_cli.retry import parse_retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    import httpx

    from fastio_cli.imports.source import Source

_HTML = ("text/html", "application/xhtml+xml")
_SIGN_IN = re.compile(r"(^|[/.])(log-?in|sign-?in|sso|oauth2?|saml2?|auth)([/.]|$)", re.I)
_FILE_EXTENSIONS = {
    "pdf", "csv", "tsv", "json", "jsonl", "zip", "gz", "tar", "png", "jpg", "jpeg", "gif", "webp",
    "xlsx", "docx", "pptx", "parquet", "mp3", "mp4", "bin", "epub",
}  # fmt: skip


def status_error(source: Source, response: httpx.Response) -> FastioError:
    """The error for a response with another status than success."""
    status, at = response.status_code, sender(response)
    login = f"fastio import login {source.login}" if source.login else ""
    if status == 401:
        hint = f"Log in: {login}" if login else "Pass credentials with --header-file FILE"
        return FastioError("unauthenticated", f"{at} asks for a login (401).", hint, status=status)
    if status == 403:
        hint = f"Log in: {login}" if login else "Pass credentials with --header-file FILE"
        return FastioError("forbidden", f"{at} does not allow it (403).", hint, status=status)
    if status in (404, 410):
        return FastioError(
            "not_found", f"{at} has no such file ({status}).", "Check the URL.", status=status
        )
    if status in (408, 425, 429) or status >= 500:
        code = "rate_limited" if status == 429 else "unavailable"
        return FastioError(
            code,
            f"{at} answered {status} {response.reason_phrase}".rstrip() + ".",
            "Try again later: fastio import retry ID",
            status=status,
            retry_after_s=parse_retry_after(response.headers.get("retry-after")),
        )
    return FastioError(
        "invalid", f"{at} answered {status} instead of the file.", "Check the URL.", status=status
    )


def refuse_page(source: Source, response: httpx.Response) -> None:
    """Raise if a share link answers with a web page: then the file is private or gone."""
    if source.login is not None and _is_html(response) and not _asks_for_html(source):
        raise FastioError(
            "forbidden",
            f"{sender(response)} answered with a web page instead of the file: the link is not "
            "public, or no longer valid.",
            f"Open it to everybody with the link, or log in: fastio import login {source.login}",
        )


def refuse_login(source: Source, response: httpx.Response, head: bytes) -> None:
    """Raise if the response is a login page, or a web page instead of the file."""
    if not _is_html(response) and b"<html" not in head.lower():
        return
    page = head.lower()
    moved = str(response.url).partition("?")[0] != source.url.partition("?")[0]
    extension = source.url.partition("?")[0].rpartition("/")[2].rpartition(".")[2].lower()
    wanted_other = extension in _FILE_EXTENSIONS
    asks = b'type="password"' in page or b"type='password'" in page or b"type=password" in page
    at_sign_in = _SIGN_IN.search(f"{response.url.host}{response.url.path}") is not None
    if asks or (moved and at_sign_in) or (wanted_other and _is_html(response)):
        what = "a login page" if asks or at_sign_in else "a web page"
        raise FastioError(
            "forbidden",
            f"{sender(response)} answered with {what} instead of the file.",
            "Pass credentials with --header-file FILE, or use a link that needs none.",
        )


def declared_type(response: httpx.Response) -> str:
    declared: str = response.headers.get("content-type", "")
    return declared.partition(";")[0].strip().lower()


def sender(response: httpx.Response) -> str:
    return redact_url(response.url)


def _is_html(response: httpx.Response) -> bool:
    return declared_type(response) in _HTML


def _asks_for_html(source: Source) -> bool:
    return (source.name or "").lower().endswith((".html", ".htm"))
