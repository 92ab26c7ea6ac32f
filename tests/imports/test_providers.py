"""Share links, with an account and without, against the fake services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastio_cli.errors import FastioError
from fastio_cli.imports.google_pages import lead_on
from fastio_cli.imports.providers import Endpoints

from .importing import Importing
from .services import DOCX, Services

BODY = b"%PDF-1.7 the report"
LINKS = {
    "google": "https://drive.google.com/file/d/42/view?usp=sharing",
    "onedrive": "https://team.sharepoint.com/:b:/s/team/42?e=abc",
    "dropbox": "https://www.dropbox.com/scl/fi/42/report.pdf?rlkey=k&dl=0",
    "box": "https://app.box.com/s/42",
}


@pytest.fixture
def services() -> Iterator[Services]:
    services = Services()
    services.files["42"] = ("report.pdf", "application/pdf", BODY, True)
    services.files["7"] = ("secret.pdf", "application/pdf", BODY, False)
    services.files["doc"] = ("Plan", "application/vnd.google-apps.document", b"words", True)
    services.files["form"] = ("Form", "application/vnd.google-apps.form", b"", True)
    yield services
    services.close()


@pytest.fixture
def drives(tmp_path: Path, services: Services) -> Iterator[Importing]:
    allow = "127.0.0.1,127.0.0.2"
    endpoints = services.endpoints()
    importing = Importing(tmp_path / "store", egress_allow=allow, import_endpoints=endpoints)
    yield importing
    importing.engine.store.close()


@pytest.mark.parametrize("account", [False, True], ids=["public", "account"])
@pytest.mark.parametrize("service", LINKS)
def test_links_lead_to_their_files(drives: Importing, service: str, account: bool) -> None:
    if account:
        drives.tokens[service] = "at-0"
    record = drives.run(LINKS[service])
    assert record["state"] == "done", record["reason"]
    assert record["path"] == "report.pdf"
    assert record["media_type"] == "application/pdf"
    assert drives.bytes("report.pdf") == BODY


@pytest.mark.parametrize("service", LINKS)
def test_private_links_say_how_to_log_in(drives: Importing, service: str) -> None:
    record = drives.run(LINKS[service].replace("42", "7"))
    assert record["state"] == "failed"
    assert record["reason_code"] in ("forbidden", "not_found")
    if record["reason_code"] == "forbidden":
        assert f"fastio import login {service}" in record["hint"]
    drives.tokens[service] = "at-0"
    assert drives.run(LINKS[service].replace("42", "7"))["state"] == "done"


@pytest.mark.parametrize("service", LINKS)
def test_logins_that_no_longer_hold(drives: Importing, service: str) -> None:
    drives.tokens[service] = "expired"
    record = drives.run(LINKS[service])
    assert record["reason_code"] == "unauthenticated"
    assert record["hint"] == f"Log in: fastio import login {service}"
    assert "expired" not in str(record)


@pytest.mark.parametrize("service", ["google", "onedrive", "box"])
def test_files_that_are_not_there(drives: Importing, service: str) -> None:
    drives.tokens[service] = "at-0"
    assert drives.run(LINKS[service].replace("42", "404"))["reason_code"] == "not_found"


@pytest.mark.parametrize("service", LINKS)
def test_links_with_letters_of_any_kind(drives: Importing, service: str) -> None:
    drives.tokens[service] = "at-0"
    link = LINKS[service] + ("&" if "?" in LINKS[service] else "?") + "x=ü€"
    assert drives.run(link)["state"] == "done"


def test_tokens_stay_with_the_api(drives: Importing, services: Services) -> None:
    for service in LINKS:
        drives.tokens[service] = "at-0"
        drives.run(LINKS[service], to=f"{service}.pdf")
    assert services.elsewhere.requests
    for _, _, headers, _ in services.elsewhere.requests:
        assert not {k.lower() for k in headers} & {"authorization", "boxapi", "cookie"}


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("https://docs.google.com/document/d/doc/edit", "Plan.docx"),
        ("https://docs.google.com/spreadsheets/d/doc/edit#gid=0", "Plan.xlsx"),
        ("https://docs.google.com/presentation/d/doc/edit", "Plan.pptx"),
    ],
)
def test_public_documents_are_exported(drives: Importing, link: str, name: str) -> None:
    assert drives.run(link)["path"] == name
    assert drives.bytes(name) == b"exported words"


def test_documents_of_an_account_are_exported(drives: Importing) -> None:
    drives.tokens["google"] = "at-0"
    record = drives.run("https://docs.google.com/document/d/doc/edit")
    assert record["path"] == "Plan.docx"
    assert record["media_type"] == DOCX
    form = drives.run("https://drive.google.com/open?id=form")
    assert form["reason_code"] == "invalid"
    assert "no bytes" in form["reason"]


def test_resource_keys_are_passed_on(drives: Importing, services: Services) -> None:
    drives.tokens["google"] = "at-0"
    drives.run("https://drive.google.com/file/d/42/view?resourcekey=0-abc")
    assert services.site.headers("x-goog-drive-resource-keys") == ["42/0-abc", "42/0-abc"]


@pytest.mark.parametrize(
    "text", ["nonsense", "www.googleapis.com=http://x", "https://a=127.0.0.1", "https://a"]
)
def test_wrong_endpoint_maps(text: str) -> None:
    with pytest.raises(FastioError, match="not of the form"):
        Endpoints(text)


def test_endpoints_replace_an_origin_and_nothing_else() -> None:
    endpoints = Endpoints("https://a.example=http://127.0.0.1:1/a, ")
    assert endpoints.at("https://a.example/x?y=https://a.example") == (
        "http://127.0.0.1:1/a/x?y=https://a.example"
    )
    assert endpoints.at("https://a.example.evil/x") == "https://a.example.evil/x"
    assert endpoints.at("http://a.example/x") == "http://a.example/x"


@pytest.mark.parametrize(
    "link",
    [
        LINKS["google"],
        "https://drive.google.com/uc?id=42&export=download",
        "https://drive.google.com/open?id=42",
        "https://docs.google.com/uc?id=42",
        "https://drive.usercontent.google.com/download?id=42&export=download&authuser=0",
        "https://drive.usercontent.google.com/u/0/uc?id=42&export=download",
    ],
)
def test_a_warning_page_leads_on_to_the_file(
    drives: Importing, services: Services, link: str
) -> None:
    services.unscanned.add("42")
    record = drives.run(link)
    assert record["state"] == "done", record["reason"]
    assert drives.bytes("report.pdf") == BODY


def test_a_worn_out_quota_is_said_once(drives: Importing, services: Services) -> None:
    services.worn_out.add("42")
    record = drives.run(LINKS["google"])
    assert (record["state"], record["reason_code"]) == ("failed", "rate_limited")
    assert "too many" in record["reason"]
    assert len(services.site.requests) == 1


def test_a_warning_that_never_ends_is_refused(drives: Importing, services: Services) -> None:
    services.unscanned.add("42")
    services.is_confirmed = lambda h, query: False  # type: ignore[method-assign]
    assert drives.run(LINKS["google"])["state"] == "failed"
    assert len(services.site.requests) == 3


@pytest.mark.parametrize(
    "link",
    [
        "https://drive.google.com/drive/folders/1AbC?usp=sharing",
        "https://drive.google.com/drive/u/0/folders/1AbC",
        "https://drive.google.com/folderview?id=1AbC",
        "https://drive.google.com/embeddedfolderview?id=1AbC#list",
    ],
)
def test_folders_are_refused_in_plain_words(
    drives: Importing, services: Services, link: str
) -> None:
    record = drives.run(link)
    assert (record["state"], record["reason_code"]) == ("failed", "invalid")
    assert "leads to a folder" in record["reason"]
    assert services.site.requests == []


def test_a_web_page_that_is_the_file_arrives(drives: Importing, services: Services) -> None:
    services.files["42"] = ("form.html", "text/html", b"<html><input type=password>", True)
    record = drives.run(LINKS["google"])
    assert (record["state"], record["path"]) == ("done", "form.html"), record["reason"]


@pytest.mark.parametrize(
    "page",
    [
        "<form id=download-form action='https://elsewhere.example/x'>",
        "<form id=download-form action='//elsewhere.example/x'>",
        "<form id=download-form action='http://drive.example/x'>",
        "<form id=other action='/x'><input type=hidden name=a value=b>",
        "<a id=uc-download-link>",
        "<![",
        "<![foo[",
        "<form id=download-form action='http://['>",
        "",
    ],
)
def test_pages_that_lead_nowhere(page: str) -> None:
    assert lead_on("https://drive.example/download", page) is None


def test_a_warning_with_a_link() -> None:
    page = '<a id="uc-download-link" href="/uc?export=download&amp;confirm=AbC&amp;id=4">go</a>'
    assert lead_on("https://drive.example/x", page) == (
        "https://drive.example/uc?export=download&confirm=AbC&id=4"
    )


def test_a_page_of_very_many_fields_is_read_once() -> None:
    fields = "<input type=hidden name=a value=b>" * 5000
    found = lead_on("https://drive.example/x", f"<form id=download-form action=/y>{fields}")
    assert found is not None
    assert found.count("a=b") == 5000
