"""Share links of Google Drive, OneDrive/SharePoint, Dropbox and Box, resolved to their files.

A link opens a page for people; the file is elsewhere. Without a login a public link is turned into
the service's download URL; with a login its API is asked. All addresses of the services are in this
module, and a map of addresses (``Endpoints``) can replace any of them.
"""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

from fastio_cli.egress.headers import header_value
from fastio_cli.egress.rules import redact_url
from fastio_cli.errors import FastioError
from fastio_cli.imports.google_pages import lead_on
from fastio_cli.imports.responses import status_error
from fastio_cli.imports.source import Source
from fastio_cli.json_text import foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastio_cli.egress.client import Egress

    # The access token for a service, or None without a login.
    TokenOf = Callable[[str], str | None]

GOOGLE_API = "https://www.googleapis.com"
GOOGLE_DOWNLOAD = "https://drive.usercontent.google.com"
GOOGLE_DOCS = "https://docs.google.com"
MICROSOFT_API = "https://graph.microsoft.com"
DROPBOX_CONTENT = "https://content.dropboxapi.com"
BOX_API = "https://api.box.com"

# Google's own formats have no bytes: they are exported. (document type, extension, media type)
_EXPORTS = {
    "document": ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    "spreadsheets": ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    "presentation": (
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
}
_NATIVE = {"document": "document", "spreadsheet": "spreadsheets", "presentation": "presentation"}
_GOOGLE_TYPE = "application/vnd.google-apps."


class Endpoints:
    """Replacements of addresses: ``https://official=https://other, …`` as text. ``invalid``
    when it is not of that form."""

    def __init__(self, text: str = "") -> None:
        self._map: dict[str, str] = {}
        for entry in text.split(","):
            official, equals, other = entry.strip().partition("=")
            if entry.strip():
                if not equals or "://" not in official or "://" not in other:
                    raise FastioError(
                        "invalid",
                        f"import_endpoints: {entry.strip()!r} is not of the form ADDRESS=ADDRESS.",
                    )
                self._map[official.rstrip("/")] = other.rstrip("/")

    def at(self, url: str) -> str:
        """The URL, at another address if its own is replaced."""
        parts = urlsplit(url)
        other = self._map.get(f"{parts.scheme}://{parts.netloc}")
        return url if other is None else other + url.split(parts.netloc, 1)[1]


class Services:
    """Turns share links into sources. ``token_of`` gives the access token of a service."""

    def __init__(self, egress: Egress, endpoints: Endpoints, token_of: TokenOf) -> None:
        self._egress = egress
        self._endpoints = endpoints
        self._token_of = token_of

    def source(self, url: str) -> Source:
        """What to fetch for a URL: the URL itself unless it is a share link.

        Raises ``blocked_url`` or ``invalid`` for a URL that is not fetched.
        """
        url = str(self._egress.rules.check_url(url))  # in ASCII, as headers need it
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        for pattern, find in _HOSTS:
            if re.fullmatch(pattern, host):
                source = find(self, url, parts)
                if source is not None:
                    source.url = self._endpoints.at(source.url)
                    return source
        return Source(url)

    def google(self, url: str, parts: Any) -> Source | None:
        """Files of Drive, and Docs, Sheets and Slides by export."""
        query = parse_qs(parts.query)
        if re.search(r"/(folders/|folderview|embeddedfolderview)", parts.path):
            raise _folder(url)
        found = re.match(
            r"/(?:a/[^/]+/)?(file|document|spreadsheets|presentation)/(?:u/\d+/)?d/([\w-]+)",
            parts.path,
        )
        kind = found[1] if found else "file"
        id = found[2] if found else (query.get("id") or [""])[0]
        if not re.fullmatch(r"[\w-]+", id, re.ASCII) or "/d/e/" in parts.path:
            return None
        key = header_value((query.get("resourcekey") or [""])[0], "The link's resource key")
        token = self._token_of("google")
        if token is not None:
            return self._google_file(id, key, token, kind)
        if kind != "file":
            path = f"{GOOGLE_DOCS}/{kind}/d/{id}/export"
            if kind == "presentation":
                return Source(f"{path}/pptx", login="google")
            return Source(f"{path}?format={_EXPORTS[kind][0]}", login="google")
        wanted = {"id": id, "export": "download", "confirm": "t"}
        wanted |= {"resourcekey": key} if key else {}
        download = f"{GOOGLE_DOWNLOAD}/download?{urlencode(wanted)}"
        return Source(download, login="google", lead_on=lead_on)

    def _google_file(self, id: str, key: str, token: str, kind: str) -> Source:
        secrets = {"Authorization": f"Bearer {token}"}
        if key:
            secrets["X-Goog-Drive-Resource-Keys"] = f"{id}/{key}"
        base = f"{GOOGLE_API}/drive/v3/files/{quote(id)}"
        fields = "id,name,mimeType,size"
        about = self._ask(f"{base}?fields={fields}&supportsAllDrives=true", secrets, "google")
        name, mime = str(about.get("name") or ""), str(about.get("mimeType") or "")
        if not mime.startswith(_GOOGLE_TYPE):
            url = f"{base}?alt=media&supportsAllDrives=true"
            return Source(url, secrets=secrets, name=name, login="google")
        if mime == f"{_GOOGLE_TYPE}folder":
            raise _folder(name)
        kind = _NATIVE.get(mime.removeprefix(_GOOGLE_TYPE), "")
        if kind not in _EXPORTS:
            raise FastioError(
                "invalid",
                f"{name} is a {mime.removeprefix(_GOOGLE_TYPE)} of Google's, which has no bytes.",
                "Share a file, a document, a sheet or a presentation.",
            )
        extension, exported = _EXPORTS[kind]
        url = f"{base}/export?mimeType={quote(exported, safe='')}"
        return Source(url, secrets=secrets, name=f"{name}.{extension}", login="google")

    def microsoft(self, url: str, parts: Any) -> Source | None:
        """OneDrive and SharePoint sharing links."""
        token = self._token_of("onedrive")
        if token is None:
            query = [p for p in parts.query.split("&") if p and not p.startswith("download=")]
            query.append("download=1")
            public = urlunsplit((parts.scheme, parts.netloc, parts.path, "&".join(query), ""))
            return Source(public, login="onedrive")
        encoded = base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
        item = self._ask(
            f"{MICROSOFT_API}/v1.0/shares/u!{encoded}/driveItem",
            {"Authorization": f"Bearer {token}", "Prefer": "redeemSharingLinkIfNecessary"},
            "onedrive",
        )
        download = item.get("@microsoft.graph.downloadUrl")
        if not isinstance(download, str):
            raise _folder(url)
        return Source(download, name=str(item.get("name") or ""), login="onedrive")

    def dropbox(self, url: str, parts: Any) -> Source | None:
        """Dropbox shared links."""
        if not re.match(r"/(s|scl|sh)/", parts.path):
            return None
        token = self._token_of("dropbox")
        if token is None:
            query = [p for p in parts.query.split("&") if p and not p.startswith(("dl=", "raw="))]
            query.append("dl=1")
            public = urlunsplit((parts.scheme, parts.netloc, parts.path, "&".join(query), ""))
            return Source(public, login="dropbox")
        return Source(
            f"{DROPBOX_CONTENT}/2/sharing/get_shared_link_file",
            method="POST",
            secrets={
                "Authorization": f"Bearer {token}",
                "Dropbox-API-Arg": json.dumps({"url": url}),
            },
            name=parts.path.rpartition("/")[2],
            login="dropbox",
        )

    def box(self, url: str, parts: Any) -> Source | None:
        """Box shared links."""
        found = re.match(r"/(?:s|v)/([\w-]+)", parts.path)
        if found is None:
            return None
        token = self._token_of("box")
        if token is None:
            public = f"{parts.scheme}://{parts.netloc}/shared/static/{found[1]}"
            return Source(public, login="box")
        secrets = {"Authorization": f"Bearer {token}", "boxapi": f"shared_link={url}"}
        item = self._ask(f"{BOX_API}/2.0/shared_items?fields=id,name,type", secrets, "box")
        if item.get("type") != "file" or not str(item.get("id")).isdecimal():
            raise _folder(url)
        return Source(
            f"{BOX_API}/2.0/files/{item['id']}/content",
            secrets=secrets,
            name=str(item.get("name") or ""),
            login="box",
        )

    def _ask(self, url: str, secrets: dict[str, str], service: str) -> dict[str, Any]:
        """A small JSON answer of a service's API. Raises the error for any other answer."""
        response = self._egress.read(
            self._endpoints.at(url), secrets=secrets, headers={"Accept": "application/json"}
        )
        if response.status_code != 200:
            raise status_error(Source(url, login=service), response)
        try:
            answer = foreign(response.content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise FastioError(
                "unavailable", f"{redact_url(url)} answered with something unreadable."
            )
        return answer


def _folder(place: str) -> FastioError:
    """The error for a link to a folder: ``place`` is its URL, or its name."""
    what = redact_url(place) if "://" in place else place
    return FastioError(
        "invalid",
        f"{what} leads to a folder, not to a file.",
        "Share each file in it and import their links: fastio import LINK LINK",
    )


_HOSTS = (
    (r"(drive|docs|drive\.usercontent)\.google\.com", Services.google),
    (r"1drv\.ms|onedrive\.live\.com|[\w-]+(-my)?\.sharepoint\.com", Services.microsoft),
    (r"(www\.)?dropbox\.com", Services.dropbox),
    (r"([\w-]+\.)*box\.com", Services.box),
)
