"""The vendors' own SDKs read from the fake, so that what passes against it means something."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from .services import DOCX, Services

# What the SDKs warn about is their affair.
pytestmark = pytest.mark.filterwarnings("ignore")
BODY = b"%PDF-1.7 the report"


@pytest.fixture
def services() -> Iterator[Services]:
    services = Services()
    services.files["42"] = ("report.pdf", "application/pdf", BODY, False)
    services.files["doc"] = ("Plan", "application/vnd.google-apps.document", b"words", False)
    yield services
    services.close()


def drive(services: Services, token: str = "at-0") -> Any:
    from google.oauth2.credentials import Credentials
    from googleapiclient.discovery import build

    return build(
        "drive",
        "v3",
        credentials=Credentials(token=token),
        static_discovery=True,
        client_options={"api_endpoint": services.site.url("/google-api/drive/v3/")},
    ).files()


def downloaded(request: Any) -> bytes:
    from googleapiclient.http import MediaIoBaseDownload

    target = io.BytesIO()
    reader = MediaIoBaseDownload(target, request)
    done = False
    while not done:
        _, done = reader.next_chunk()
    return target.getvalue()


def test_googles_sdk(services: Services) -> None:
    from googleapiclient.errors import HttpError

    files = drive(services)
    about = files.get(fileId="42", fields="id,name,mimeType,size", supportsAllDrives=True).execute()
    assert about == {
        "id": "42",
        "name": "report.pdf",
        "mimeType": "application/pdf",
        "size": str(len(BODY)),
    }
    assert downloaded(files.get_media(fileId="42", supportsAllDrives=True)) == BODY
    assert downloaded(files.export_media(fileId="doc", mimeType=DOCX)) == b"exported words"
    with pytest.raises(HttpError) as caught:
        files.get(fileId="404").execute()
    assert caught.value.status_code == 404


def test_dropboxs_sdk(services: Services) -> None:
    import dropbox

    class Here(dropbox.Dropbox):  # type: ignore[misc]
        def _get_route_url(self, hostname: str, route_name: str) -> str:
            return services.site.url(f"/dropbox-content/2/{route_name}")

    link = "https://www.dropbox.com/scl/fi/42/report.pdf?rlkey=k&dl=0"
    about, response = Here("at-0").sharing_get_shared_link_file(link)
    assert about.name == "report.pdf"
    assert about.size == len(BODY)
    assert response.content == BODY


def test_boxs_sdk(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    from boxsdk import Client, OAuth2
    from boxsdk.config import API

    monkeypatch.setattr(API, "BASE_API_URL", services.site.url("/box-api/2.0"))
    client = Client(OAuth2("client", "", access_token="at-0"))
    link = "https://app.box.com/s/42"
    item = client.get_shared_item(link)
    assert (item.type, item.id, item.name) == ("file", "42", "report.pdf")
    assert client.with_shared_link(link, None).file("42").content() == BODY
