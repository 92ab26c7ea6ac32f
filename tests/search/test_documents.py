"""Documents of rich formats: their text is read, and hostile ones only harm themselves."""

from __future__ import annotations

import io
import zipfile
from email.message import EmailMessage

import openpyxl
import pypdfium2
import pytest

from fastio_cli.search import sandbox

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
PRESENTATION = "http://schemas.openxmlformats.org/presentationml/2006/main"
RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def packed(parts: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in parts.items():
            archive.writestr(name, body)
    return data.getvalue()


def word(*paragraphs: str) -> bytes:
    return word_of("".join(map(paragraph, paragraphs)))


def paragraph(text: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


def word_of(body: str) -> bytes:
    xml = f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
    return packed({"word/document.xml": xml.encode()})


def texts(suffix: str, data: bytes) -> str:
    found, problem = sandbox.passages(suffix, data)
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
    found, problem = sandbox.passages("pdf", pdf(page("The heron stands")))
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
    assert sandbox.passages("pdf", data) == ([], "It is encrypted.")


def test_docx_gives_its_paragraphs():
    assert texts("docx", word("The heron", "stands")) == "The heron\nstands"


def test_docx_keeps_headings_and_the_rows_of_tables():
    cells = [f"<w:tc>{paragraph(text)}</w:tc>" for text in ("Bolt", "31 euros")]
    rows = f"<w:tbl><w:tr>{''.join(cells)}</w:tr></w:tbl>"
    data = word_of(paragraph("Prices", "Heading1") + rows + paragraph("after"))
    found, _ = sandbox.passages("docx", data)
    assert [(p.heading, p.text) for p in found] == [("Prices", "# Prices\nBolt | 31 euros\nafter")]


STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"


@pytest.mark.parametrize("namespace", [WORD, STRICT])
@pytest.mark.parametrize("prefix", ["x:", ""])
def test_docx_is_read_whatever_prefix_it_binds(prefix, namespace):
    body = paragraph("Prices", "Heading1") + paragraph("31 euros")
    body = body.replace("w:val", "x:val").replace("w:", prefix)
    bound = f'xmlns="{namespace}" xmlns:x="{namespace}"'
    xml = f"<{prefix}document {bound}><{prefix}body>{body}</{prefix}body></{prefix}document>"
    assert texts("docx", packed({"word/document.xml": xml.encode()})) == "# Prices\n31 euros"


def test_docx_keeps_words_apart_that_a_hyphen_or_a_line_break_keeps_apart():
    run = "<w:p><w:r><w:t>{}</w:t><w:{}/><w:t>{}</w:t></w:r></w:p>"
    body = run.format("Coca", "noBreakHyphen", "Cola") + run.format("heron", "cr", "stork")
    assert texts("docx", word_of(body)) == "Coca-Cola\nheron stork"


def test_docx_gives_headers_footers_notes_and_comments_once():
    def part(*paragraphs: str) -> bytes:
        return f'<w:x xmlns:w="{WORD}">{"".join(map(paragraph, paragraphs))}</w:x>'.encode()

    parts = {
        "word/document.xml": part("The heron"),
        "word/header1.xml": part("Birds of the reed"),
        "word/header2.xml": part("Birds of the reed"),
        "word/footer1.xml": part("Confidential"),
        "word/footnotes.xml": part("Seen in May"),
        "word/comments.xml": part("Was it not a stork?"),
        "word/styles.xml": part("no text"),
    }
    found = texts("docx", packed(parts)).split("\n")
    assert found[0] == "The heron"
    assert sorted(found[1:]) == [
        "Birds of the reed",
        "Confidential",
        "Seen in May",
        "Was it not a stork?",
    ]


def test_pptx_gives_its_slides_in_order_with_their_notes():
    slide = f'<x:x xmlns:x="{DRAWING}"><x:p><x:t>{{}}</x:t></x:p></x:x>'
    parts = {f"ppt/slides/slide{i}.xml": slide.format(f"heron {i}").encode() for i in (10, 2, 1)}
    parts["ppt/notesSlides/notesSlide1.xml"] = slide.format("say it slowly").encode()
    parts["ppt/slides/_rels/slide2.xml.rels"] = (
        b'<Relationships><Relationship Id="rId1" Target="../notesSlides/notesSlide1.xml" '
        b'Type="http://example.org/relationships/notesSlide"/></Relationships>'
    )
    found, _ = sandbox.passages("pptx", packed(parts))
    assert [(p.page, p.text) for p in found] == [
        (1, "heron 1"),
        (2, "heron 2\nsay it slowly"),
        (3, "heron 10"),
    ]


def test_pptx_gives_its_slides_in_the_order_they_are_shown():
    parts = {
        f"ppt/slides/slide{i}.xml": (
            f'<a:x xmlns:a="{DRAWING}"><a:p><a:t>heron {i}</a:t></a:p></a:x>'.encode()
        )
        for i in (1, 2, 3)
    }
    shown = "".join(f'<p:sldId id="25{i}" q:id="rId{i}"/>' for i in (3, 9, 1))
    parts["ppt/presentation.xml"] = (
        f'<p:presentation xmlns:p="{PRESENTATION}" xmlns:q="{RELATIONSHIPS}">'
        f"<p:sldIdLst>{shown}</p:sldIdLst></p:presentation>"
    ).encode()
    slide = '<Relationship Id="rId{}" Target="{}slides/slide{}.xml" Type="http://x/{}"/>'
    related = [(1, "", 1, "slide"), (3, "/ppt/", 3, "slide"), (9, "", 9, "slide")]
    parts["ppt/_rels/presentation.xml.rels"] = (
        f"<Relationships>{''.join(slide.format(*r) for r in related)}</Relationships>"
    ).encode()
    found, problem = sandbox.passages("pptx", packed(parts))
    assert problem is None
    assert [(p.page, p.text) for p in found] == [(1, "heron 3"), (2, "heron 1")]


def test_xlsx_gives_its_rows():
    book, data = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["Acme", 40])
    book.save(data)
    assert "Acme | 40" in texts("xlsx", data.getvalue())


def test_html_gives_what_is_seen():
    data = b"<html><script>var no;</script><h1>Lunch</h1><p>Soup &amp; <b>bread</b></p></html>"
    found, _ = sandbox.passages("html", data)
    assert [(p.text, p.heading) for p in found] == [("# Lunch\nSoup & bread", "Lunch")]


def test_html_gives_what_is_said_of_the_page_and_of_its_images():
    data = b"""<meta name="Description" content="Birds of the reed"><meta name=robots content=no>
        <p>A<img src=x alt="grey heron">stands<img src=y><img alt></p>
        <template><img alt=no></template>"""
    found, _ = sandbox.passages("html", data)
    assert " ".join(found[0].text.split()) == "Birds of the reed A grey heron stands"


def test_html_is_read_in_the_encoding_it_names():
    for charset in ("iso-8859-1", "utf-8", "klingon"):
        known = "utf-8" if charset == "klingon" else charset
        data = f'<meta charset="{charset}"><p>Größe zählt</p>'.encode(known)
        assert texts("html", data) == "Größe zählt"
    assert texts("html", "<p>Größe</p>".encode("utf-16")) == "Größe"


def test_epub_gives_its_chapters_in_the_order_they_are_read():
    package = """<package><manifest>
        <item id="b" href="text/apple%20tree.xhtml"/><item id="a" href="text/zebra.xhtml"/>
        <item id="c" href="../../outside.xhtml"/></manifest>
        <spine><itemref idref="a"/><itemref idref="b"/><itemref idref="c"/></spine></package>"""
    data = packed(
        {
            "META-INF/container.xml": b'<c><rootfile full-path="OEBPS/content.opf"/></c>',
            "OEBPS/content.opf": package.encode(),
            "OEBPS/text/apple tree.xhtml": b"<p>second</p>",
            "OEBPS/text/zebra.xhtml": b"<p>first</p>",
        }
    )
    found, problem = sandbox.passages("epub", data)
    assert problem is None
    assert [(p.page, p.text) for p in found] == [(1, "first"), (2, "second")]


def test_an_epub_without_a_package_gives_its_chapters_by_name():
    data = packed({"c2.xhtml": b"<p>second</p>", "c1.xhtml": b"<p>first</p>"})
    found, _ = sandbox.passages("epub", data)
    assert [p.text for p in found] == ["first", "second"]


def mail(**header: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in {"From": "Ada <ada@example.org>", "Subject": "Lunch", **header}.items():
        message[name] = value
    message.set_content("The soup is ready.\n")
    return message


def test_mail_gives_its_subject_and_text():
    message = mail(To="bob@example.org", Subject="Größe der Suppe")
    message.add_alternative("<p>no</p>", subtype="html")
    message.add_attachment(b"x", maintype="image", subtype="png", filename="soup.png")
    (found,), problem = sandbox.passages("eml", bytes(message))
    assert problem is None
    assert found.heading == "Größe der Suppe"
    assert found.text.split("\n") == [
        "# Größe der Suppe",
        "(From Ada <ada@example.org>, To bob@example.org)",
        "The soup is ready.",
        "(Attached soup.png)",
    ]


def test_what_is_attached_to_a_mail_is_read():
    inner = mail(Subject="Dinner")
    inner.add_attachment("beans, 4\n", subtype="csv", filename="list.csv")
    message = mail()
    message.add_attachment(
        word("The heron"), maintype="application", subtype="octet-stream", filename="Bird.DOCX"
    )
    message.add_attachment(inner)
    found, problem = sandbox.passages("eml", bytes(message))
    assert problem is None
    told = {p.heading: p.text for p in found}
    assert "The heron" in told["Bird.DOCX"]
    assert any("# Dinner" in p.text for p in found)
    assert any("beans, 4" in p.text for p in found)


def test_what_is_attached_and_cannot_be_read_is_reported_and_the_mail_is_found():
    message = mail()
    for name in ("a.docx", "b.xlsx", "c.pdf"):
        message.add_attachment(b"x", maintype="application", subtype="x", filename=name)
    message.add_attachment("The stork\n", filename="d.txt")
    found, problem = sandbox.passages("eml", bytes(message))
    assert problem is not None
    assert "a.docx" in problem
    assert "The soup is ready." in found[0].text
    assert "The stork" in found[-1].text


def test_what_was_read_counts_although_the_rest_takes_too_long(monkeypatch):
    monkeypatch.setattr(sandbox, "WALL_S_MAX", 3)
    message = mail()
    bomb = b"<div>" * 3_000_000
    hostile = packed({f"{i}.xhtml": bomb for i in range(4)})
    message.add_attachment(hostile, maintype="application", subtype="epub", filename="a.epub")
    found, problem = sandbox.passages("eml", bytes(message))
    assert problem is not None
    assert "The soup is ready." in found[0].text


def test_mail_in_an_unknown_encoding_is_read_as_far_as_it_can_be():
    data = b"Subject: =?xyz?q?abc?=\nContent-Type: text/plain; charset=klingon\n\nThe soup\xe9\n"
    assert "The soup" in texts("eml", data)


def test_a_mailbox_gives_each_of_its_mails():
    separator = b"From ada@example.org Thu May  7 10:00:00 2026\n"
    data = b"".join(separator + bytes(mail(Subject=name)) + b"\n" for name in ("One", "Two"))
    data += b"From here on it is text.\n"
    found, _ = sandbox.passages("mbox", data)
    assert [(p.page, p.heading) for p in found] == [(1, "One"), (2, "Two")]
    assert "From here on it is text." in found[1].text


def test_a_zip_bomb_is_stopped():
    bomb = word("x" * (80 * 1024 * 1024))
    assert len(bomb) < 1024 * 1024
    found, problem = sandbox.passages("docx", bomb)
    assert found == []
    assert "more than is allowed" in problem


def test_entities_are_refused():
    xml = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    found, problem = sandbox.passages("docx", packed({"word/document.xml": xml}))
    assert found == []
    assert "entities" in problem


@pytest.mark.parametrize("suffix", sandbox.SUFFIXES)
@pytest.mark.parametrize("data", [b"", b"\x00" * 5000, b"PK\x03\x04" + b"\xff" * 500, b"<" * 5000])
def test_damaged_documents_are_reported_or_empty(suffix, data):
    found, problem = sandbox.passages(suffix, data)
    assert problem is None or problem.endswith(".")
    assert isinstance(found, list)


def test_a_reader_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(sandbox, "WALL_S_MAX", 0.01)
    found, problem = sandbox.passages("html", b"<p>x</p>")
    assert found == []
    assert "seconds" in problem


def test_a_document_of_hostile_depth_or_breadth_only_harms_itself():
    for suffix, data in (
        ("html", b"<div>" * 300_000 + b"heron"),
        ("docx", word_of("<w:sdt>" * 100_000 + paragraph("heron") + "</w:sdt>" * 100_000)),
        ("eml", b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\n" * 50_000),
    ):
        found, problem = sandbox.passages(suffix, data)
        assert problem or found or suffix == "eml"


def test_an_archive_with_very_many_parts_is_read_or_reported():
    slide = f'<a:x xmlns:a="{DRAWING}"><a:p><a:t>heron</a:t></a:p></a:x>'.encode()
    data = packed({f"ppt/slides/slide{i}.xml": slide for i in range(3000)})
    found, problem = sandbox.passages("pptx", data)
    assert (len(found), problem) == (3000, None)


def test_a_document_that_was_cut_for_its_size_is_too_large(monkeypatch):
    monkeypatch.setattr(sandbox, "DOCUMENT_BYTES_MAX", 1024**2)
    found, problem = sandbox.passages("pdf", b"%PDF-1.7" + b"x" * 1024**2)
    assert (found, problem) == ([], "Documents of 1 MiB or more are not searched.")
