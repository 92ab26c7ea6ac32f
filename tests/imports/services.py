"""A small fake of Google Drive, OneDrive, Dropbox and Box on loopback: what fastio asks of them.

``test_services.py`` lets the vendors' own SDKs read from it, which is what makes it worth trusting.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from .site import Handler, Site

PAGE = b"<!doctype html><html><title>Sign in</title><form><input type=password></form></html>"
QUOTA_PAGE = b"""<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head>
<body><p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. Please
try accessing the file again later.</p></body></html>"""
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


class Services:
    """``files`` by id: name, media type, bytes, and whether everybody may read it."""

    def __init__(self) -> None:
        self.site = Site()
        self.elsewhere = Site(host="127.0.0.2")  # where the bytes are: another host
        self.site.routes = self.elsewhere.routes = _Everything(self)
        self.files: dict[str, tuple[str, str, bytes, bool]] = {}
        self.access = {"at-0"}
        self.refresh: set[str] = set()
        self.codes: dict[str, dict[str, str]] = {}
        self.grants = 0
        self.device_polls: list[str] = []
        self.unscanned: set[str] = set()  # public files of Google's behind its warning page
        self.worn_out: set[str] = set()  # and those that too many have fetched

    def close(self) -> None:
        self.site.close()
        self.elsewhere.close()

    def endpoints(self) -> str:
        """The setting that leads every service here."""
        base = f"http://127.0.0.1:{self.site.port}"
        places = {
            "https://www.googleapis.com": "google-api",
            "https://drive.usercontent.google.com": "google-download",
            "https://docs.google.com": "google-docs",
            "https://accounts.google.com": "google-accounts",
            "https://oauth2.googleapis.com": "oauth/google",
            "https://graph.microsoft.com": "graph",
            "https://team.sharepoint.com": "sharepoint",
            "https://login.microsoftonline.com": "oauth/microsoft",
            "https://www.dropbox.com": "dropbox",
            "https://content.dropboxapi.com": "dropbox-content",
            "https://api.dropboxapi.com": "dropbox-api",
            "https://api.box.com": "box-api",
            "https://app.box.com": "box",
            "https://account.box.com": "box-account",
        }
        return ",".join(f"{official}={base}/{place}" for official, place in places.items())

    def answer(self, h: Handler) -> None:
        parts = urlsplit(h.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        for pattern, act in _ROUTES:
            found = re.fullmatch(pattern, unquote(parts.path))  # Microsoft's SDK writes %21 for !
            if found:
                act(self, h, query, *found.groups())
                return
        h.answer(404, b"no such route")

    def allowed(self, h: Handler) -> bool:
        token = (h.headers.get("authorization") or "").removeprefix("Bearer ")
        if token in self.access:
            return True
        error = {"code": "InvalidAuthenticationToken", "message": "Invalid Credentials"}
        _json(h, {"error": error}, 401)
        return False

    # Google

    def drive_file(self, h: Handler, query: dict[str, str], id: str) -> None:
        if not self.allowed(h):
            return
        if id not in self.files:
            _json(h, {"error": {"code": 404, "message": f"File not found: {id}."}}, 404)
            return
        name, mime, body, _ = self.files[id]
        if query.get("alt") == "media":
            self.send(h, body, mime)
        else:
            _json(h, {"id": id, "name": name, "mimeType": mime, "size": str(len(body))})

    def drive_export(self, h: Handler, query: dict[str, str], id: str) -> None:
        if self.allowed(h):
            self.send(h, b"exported " + self.files[id][2], query["mimeType"])

    def drive_public(self, h: Handler, query: dict[str, str]) -> None:
        id = query["id"]
        name, mime, body, public = self.files[id]
        if id in self.worn_out:
            h.answer(200, QUOTA_PAGE, Content_Type="text/html; charset=utf-8")
        elif id in self.unscanned and not self.is_confirmed(h, query):
            self.warn(h, id)
        elif public and query.get("confirm") == "t":
            self.send(h, body, mime, name)
        else:
            h.answer(200, PAGE, Content_Type="text/html; charset=utf-8")

    def is_confirmed(self, h: Handler, query: dict[str, str]) -> bool:
        return query.get("uuid") == "u-1" and "warned=yes" in (h.headers.get("cookie") or "")

    def warn(self, h: Handler, id: str) -> None:
        """The page as Google writes it, shortened."""
        page = f"""<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title>
