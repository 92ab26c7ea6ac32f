"""The process that reads one document or large text, run by ``sandbox.py``.

Called as ``python -m fastio_cli.search.document_reader SUFFIX [KIND]``, with the document on
standard input; KIND is that of the object if it is text. It writes a line of JSON for each passage
as soon as its page is read. If there was a problem, the last line is a string that describes it.
"""

from __future__ import annotations

import io
import json
import posixpath
import re
import sys
import zipfile
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import MIMEPart

    from fastio_cli.search.chunking import Passage

UNCLOSED_CHARACTERS_MAX = 64 * 1024  # of a tag or comment that a page ends in
PART_BYTES_MAX = 64 * 1024 * 1024  # of one part of an archive, unpacked
CHARACTERS_MAX = 16 * 1024 * 1024
CPU_S_MAX = 15
MEMORY_BYTES_MAX = 1024**3
Page = tuple["int | None", str]
# The namespaces of Office documents with their usual prefixes; a document may bind others.
_PREFIXES = {
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main": "w",
    "http://purl.oclc.org/ooxml/wordprocessingml/main": "w",
    "http://schemas.openxmlformats.org/drawingml/2006/main": "a",
    "http://purl.oclc.org/ooxml/drawingml/main": "a",
    "http://schemas.openxmlformats.org/presentationml/2006/main": "p",
    "http://purl.oclc.org/ooxml/presentationml/main": "p",
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships": "r",
    "http://purl.oclc.org/ooxml/officeDocument/relationships": "r",
}
_ADDITIONAL_PART = re.compile(r"word/(header\d*|footer\d*|footnotes|endnotes|comments)\.xml")


class Unreadable(Exception):
    """The document cannot be read; the message says why."""


def pdf(data: bytes) -> Iterator[Page]:
    """The text of a PDF, page by page."""
    try:
        import pypdfium2
    except ImportError:
        raise _needs_extra("PDF") from None
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as e:
        reason = "It is encrypted." if "password" in str(e).lower() else "It is not a valid PDF."
        raise Unreadable(reason) from None
    for number in range(len(document)):
        page = document[number].get_textpage().get_text_range()
        yield number + 1, page.replace("\r\n", "\n")


def docx(data: bytes) -> Iterator[Page]:
    """The text of a Word document, then its headers and footers, each once, notes and comments."""
    archive = _archive(data)
    yield None, _word_text(archive, "word/document.xml")
    seen = {""}
    for name in sorted(filter(_ADDITIONAL_PART.fullmatch, archive.namelist())):
        text = _word_text(archive, name)
        if text.strip() not in seen:
            seen.add(text.strip())
            yield None, text


def _word_text(archive: zipfile.ZipFile, name: str) -> str:
    """The paragraphs of a part, rows of tables as lines; headings as in Markdown (ECMA-376)."""
    lines: list[str] = []
    line: list[str] = []
    level = rows = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal level, rows
        if name == "w:pStyle":
            style = attributes.get("w:val", "").lower()
            level = int(style[-1]) if style.startswith("heading") and style[-1].isdigit() else 0
        elif name in ("w:tab", "w:br", "w:cr"):
            line.append(" ")
        elif name == "w:noBreakHyphen":
            line.append("-")
        elif name == "w:tr":
            rows += 1

    def end(name: str) -> None:
        nonlocal level, rows
        rows -= name == "w:tr"
        if rows and name in ("w:p", "w:tc"):
            line.append(" | " if name == "w:tc" else " ")
        elif name in ("w:p", "w:tr"):
            text = " ".join("".join(line).split()).strip(" |")
            lines.append("#" * level + (" " if level else "") + text)
            line.clear()
            level = 0

    _parse(_part(archive, name), start, end, line.append, inside="w:t", is_office=True)
    return "\n\n".join(lines)


def epub(data: bytes) -> Iterator[Page]:
    """The chapters of a book in reading order (EPUB 3.3, §5.7)."""
    archive = _archive(data)
    for number, name in enumerate(_spine(archive), 1):
        yield number, _html_text(_decode(_part(archive, name)))


