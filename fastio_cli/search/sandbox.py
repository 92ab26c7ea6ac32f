"""Documents of formats that need a parser, and large texts, each read in a process with limits.

Parsers of rich formats meet hostile files sooner or later, and a text may be all commas. So each
is given to a fresh process with limited memory and time. If that does not finish, it is reported as
the problem of the object; what it read by then is indexed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from fastio_cli.search import chunking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.search.chunking import Passage

SUFFIXES = ("pdf", "docx", "pptx", "xlsx", "epub", "eml", "mbox", "htm", "html", "xhtml")
DOCUMENT_BYTES_MAX = 64 * 1024 * 1024  # no more than this is read of any object
WALL_S_MAX = 20  # the reader limits its CPU time to less
OUTPUT_BYTES_MAX = 16 * chunking.CHARACTERS_MAX


def handles(suffix: str) -> bool:
    """Whether files with this suffix are read here."""
    return suffix in SUFFIXES


def passages(suffix: str, data: bytes, kind: str | None = None) -> tuple[list[Passage], str | None]:
    """The passages of a document, and the problem with it if there is one.

    ``kind`` is that of the object if it is a text.
    """
    if len(data) >= DOCUMENT_BYTES_MAX:
        return [], f"Documents of {DOCUMENT_BYTES_MAX // 2**20} MiB or more are not searched."
    command = [sys.executable, "-I", "-m", "fastio_cli.search.document_reader", suffix]
    command += [] if kind is None else [kind]
    try:
        process = subprocess.run(
            command,
            input=data,
            capture_output=True,
            timeout=WALL_S_MAX,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        return _parse(
            e.stdout or b"", f"It took more than {WALL_S_MAX} seconds to read.", kind is not None
        )
    failure = _failure(process.returncode) if process.returncode != 0 else None
    return _parse(process.stdout, failure, kind is not None)


def _parse(output: bytes, problem: str | None, is_text: bool) -> tuple[list[Passage], str | None]:
    """The passages that a reader wrote, and the first problem."""
    if len(output) > OUTPUT_BYTES_MAX:
        return [], _failure(0)
    found: list[Passage] = []
    for written in output.split(b"\n")[:-1]:  # after the last line end is an unfinished one
        message = json.loads(written)
        if isinstance(message, str):
            problem = problem or message
            continue
        text, heading, line, end_line, page, pointer = message
        found.append(
            chunking.Passage(
                text,
                heading=heading,
                line=line if is_text else None,  # a document itself has no such lines
                end_line=end_line if is_text else None,
                page=page,
                pointer=pointer,
            )
        )
    return found, problem


def _failure(exit_code: int) -> str:
    if exit_code in (-signal.SIGKILL, -signal.SIGXCPU):
        return "It needs more time or memory to read than is allowed."
    return "Its parser gave up: the document is damaged or hostile."
