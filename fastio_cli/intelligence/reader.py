"""The process that reads one document: bytes on standard input, JSON with its text on standard
output. Run by ``documents.py`` as ``python -m fastio_cli.intelligence.reader SUFFIX``."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PART_BYTES_MAX = 64 * 1024 * 1024  # of one part of an archive, unpacked
CHARACTERS_MAX = 16 * 1024 * 1024
SECONDS_MAX = 15
MEMORY_BYTES_MAX = 1024**3
Page = tuple["int | None", str]


class Unreadable(Exception):
    """The document cannot be read; the sentence says why."""


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
    """The paragraphs of a Word document; headings as in Markdown (ECMA-376)."""
    lines: list[str] = []
    line: list[str] = []
    level = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal level
        if name == "w:pStyle":
            style = attributes.get("w:val", "").lower()
            level = int(style[-1]) if style.startswith("heading") and style[-1].isdigit() else 0
        elif name in ("w:tab", "w:br"):
            line.append(" ")

    def end(name: str) -> None:
        nonlocal level
        if name == "w:p":
            lines.append("#" * level + (" " if level else "") + "".join(line).strip())
            line.clear()
            level = 0

    _parse(_part(_archive(data), "word/document.xml"), start, end, line.append, inside="w:t")
    yield None, "\n\n".join(lines)


def epub(data: bytes) -> Iterator[Page]:
    """The chapters of a book in the order of their names."""
    archive = _archive(data)
    chapters = [n for n in archive.namelist() if n.endswith((".xhtml", ".html", ".htm"))]
    for number, name in enumerate(sorted(chapters), 1):
        yield number, _html_text(_part(archive, name).decode("utf-8", "replace"))


def pptx(data: bytes) -> Iterator[Page]:
    """The text of a presentation, slide by slide."""
    archive = _archive(data)
    slides = [n for n in archive.namelist() if n.startswith("ppt/slides/slide")]
    slides = sorted(slides, key=lambda n: (len(n), n))
    for number, name in enumerate(slides, 1):
        lines: list[str] = []
        line: list[str] = []

        def end(tag: str, line: list[str] = line, lines: list[str] = lines) -> None:
            if tag == "a:p":
                lines.append("".join(line))
                line.clear()

        _parse(_part(archive, name), lambda *_: None, end, line.append, inside="a:t")
        yield number, "\n".join(filter(None, lines))


def xlsx(data: bytes) -> Iterator[Page]:
    """The rows of a workbook, sheet by sheet, values only."""
    try:
        import openpyxl
    except ImportError:
        raise _needs_extra("XLSX") from None
    _archive(data)
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except Exception as e:  # openpyxl raises whatever its parsers raise
        raise Unreadable(f"It is not a valid workbook ({type(e).__name__}).") from None
    for number, sheet in enumerate(book.worksheets, 1):
        rows = (
            " | ".join(str(cell) for cell in row if cell is not None)
            for row in sheet.iter_rows(values_only=True)
        )
        yield number, f"# {sheet.title}\n\n" + "\n\n".join(filter(None, rows))


def eml(data: bytes) -> Iterator[Page]:
    """A mail: its header, then its text."""
    import email
    import email.policy

    message = email.message_from_bytes(data, policy=email.policy.default)
    header = [f"{name}: {message[name]}" for name in ("From", "To", "Date") if message[name]]
    body = message.get_body(("plain", "html"))
    content = str(body.get_content()) if body is not None else ""
    if body is not None and body.get_content_subtype() == "html":
        content = _html_text(content)
    title = str(message["Subject"] or "").replace("\n", " ")
    yield None, f"# {title}\n\n" + "\n".join(header) + f"\n\n{content}"


def html(data: bytes) -> Iterator[Page]:
    """The text of a web page."""
    yield None, _html_text(data.decode("utf-8", "replace"))


READERS: dict[str, Callable[[bytes], Iterator[Page]]] = {
    "pdf": pdf,
    "docx": docx,
    "epub": epub,
    "pptx": pptx,
    "xlsx": xlsx,
    "eml": eml,
    "htm": html,
    "html": html,
    "xhtml": html,
}


class _Text(HTMLParser):
    """Text with its headings as in Markdown; line breaks stay, so that line numbers hold."""

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

    def handle_endtag(self, tag: str) -> None:
        if tag in self.HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in self.BLOCKS or (len(tag) == 2 and tag[0] == "h"):
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(" ".join(data.split()) + " " if data.strip() else " ")


def _html_text(source: str) -> str:
    parser = _Text()
    parser.feed(source)
    parser.close()
    return "".join(parser.parts)


def _archive(data: bytes) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError):
        raise Unreadable("It is damaged, or not what its name says.") from None
    if sum(info.file_size for info in archive.infolist()) > 4 * PART_BYTES_MAX:
        raise Unreadable("It would unpack to more than is allowed.")
    return archive


def _part(archive: zipfile.ZipFile, name: str) -> bytes:
    """One part of an archive, however large its header says it is."""
    try:
        with archive.open(name) as f:
            data = f.read(PART_BYTES_MAX + 1)
    except (KeyError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
        raise Unreadable("It is damaged, encrypted, or not what its name says.") from None
    if len(data) > PART_BYTES_MAX:
        raise Unreadable("It would unpack to more than is allowed.")
    return data


def _parse(
    data: bytes,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], object],
    inside: str,
) -> None:
    """Walk XML; ``text`` gets what stands inside the elements of one name. Entities are refused."""
    parser = expat.ParserCreate()
    depth = 0

    def opened(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += name == inside
        start(name, attributes)

    def closed(name: str) -> None:
        nonlocal depth
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


def _limit() -> None:
    """Bounds that the operating system holds, set before a byte of the document is looked at."""
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit remains
        return
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_MAX, SECONDS_MAX))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Read one document and leave; a parser's crash is the parent's to notice."""
    _limit()
    pages: list[Page] = []
    problem, left = None, CHARACTERS_MAX
    try:
        for page, body in READERS[sys.argv[1]](sys.stdin.buffer.read()):
            pages.append((page, body[:left].encode("utf-8", "replace").decode()))
            left -= len(body)
            if left <= 0:
                problem = f"Only its first {CHARACTERS_MAX // 2**20} Mi characters are searched."
                break
    except Unreadable as e:
        problem = str(e)
    except (MemoryError, RecursionError):
        problem = "It needs more memory to read than is allowed."
    json.dump({"pages": pages, "problem": problem}, sys.stdout)


if __name__ == "__main__":
    main()