def _spine(archive: zipfile.ZipFile) -> list[str]:
    """The names of the chapters in the order of the package document, else sorted."""
    packages: list[str] = []
    items: dict[str, str] = {}
    order: list[str] = []

    def container(name: str, attributes: dict[str, str]) -> None:
        if _local_name(name) == "rootfile":
            packages.append(attributes.get("full-path", ""))

    def package(name: str, attributes: dict[str, str]) -> None:
        if _local_name(name) == "item":
            items[attributes.get("id", "")] = unquote(attributes.get("href", ""))
        elif _local_name(name) == "itemref":
            order.append(attributes.get("idref", ""))

    names = archive.namelist()
    chapters = sorted(n for n in names if n.endswith((".xhtml", ".html", ".htm")))
    if "META-INF/container.xml" not in names:
        return chapters
    _parse(_part(archive, "META-INF/container.xml"), container)
    for path in packages[:1]:
        _parse(_part(archive, path), package)
        folder = posixpath.dirname(path)
        read = [posixpath.normpath(posixpath.join(folder, items[i])) for i in order if i in items]
        return [name for name in dict.fromkeys(read) if name in names]
    return chapters


def pptx(data: bytes) -> Iterator[Page]:
    """The text of a presentation: a page for each slide with its speaker's notes."""
    archive = _archive(data)
    for number, name in enumerate(_slides(archive), 1):
        notes = [
            _slide_text(archive, n) for n in _related_parts(archive, name, "notesSlide").values()
        ]
        yield number, "\n\n".join(filter(None, [_slide_text(archive, name), *notes]))


def _slides(archive: zipfile.ZipFile) -> list[str]:
    """The names of the slides in order (ECMA-376, §19.2.1.34), else sorted."""
    order: list[str] = []

    def slide(name: str, attributes: dict[str, str]) -> None:
        if name == "p:sldId":
            order.append(attributes.get("r:id", ""))

    if (main := "ppt/presentation.xml") in archive.namelist():
        _parse(_part(archive, main), slide, is_office=True)
    slides = _related_parts(archive, main, "slide")
    named = [n for n in archive.namelist() if re.fullmatch(r"ppt/slides/slide\d+\.xml", n)]
    return [slides[i] for i in order if i in slides] or sorted(named, key=lambda n: (len(n), n))


def _slide_text(archive: zipfile.ZipFile, name: str) -> str:
    lines: list[str] = []
    line: list[str] = []

    def end(tag: str) -> None:
        if tag == "a:p":
            lines.append("".join(line))
            line.clear()

    part = _part(archive, name)
    _parse(part, lambda *_: None, end, line.append, inside="a:t", is_office=True)
    return "\n".join(filter(None, lines))


def _related_parts(archive: zipfile.ZipFile, part: str, kind: str) -> dict[str, str]:
    """The names of the related parts of this kind, by the ids of their relationships."""
    folder, name = posixpath.split(part)
    relations = f"{folder}/_rels/{name}.rels"
    found: dict[str, str] = {}

    def relation(tag: str, attributes: dict[str, str]) -> None:
        if attributes.get("Type", "").endswith(f"/{kind}"):
            target = posixpath.join(f"/{folder}", attributes.get("Target", ""))
            found[attributes.get("Id", "")] = posixpath.normpath(target).lstrip("/")

    names = archive.namelist()
    if relations in names:
        _parse(_part(archive, relations), relation)
    return {id: name for id, name in found.items() if name in names}


def xlsx(data: bytes) -> Iterator[Page]:
    """The rows of a workbook, values only: a page for each sheet."""
    try:
        import openpyxl
    except ImportError:
        raise _needs_extra("XLSX") from None
    _archive(data)
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except Exception as e:  # openpyxl lets the exceptions of its parsers through
        raise Unreadable(f"It is not a valid workbook ({type(e).__name__}).") from None
    for number, sheet in enumerate(book.worksheets, 1):
        rows = (
            " | ".join(str(cell) for cell in row if cell is not None)
            for row in sheet.iter_rows(values_only=True)
        )
        yield number, f"# {sheet.title}\n\n" + "\n\n".join(filter(None, rows))


