"""What to request for an import."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # Where a web page in place of the file leads on to, by the page's URL and text.
    LeadOn = Callable[[str, str], str | None]


class Source:
    """A request for a file. ``headers`` are sent anywhere, ``secrets`` only to the URL's origin.

    ``login`` names the service of a share link, whose answer must be the file and not a web page;
    ``lead_on`` reads such a page where the service puts one before the file.
    """

    def __init__(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        secrets: dict[str, str] | None = None,
        name: str | None = None,
        login: str | None = None,
        lead_on: LeadOn | None = None,
    ) -> None:
        self.url = url
        self.method = method
        self.headers = headers or {}
        self.secrets = secrets or {}
        self.name = name
        self.login = login
        self.lead_on = lead_on