<body><p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="{self.site.url("/google-download/download")}" method="get">
<input type="submit" id="uc-download-link" value="Download anyway"/>
<input type="hidden" name="id" value="{id}"><input type="hidden" name="confirm" value="t">
<input type="hidden" name="export" value="download"><input type="hidden" name="uuid" value="u-1">
</form></body></html>"""
        cookie = "warned=yes; Path=/google-download; HttpOnly"
        h.answer(200, page.encode(), Content_Type="text/html; charset=utf-8", Set_Cookie=cookie)

    def docs_public(self, h: Handler, query: dict[str, str], kind: str, id: str, end: str) -> None:
        name, _, body, public = self.files[id]
        format = query.get("format") or end.strip("/")
        if public:
            self.send(h, b"exported " + body, "application/octet-stream", f"{name}.{format}")
        else:
            h.answer(302, Location="/google-accounts/signin")

    def sign_in(self, h: Handler, query: dict[str, str]) -> None:
        h.answer(200, PAGE, Content_Type="text/html")

    # Microsoft

    def share(self, h: Handler, query: dict[str, str], encoded: str) -> None:
        if not self.allowed(h):
            return
        url = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        id = urlsplit(url).path.rpartition("/")[2]
        if id not in self.files:
            _json(h, {"error": {"code": "itemNotFound"}}, 404)
            return
        name, _, body, _ = self.files[id]
        item: dict[str, Any] = {"id": id, "name": name, "size": len(body), "file": {}}
        item["@microsoft.graph.downloadUrl"] = self.elsewhere.url(f"/bytes/{id}?tempauth=x")
        _json(h, item)

    def sharepoint(self, h: Handler, query: dict[str, str], id: str) -> None:
        name, mime, body, public = self.files[id]
        if public and query.get("download") == "1":
            self.send(h, body, mime, name)
        else:
            h.answer(200, PAGE, Content_Type="text/html")

    # Dropbox

    def dropbox_public(self, h: Handler, query: dict[str, str], id: str) -> None:
        if self.files[id][3] and query.get("dl") == "1":
            h.answer(302, Location=self.elsewhere.url(f"/bytes/{id}"))
        else:
            h.answer(200, PAGE, Content_Type="text/html")

    def dropbox_file(self, h: Handler, query: dict[str, str]) -> None:
        if not self.allowed(h):
            return
        url = json.loads(h.headers.get("dropbox-api-arg") or "{}")["url"]
        id = urlsplit(url).path.rsplit("/", 2)[1]
        name, mime, body, _ = self.files[id]
        result = {
            ".tag": "file",
            "name": name,
            "url": url,
            "id": f"id:{id}",
            "client_modified": "2026-01-01T00:00:00Z",
            "server_modified": "2026-01-01T00:00:00Z",
            "rev": "0" * 16,
            "size": len(body),
            "link_permissions": {
                **dict.fromkeys(_DROPBOX_PERMISSIONS, False),
                "visibility_policies": [],
            },
        }
        self.send(h, body, mime, extra={"Dropbox-API-Result": json.dumps(result)})

    # Box

    def shared_item(self, h: Handler, query: dict[str, str]) -> None:
        if not self.allowed(h):
            return
        link = (h.headers.get("boxapi") or "").removeprefix("shared_link=")
        id = urlsplit(link).path.rpartition("/")[2]
        if id not in self.files:
            _json(h, {"type": "error", "status": 404, "code": "not_found"}, 404)
            return
        _json(h, {"type": "file", "id": id, "name": self.files[id][0], "etag": "0"})

    def box_content(self, h: Handler, query: dict[str, str], id: str) -> None:
        if self.allowed(h):
            h.answer(302, Location=self.elsewhere.url(f"/bytes/{id}"))

    def box_public(self, h: Handler, query: dict[str, str], id: str) -> None:
        if self.files[id][3]:
            h.answer(302, Location=self.elsewhere.url(f"/bytes/{id}"))
        else:
            h.answer(404, PAGE, Content_Type="text/html")

    # What a download address gives; credentials have no business there.

    def bytes(self, h: Handler, query: dict[str, str], id: str) -> None:
        if h.headers.get("authorization"):
            h.answer(400, b"credentials arrived at another host")
            return
        name, mime, body, _ = self.files[id]
        self.send(h, body, mime, name)

    def send(
        self,
        h: Handler,
        body: bytes,
        mime: str,
        name: str | None = None,
        extra: dict[str, str] | None = None,
    ) -> None:
        headers = {"Content-Type": mime, **(extra or {})}
        if name is not None:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        h.answer(200, body, **headers)

    # OAuth

    def authorize(self, h: Handler, query: dict[str, str]) -> None:
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        back = urlencode({"code": code, "state": query["state"]})
        h.answer(302, Location=f"{query['redirect_uri']}?{back}")

    def device(self, h: Handler, query: dict[str, str]) -> None:
        where = "https://device.example"
        answer = {"device_code": "dev", "user_code": "ABCD", "verification_uri": where}
        _json(h, {**answer, "expires_in": 60, "interval": 0.01})

    def token(self, h: Handler, query: dict[str, str]) -> None:
        form = {k: v[0] for k, v in parse_qs(h.body.decode()).items()}
        if not self._granted(form):
            pending = form["grant_type"].endswith("device_code")
            _json(h, {"error": "authorization_pending" if pending else "invalid_grant"}, 400)
            return
        self.grants += 1
        access, refresh = f"at-{self.grants}", f"rt-{self.grants}"
        self.access.add(access)
        self.refresh.add(refresh)
        _json(h, {"access_token": access, "refresh_token": refresh, "expires_in": 3600})

    def _granted(self, form: dict[str, str]) -> bool:
        if form.get("client_id") != "client":
            return False
        kind = form["grant_type"]
        if kind == "refresh_token":
            known = form["refresh_token"] in self.refresh
            self.refresh.discard(form["refresh_token"])  # single use
            return known
        if kind == "authorization_code":
            asked = self.codes.pop(form["code"], {})
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            same = asked.get("redirect_uri") == form["redirect_uri"]
            return same and asked.get("code_challenge") == challenge
        self.device_polls.append(form["device_code"])
        return len(self.device_polls) > 2

    def revoke(self, h: Handler, query: dict[str, str]) -> None:
        form = {k: v[0] for k, v in parse_qs(h.body.decode()).items()}
        self.refresh.discard(form["token"])
        h.answer(200)


_DROPBOX_PERMISSIONS = (
    "can_revoke",
    "can_set_expiry",
    "can_remove_expiry",
    "allow_download",
    "can_allow_download",
    "can_disallow_download",
    "allow_comments",
    "team_restricts_comments",
)


class _Everything(dict[str, Any]):
    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services

    def get(self, key: str, default: Any = None) -> Any:
        return self.services.answer


def _json(h: Handler, value: object, status: int = 200) -> None:
    h.answer(status, json.dumps(value).encode(), Content_Type="application/json")


_ROUTES: list[tuple[str, Any]] = [
    (r"/google-api/drive/v3/files/([\w-]+)", Services.drive_file),
    (r"/google-api/drive/v3/files/([\w-]+)/export", Services.drive_export),
    (r"/google-download/download", Services.drive_public),
    (r"/google-docs/(\w+)/d/([\w-]+)/export(/\w+)?", Services.docs_public),
    (r"/google-accounts/signin", Services.sign_in),
    (r"/graph/v1.0/shares/u!([\w-]+)/driveItem", Services.share),
    (r"/sharepoint/:\w:/s/team/([\w-]+)", Services.sharepoint),
    (r"/dropbox/(?:s|scl/fi)/([\w-]+)/[^/]*", Services.dropbox_public),
    (r"/dropbox-content/2/sharing/get_shared_link_file", Services.dropbox_file),
    (r"/box-api/2.0/shared_items", Services.shared_item),
    (r"/box-api/2.0/files/(\w+)/content", Services.box_content),
    (r"/box/shared/static/(\w+)", Services.box_public),
    (r"/bytes/([\w-]+)", Services.bytes),
    (r"/(?:google-accounts|dropbox|box-account|oauth/microsoft)/.*authorize|/.*/v2/auth",
     Services.authorize),
    (r"/oauth/microsoft/.*/devicecode", Services.device),
    (r"/(?:oauth|dropbox-api|box-api)/.*token", Services.token),
    (r"/(?:oauth|dropbox-api|box-api)/.*revoke", Services.revoke),
]  # fmt: skip
