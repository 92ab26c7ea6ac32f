"""What to request for an import."""

from __future__ import annotations


class Source:
    """A request for a file. ``headers`` are sent anywhere, ``secrets`` only to the URL's origin.

    ``login`` names the service of a share link, whose answer must be the file and not a web page.
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
    ) -> None:
        self.url = url
        self.method = method
        self.headers = headers or {}
        self.secrets = secrets or {}
        self.name = name
        self.login = login
