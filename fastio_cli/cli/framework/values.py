"""Converting command-line text to values: JSON, files, standard input, numbers, durations."""

from __future__ import annotations

import sys

from fastio_cli.errors import FastioError
from fastio_cli.utf8 import without_mark

TYPE_CHECKING = False

STDIN = "-"
TEXT_BYTES_MAX = 17 * 1024 * 1024  # above the JSON limit, which then reports the error


def file_of(text: str) -> str | None:
    """The file that a value is to be read from; None for one that stands there itself.

    ``@file`` names one, ``-`` and ``@-`` are standard input, which is the file ``-``.
    """
    if text == STDIN:
        return STDIN
    return text[1:] if text.startswith("@") and not text.startswith("@@") else None


def literal(text: str) -> str:
    """A value that stands there itself: of ``@@`` at its beginning the first ``@`` is left out."""
    return text[1:] if text.startswith("@@") else text


def json_value(text: str, name: str) -> object:
    """A JSON value given as text, as ``@file``, or as ``-`` for standard input."""
    from fastio_cli.json_text import decode

    return decode(source(text, name), name)


def source(text: str, name: str) -> str | bytes:
    """The text itself, or the content of ``@file`` or ``-`` (standard input) without a mark.

    ``@@`` at the beginning stands for the character ``@``.
    """
    file = file_of(text)
    if file is not None:
        try:
            if file == STDIN:
                return without_mark(sys.stdin.buffer.read(TEXT_BYTES_MAX))
            with open(file, "rb") as f:
                return without_mark(f.read(TEXT_BYTES_MAX))
        except OSError as e:
            name = "Standard input" if file == STDIN else file
            hint = None if file == STDIN else "Check the name of the file."
            raise FastioError("invalid", f"{name} cannot be read: {e.strerror}.", hint) from None
    text = literal(text)
    try:
        text.encode()
    except UnicodeEncodeError:  # undecodable bytes from the shell
        raise FastioError("invalid", f"{name} is not valid UTF-8.") from None
    return text


def file_name(text: str, name: str) -> str:
    """The name of a file that is read more than once, or by others: no stream."""
    if text == STDIN:
        raise FastioError("invalid", f"{name} must be a file, not standard input.", "Name a file.")
    return text


def secret(text: str, name: str) -> str:
    """One line of text, best given as ``@file`` or ``-`` to keep it off the process list."""
    value = source(text, name)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip()


def integer(text: str, name: str) -> int:
    """A whole number."""
    if not text.isascii() or not text.lstrip("-").isdecimal() or len(text) > 19:
        raise FastioError("invalid", f"{name} must be a whole number, not {text!r}.")
    return int(text)


def number(text: str, name: str) -> int | float:
    """A JSON number; whole numbers keep every digit."""
    from fastio_cli.json_text import decode

    value = decode(text, name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise FastioError("invalid", f"{name} must be a number, not {text!r}.")
    return value


def seconds(text: str, name: str) -> float:
    """A duration: plain seconds (``90``, ``0.5``) or with units (``90s``, ``1h30m``, ``2d``)."""
    if text.isascii() and text.replace(".", "", 1).isdecimal():
        return float(text)
    from durationpy import DurationError, from_str

    try:
        return float(from_str(text).total_seconds())
    except DurationError:
        raise FastioError(
            "invalid", f"{name} must be a duration, not {text!r}.", "Write it as 90, 90s or 1h30m."
        ) from None


def fields(text: str) -> list[list[str]]:
    """``a,b.c`` as paths into a record."""
    return [name.strip().split(".") for name in text.split(",") if name.strip()]


def size(text: str, name: str) -> int:
    """A number of bytes: plain, or with a unit (``500MB``, ``1.5GiB``)."""
    number = text.strip().rstrip("BbiKkMmGgTt ")
    unit = text.strip()[len(number) :].strip().lower().removesuffix("b")
    units = {"": 1} | {
        letter + mark: base**power
        for power, letter in enumerate("kmgt", 1)
        for mark, base in (("", 1000), ("i", 1024))
    }
    plain = number.isascii() and number.replace(".", "", 1).isdecimal()
    if not plain or unit not in units or len(number) > 15:
        raise FastioError("invalid", f"{name} must be a size, not {text!r}.", "As 500MB or 1GiB.")
    return int(float(number) * units[unit])
