"""Documents of rich formats: their text is read, and hostile ones only harm themselves."""

from __future__ import annotations

import io
import zipfile

import openpyxl
import pypdfium2
import pytest

from fastio_cli.intelligence import documents

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def packed(**parts: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in parts.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), body)
    return data.getvalue()


def word(*paragraphs: str) -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{p}</w:t></w:r></w:p>" for p in paragraphs)
    xml = f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
    return packed(word__document_xml=xml.encode())


def texts(suffix: str, data: bytes) -> str:
    found, problem = documents.passages(suffix, data)
    assert problem is None
    return "\n".join(p.text for p in found)


def pdf(objects: list[str], trailer: str = "") -> bytes:
    """A PDF file of these objects, numbered from 1; the first is the catalogue."""
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode()
    start = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    data += b"".join(f"{offset:010} 00000 n \n".encode() for offset in offsets)
    size = len(objects) + 1
    return data + (
        f"trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF".encode()
    )


def page(text: str) -> list[str]:
    stream = f"BT /F1 24 Tf 20 100 Td ({text}) Tj ET"
    return [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 200] /Contents 4 0 R"
        " /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]


def test_pdf_gives_its_text_with_pages():
    found, problem = documents.passages("pdf", pdf(page("The heron stands")))
    assert problem is None
    assert [(p.text, p.page, p.line) for p in found] == [("The heron stands", 1, None)]


def test_an_encrypted_pdf_is_reported():
    secret = "<" + "11" * 32 + ">"
    encrypted = [
        *page("secret"),
        f"<< /Filter /Standard /V 1 /R 2 /O {secret} /U {secret} /P -4 >>",
    ]
    data = pdf(encrypted, f"/Encrypt 6 0 R /ID [{secret} {secret}]")
    with pytest.raises(pypdfium2.PdfiumError, match="password"):
        pypdfium2.PdfDocument(data)
    assert documents.passages("pdf", data) == ([], "It is encrypted.")


def test_docx_gives_its_paragraphs():
    assert texts("docx", word("The heron", "stands")) == "The heron\nstands"


def test_pptx_gives_its_slides_in_order():
    slide = '<a:x xmlns:a="urn:a"><a:p><a:t>{}</a:t></a:p></a:x>'
    parts = {f"ppt__slides__slide{i}_xml": slide.format(f"heron {i}").encode() for i in (10, 2, 1)}
    found, _ = documents.passages("pptx", packed(**parts))
    assert [(p.page, p.text) for p in found] == [(1, "heron 1"), (2, "heron 2"), (3, "heron 10")]


def test_xlsx_gives_its_rows():
    book, data = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["Acme", 40])
    book.save(data)
    assert "Acme | 40" in texts("xlsx", data.getvalue())


def test_html_gives_what_is_seen():
    data = b"<html><script>var no;</script><h1>Lunch</h1><p>Soup &amp; <b>bread</b></p></html>"
    found, _ = documents.passages("html", data)
    assert [(p.text, p.heading) for p in found] == [("# Lunch\nSoup & bread", "Lunch")]


def test_epub_gives_its_chapters():
    data = packed(**{"c2.xhtml": b"<p>second</p>", "c1.xhtml": b"<p>first</p>"})
    found, _ = documents.passages("epub", data)
    assert [p.text for p in found] == ["first", "second"]


def test_mail_gives_its_subject_and_text():
    data = b"From: ada@example.org\nSubject: Lunch\n\nThe soup is ready.\n"
    assert "The soup is ready." in texts("eml", data)
    assert documents.passages("eml", data)[0][0].heading == "Lunch"


def test_a_zip_bomb_is_stopped():
    bomb = word("x" * (80 * 1024 * 1024))
    assert len(bomb) < 1024 * 1024
    found, problem = documents.passages("docx", bomb)
    assert found == []
    assert "more than is allowed" in problem


def test_entities_are_refused():
    xml = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    found, problem = documents.passages("docx", packed(word__document_xml=xml))
    assert found == []
    assert "entities" in problem


@pytest.mark.parametrize("suffix", documents.SUFFIXES)
@pytest.mark.parametrize("data", [b"", b"\x00" * 5000, b"PK\x03\x04" + b"\xff" * 500, b"<" * 5000])
def test_damaged_documents_are_reported_or_empty(suffix, data):
    found, problem = documents.passages(suffix, data)
    assert problem is None or problem.endswith(".")
    assert isinstance(found, list)


def test_a_reader_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(documents, "SECONDS_MAX", 0.01)
    found, problem = documents.passages("html", b"<p>x</p>")
    assert found == []
    assert "seconds" in problem
