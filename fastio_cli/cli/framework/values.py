"""Converting command-line text to values: JSON, files, standard input, numbers, durations."""

from __future__ import annotations

import sys

from fastio_cli.errors import FastioError

TYPE_CHECKING = False

TEXT_BYTES_MAX = 17 * 1024 * 1024  # above the JSON limit, which then reports the error


def json_value(text: str, name: str) -> object:
    """A JSON value given as text, as ``@file``, or as ``-`` for standard input."""
    from fastio_cli.json_text import decode

    return decode(source(text, name), name)


def source(text: str, name: str) -> str | bytes:
    """The text itself, or the content of ``@file`` or ``-`` (standard input)."""
    try:
        if text == "-":
            return sys.stdin.buffer.read(TEXT_BYTES_MAX)
        if text.startswith("@"):
            with open(text[1:], "rb") as f:
                return f.read(TEXT_BYTES_MAX)
    except OSError as e:
        raise FastioError(
            "invalid", f"{text[1:] or 'standard input'} cannot be read: {e.strerror}."
        ) from None
    try:
        text.encode()
    except UnicodeEncodeError:  # undecodable bytes from the shell
        raise FastioError("invalid", f"{name} is not valid UTF-8.") from None
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
