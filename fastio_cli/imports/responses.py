"""Responses without the file that was asked for: error statuses, web pages, login pages."""

from __future__ import annotations

import re

from fastio_cli.egress.client import as_fastio_errors
from fastio_cli.egress.rules import redact_url
from fastio_cli.errors import FastioError
from fastio_cli.imports.decode import coding_names, decoded
from fastio_cli.imports.source import Source
from fastio_cli.retry import parse_retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    import httpx

PAGE_BYTES_MAX = 256 * 1024
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


def page_onward(source: Source, response: httpx.Response) -> Source | None:
    """What to request instead, if the response is a page of a service that leads on to the file.

    Raises the error that such a page states.
    """
    if source.lead_on is None or not _is_page(source, response):
        return None
    url = source.lead_on(str(response.url), _text(response))
    if url is None:
        return None
    return Source(
        url, headers=source.headers, name=source.name, login=source.login, lead_on=source.lead_on
    )


def _text(response: httpx.Response) -> str:
    """The beginning of a page."""
    body = b""
    codings = coding_names(response.headers.get("content-encoding", ""))
    with as_fastio_errors(str(response.url)):
        for chunk in decoded(response.iter_raw(), codings):
            body += chunk
            if len(body) > PAGE_BYTES_MAX:
                break
    return body[:PAGE_BYTES_MAX].decode("utf-8", "replace")


def refuse_page(source: Source, response: httpx.Response) -> None:
    """Raise if a share link answers with a web page: then the file is private or gone."""
    if source.login is not None and _is_page(source, response):
        raise FastioError(
            "forbidden",
            f"{sender(response)} answered with a web page instead of the file: the link is not "
            "public, or no longer valid.",
            f"Open it to everybody with the link, or log in: fastio import login {source.login}",
        )


def refuse_login(source: Source, response: httpx.Response, head: bytes) -> None:
    """Raise if the response is a login page, or a web page instead of the file."""
    if _is_attachment(response) or (not _is_html(response) and b"<html" not in head.lower()):
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


def _is_attachment(response: httpx.Response) -> bool:
    """Whether the sender says that this is a file to be saved, which it says of no page."""
    disposition: str = response.headers.get("content-disposition", "")
    return disposition.strip().lower().startswith("attachment")


def _is_page(source: Source, response: httpx.Response) -> bool:
    """Whether a share link is answered with a web page in place of its file."""
    is_file = _is_attachment(response) or _asks_for_html(source)
    return _is_html(response) and not is_file


def _asks_for_html(source: Source) -> bool:
    return (source.name or "").lower().endswith((".html", ".htm"))
