"""Name and media type of a fetched file: from headers, the URL, and the bytes.

Names come from strangers: they are reduced to a single harmless path segment.
"""

from __future__ import annotations

import os
import unicodedata
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import collapse_rfc2231_value
from urllib.parse import unquote

import filetype

NAME_BYTES_MAX = 200
FALLBACK = "download"
VAGUE = ("", "application/octet-stream", "binary/octet-stream", "application/force-download",
         "application/x-download", "application/download", "application/unknown",
         "text/plain")  # fmt: skip
_EXTENSIONS = {
    "text/html": ".html",
    "text/plain": ".txt",
    "text/csv": ".csv",
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/xml": ".xml",
    "text/markdown": ".md",
}
_RESERVED = {"CON", "PRN", "AUX", "NUL"} | {f"{d}{n}" for d in ("COM", "LPT") for n in range(1, 10)}


def file_name(disposition: str | None, url_path: str, media_type: str) -> str:
    """The name of a response: from ``Content-Disposition`` (RFC 6266, RFC 8187), else the URL's
    last segment, else ``download`` with the extension of its media type."""
    name = clean(_disposition_name(disposition or "") or "") or clean(
        unquote(url_path.rstrip("/").rpartition("/")[2])
    )
    if name:
        return name
    return FALLBACK + _EXTENSIONS.get(media_type, "")


def clean(name: str) -> str:
    """One path segment without anything that could harm a file system, a terminal or a reader."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    # Controls, and format characters such as the bidirectional overrides, which disguise names.
    name = "".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))
    name = "".join("_" if c in '<>:"|?*' else c for c in name).strip(" .")
    if name.partition(".")[0].upper() in _RESERVED:
        name = "_" + name
    return _shortened(name)


def numbered(path: str, number: int) -> str:
    """The ``number``-th alternative to a path that is taken: ``report (2).pdf``."""
    folder, slash, name = path.rpartition("/")
    stem, extension = os.path.splitext(name)
    return f"{folder}{slash}{stem} ({number}){extension}"


def media_type(declared: str, head: bytes, guessed: str) -> str:
    """The media type: as declared, unless that is vague and the first bytes say more.

    ``guessed`` is the type that the name suggests. Sniffing never turns vague bytes into HTML.
    """
    valid = declared.count("/") == 1 and declared.isascii() and declared.isprintable()
    if valid and declared not in VAGUE and len(declared) <= 127:
        return declared
    sniffed: str | None = filetype.guess_mime(head) if head else None
    if sniffed is not None and not (sniffed == "application/zip" and guessed.endswith("document")):
        return sniffed
    if guessed != "application/octet-stream":
        return guessed
    return declared if valid and len(declared) <= 127 else guessed


def _disposition_name(disposition: str) -> str | None:
    """The file name: ``filename*`` before ``filename``, as RFC 6266 asks."""
    message = Message()
    try:
        message["Content-Disposition"] = disposition
        params = message.get_params(failobj=[], header="content-disposition")
        named = [value for key, value in params if key.lower() == "filename"]
        named.sort(key=lambda value: isinstance(value, str))
        if not named:
            return None
        name = collapse_rfc2231_value(named[0], errors="replace")
        return _plain(name) if isinstance(named[0], str) else name
    except (ValueError, LookupError, TypeError):
        return None


def _plain(name: str) -> str:
    """A ``filename=`` that was written in a form of mail (RFC 2047) or of URLs, in plain letters.

    Neither belongs there (RFC 6266, appendix C), but servers send them and browsers read them.
    """
    if "=?" in name:
        try:
            return str(make_header(decode_header(name)))
        except (MessageError, ValueError, LookupError):
            return name
    try:
        return unquote(name, errors="strict")
    except UnicodeDecodeError:
        return name


def _shortened(name: str) -> str:
    if len(name.encode()) <= NAME_BYTES_MAX:
        return name
    stem, extension = os.path.splitext(name)
    if len(extension.encode()) > 20:
        stem, extension = name, ""
    room = NAME_BYTES_MAX - len(extension.encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .") + extension