def eml(data: bytes) -> Iterator[Page]:
    """A mail: its subject, sender, recipients, date, text, and the names of its attachments; then
    the attachments that can be read, each under its name."""
    import email
    import email.policy

    message = email.message_from_bytes(data, policy=email.policy.default)
    header = [f"{name} {message[name]}" for name in ("From", "To", "Cc", "Date") if message[name]]
    body = message.get_body(("plain", "html"))
    content = "" if body is None else _mail_text(body)
    attachments = list(message.iter_attachments())
    names = ", ".join(filter(None, (part.get_filename() for part in attachments)))
    title = str(message["Subject"] or "").replace("\n", " ")
    parts = [
        f"# {title}" if title else "",
        f"({', '.join(header)})" if header else "",
        content,
        f"(Attached {names})" if names else "",
    ]
    yield None, "\n\n".join(filter(None, parts))
    problems = []
    for part in attachments:
        try:
            for _, text in _attachment(part):
                yield None, f"# {part.get_filename() or part.get_content_type()}\n\n{text}"
        except Unreadable as e:
            problems.append(f"{part.get_filename()}: {e}")
        except Exception as e:  # of a parser: the mail itself was read
            problems.append(f"{part.get_filename()}: It is damaged ({type(e).__name__}).")
    if problems:
        raise Unreadable(f"Not all that is attached could be read. {problems[0]}")


def _attachment(part: Any) -> Iterator[Page]:
    """An attachment: another mail, a document, or text."""
    suffix = (part.get_filename() or "").rpartition(".")[2].lower()
    if part.get_content_type() == "message/rfc822":
        yield from eml(part.get_payload(0).as_bytes())
    elif suffix in READERS:
        yield from READERS[suffix](part.get_payload(decode=True) or b"")
    elif part.get_content_maintype() == "text":
        yield None, _mail_text(part)


def mbox(data: bytes) -> Iterator[Page]:
    """The mails of a mailbox, a page for each (RFC 4155)."""
    mails = re.split(rb"^From \S+ .*\d{4}\r?\n", data, flags=re.M)
    problem = None
    for number, mail in enumerate(mails[1:], 1):
        try:
            for _, body in eml(mail):
                yield number, body
        except Unreadable as e:
            problem = problem or e
    if problem is not None:
        raise problem


def _mail_text(body: MIMEPart) -> str:
    try:
        content = str(body.get_content())
    except (LookupError, ValueError):  # an unknown encoding
        payload = body.get_payload(decode=True)
        content = _decode(payload if isinstance(payload, bytes) else b"")
    return _html_text(content) if body.get_content_subtype() == "html" else content


def html(data: bytes) -> Iterator[Page]:
    """The text of a web page."""
    yield None, _html_text(_decode(data))


READERS: dict[str, Callable[[bytes], Iterator[Page]]] = {
    "pdf": pdf,
    "docx": docx,
    "epub": epub,
    "pptx": pptx,
    "xlsx": xlsx,
    "eml": eml,
    "mbox": mbox,
    "htm": html,
    "html": html,
    "xhtml": html,
}


class _TextParser(HTMLParser):
    """The text of a page, with headings as in Markdown and the descriptions of images."""

    HIDDEN = ("script", "style", "template", "noscript")
    BLOCKS = ("p", "div", "li", "tr", "br", "section", "article", "table", "ul", "ol", "pre")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.HIDDEN:
            self._hidden += 1
        elif len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self.parts.append("\n\n" + "#" * int(tag[1]) + " ")
        elif tag in self.BLOCKS:
            self.parts.append("\n\n")
        elif tag == "img":
            self.handle_data(f" {dict(attrs).get('alt') or ''} ")
        elif tag == "meta" and (dict(attrs).get("name") or "").lower() == "description":
            self.parts.append("\n\n")
            self.handle_data(dict(attrs).get("content") or "")
            self.parts.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in self.BLOCKS or (len(tag) == 2 and tag[0] == "h"):
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(" ".join(data.split()) + " " if data.strip() else " ")


def _html_text(source: str) -> str:
    parser = _TextParser()
    parser.feed(source)
    if len(parser.rawdata) > UNCLOSED_CHARACTERS_MAX and parser.rawdata.startswith("<"):
        # As in a browser a tag or comment without end is nothing. ``HTMLParser`` would look for an
        # end after each "<" in it, which takes time in proportion to its length squared.
        parser.reset()
    parser.close()
    return "".join(parser.parts)


