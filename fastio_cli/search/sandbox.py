"""Documents of formats that need a parser: read in a process of its own, within limits.

A parser of a rich format meets hostile files sooner or later. So each document is handed to a fresh
process that may use so much memory and time and no more; what it does not finish is reported as the
object's problem and stops nothing else, nor what it read before.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from fastio_cli.search import chunking as text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.search.chunking import Passage

SUFFIXES = ("pdf", "docx", "pptx", "xlsx", "epub", "eml", "mbox", "htm", "html", "xhtml")
BYTES_MAX = 64 * 1024 * 1024  # no more than this is read of any object
SECONDS_MAX = 20  # by the clock; the reader allows itself less of the processor's time
OUTPUT_BYTES_MAX = 2 * text.CHARACTERS_MAX


def handles(suffix: str) -> bool:
    """Whether files of this kind are read here."""
    return suffix in SUFFIXES


def passages(suffix: str, data: bytes) -> tuple[list[Passage], str | None]:
    """The passages of a document, or the problem with it."""
    if len(data) >= BYTES_MAX:
        return [], f"Documents of {BYTES_MAX // 2**20} MiB or more are not searched."
    command = [sys.executable, "-I", "-m", "fastio_cli.search.document_reader", suffix]
    try:
        done = subprocess.run(
            command,
            input=data,
            capture_output=True,
            timeout=SECONDS_MAX,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        return _found(e.stdout or b"", f"It took more than {SECONDS_MAX} seconds to read.")
    return _found(done.stdout, _why(done.returncode) if done.returncode != 0 else None)


def _found(output: bytes, problem: str | None) -> tuple[list[Passage], str | None]:
    """The passages of the pages that a reader wrote, and the problem it or we had."""
    if len(output) > OUTPUT_BYTES_MAX:
        return [], _why(0)
    found: list[Passage] = []
    for line in output.split(b"\n")[:-1]:  # behind the last line end is what it did not finish
        said = json.loads(line)
        if isinstance(said, str):
            problem = problem or said
            continue
        page, body = said
        found += text.prose(body, markdown=True, page=page)
    for passage in found:  # lines of the extracted text are nowhere in the document
        passage.line = passage.end_line = None
    return found, problem


def _why(code: int) -> str:
    if code in (-signal.SIGKILL, -signal.SIGXCPU):
        return "It needs more time or memory to read than is allowed."
    return "Its parser gave up: the document is damaged or hostile."
