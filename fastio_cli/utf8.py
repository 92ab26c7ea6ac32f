"""Text that comes in: UTF-8, with or without a byte order mark.

Notepad, PowerShell and Excel begin a UTF-8 file with U+FEFF. RFC 8259 §8.1 lets a parser ignore it
in JSON, and it is no part of a token or a setting either: every door for text lets it through here.
"""

MARK = "\ufeff"
_MARK = MARK.encode()
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def without_mark(text: bytes) -> bytes:
    """The bytes of a text without the mark that it may begin with."""
    return text.removeprefix(_MARK)


def hint_for(text: bytes) -> str | None:
    """What to do about bytes that are no UTF-8; None for the usual."""
    if text.startswith(_UTF16):
        return "It is UTF-16, as Windows PowerShell writes it. Save it as UTF-8."
    return None