def _decode(data: bytes) -> str:
    """Bytes as text, in the encoding that their beginning declares."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    declared = re.search(rb"(?:charset|encoding)\s*=\s*[\"']?([\w.:-]+)", data[:2048])
    try:
        return data.decode(declared[1].decode() if declared else "utf-8-sig", "replace")
    except LookupError:
        return data.decode("utf-8", "replace")


def _archive(data: bytes) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError):
        raise Unreadable("It is damaged, or not what its name says.") from None
    if sum(info.file_size for info in archive.infolist()) > 4 * PART_BYTES_MAX:
        raise Unreadable("It would unpack to more than is allowed.")
    return archive


def _part(archive: zipfile.ZipFile, name: str) -> bytes:
    """One part of an archive, whose header may lie about its size."""
    try:
        with archive.open(name) as f:
            data = f.read(PART_BYTES_MAX + 1)
    except (KeyError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
        raise Unreadable("It is damaged, encrypted, or not what its name says.") from None
    if len(data) > PART_BYTES_MAX:
        raise Unreadable("It would unpack to more than is allowed.")
    return data


def _local_name(name: str) -> str:
    """The name of an element without its prefix."""
    return name.rpartition(":")[2]


def _usual_name(name: str) -> str:
    """A name with the usual prefix of its namespace; without one if it has no such prefix."""
    space, _, local = name.rpartition(" ")
    return f"{_PREFIXES[space]}:{local}" if space in _PREFIXES else local


def _parse(
    data: bytes,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] = lambda name: None,
    text: Callable[[str], object] = lambda data: None,
    inside: str = "",
    is_office: bool = False,
) -> None:
    """Parse XML with handlers; ``text`` gets the text in elements named ``inside``.

    Entities are refused. Namespaces are resolved in Office documents only: books often lack their
    declarations.
    """
    parser = expat.ParserCreate(namespace_separator=" " if is_office else None)
    name_of = _usual_name if is_office else str
    depth = 0

    def opened(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        name = name_of(name)
        depth += name == inside
        start(name, {name_of(key): value for key, value in attributes.items()})

    def closed(name: str) -> None:
        nonlocal depth
        name = name_of(name)
        depth -= name == inside
        end(name)

    def refuse(*_: object) -> None:
        raise Unreadable("It declares entities, which no such document needs.")

    parser.StartElementHandler = opened
    parser.EndElementHandler = closed
    parser.CharacterDataHandler = lambda data: text(data) if depth else None
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError:
        raise Unreadable("It is damaged: its XML cannot be read.") from None


def _needs_extra(format: str) -> Unreadable:
    return Unreadable(
        f"Reading {format} needs an extra: pip install 'fastio-durable[documents]', "
        "then fastio index rebuild"
    )


def _set_limits() -> None:
    """Set the limits of this process, before it reads a byte of the document."""
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit remains
        return
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Read one document. If a parser crashes, the parent process notices."""
    _set_limits()
    try:
        suffix, *kind = sys.argv[1:]
        data = sys.stdin.buffer.read()
        for passage in _document(suffix, data) if not kind else _text(suffix, kind[0], data):
            _write(passage)
    except Unreadable as e:
        _write(str(e))
    except (MemoryError, RecursionError):
        _write("It needs more memory to read than is allowed.")
    sys.stdout.flush()


def _document(suffix: str, data: bytes) -> Iterator[Passage | str]:
    """The passages of all pages, each page at once: it is kept even if a later one ends all."""
    from fastio_cli.search.chunking import chunk_text
    from fastio_cli.search.extraction import REPEATED_MAX, limit

    left = CHARACTERS_MAX
    for page, body in READERS[suffix](data):
        yield from limit(chunk_text(body[:left], markdown=True, page=page), REPEATED_MAX * left)
        sys.stdout.flush()
        left -= len(body)
        if left <= 0:
            yield f"Only its first {CHARACTERS_MAX // 2**20} Mi characters are searched."
            return


def _text(suffix: str, kind: str, data: bytes) -> Iterator[Passage | str]:
    from fastio_cli.search.extraction import text_passages

    return text_passages(suffix, kind, data)


def _write(message: Passage | str) -> None:
    """Write a passage or a problem as a line."""
    if not isinstance(message, str):
        place = message.line, message.end_line, message.page, message.pointer
        text = json.dumps([message.text, message.heading, *place], ensure_ascii=False)
    else:
        text = json.dumps(message)
    sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")


if __name__ == "__main__":
    main()
