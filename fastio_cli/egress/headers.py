"""What may stand in the header of a request."""

from __future__ import annotations

from fastio_cli.errors import FastioError


def header_value(value: str, what: str) -> str:
    """A text that a header can hold as it is: printable ASCII (RFC 9110, 5.5).

    ``what`` is what the error calls it, which never shows the text: it may be a secret. Raises
    ``invalid``.
    """
    if value.isascii() and value.isprintable():
        return value
    raise FastioError(
        "invalid",
        f"{what} holds characters that cannot be sent: only printable ASCII can.",
        "Copy it again, whole and without anything around it.",
    )
