"""Pages that Google Drive answers with where a file was asked for.

Before a file that is too large for its virus scan it puts a page with a form; instead of one that
was fetched too often, a page that says so.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Attributes = list[tuple[str, str | None]]

_QUOTA = re.compile(
    r"Quota exceeded|Too many users have (?:viewed or downloaded|recently)|"
    r"download quota for this file",
    re.I,
)


def lead_on(page_url: str, page: str) -> str | None:
    """Where the warning page of Google's virus scan leads on to; None for any other page.

    Raises ``rate_limited`` for the page about the file's quota. Nothing leads to another server.
    """
    try:
        target = _target(page)
        if target is not None:
            joined = urljoin(page_url, target)
            return joined if urlsplit(joined)[:2] == urlsplit(page_url)[:2] else None
    except (AssertionError, ValueError):  # markup, or an address, that nobody writes
        return None
    if _QUOTA.search(page):
        raise FastioError(
            "rate_limited",
            "Google Drive gives this file to nobody for now: too many have fetched it lately.",
            "Try again in a day, or put a copy of it into a Drive of your own and log in: "
            "fastio import login google",
            transient=False,  # it lasts for hours
        )
    return None


def _target(page: str) -> str | None:
    warning = _Warning()
    warning.feed(page)
    return warning.target


class _Warning(HTMLParser):
    """What the page of the virus scan says of the file."""

    def __init__(self) -> None:
        super().__init__()
        self._link: str | None = None
        self._action: str | None = None
        self._fields: list[tuple[str, str]] = []
        self._is_in_form = False

    @property
    def target(self) -> str | None:
        """Where the form ``download-form`` leads, or the link ``uc-download-link``."""
        if self._action is None:
            return self._link
        parts = urlsplit(self._action)
        query = urlencode([*parse_qsl(parts.query), *self._fields])
        return parts._replace(query=query).geturl()

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        """Note the form, its hidden fields, and the link."""
        named = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._is_in_form = named.get("id") in ("download-form", "downloadForm")
            if self._is_in_form:
                self._action, self._fields = named.get("action", ""), []
        elif tag == "input" and self._is_in_form and named.get("type") == "hidden":
            self._fields.append((named.get("name", ""), named.get("value", "")))
        elif tag == "a" and named.get("id") == "uc-download-link":
            self._link = named.get("href")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_in_form = False
