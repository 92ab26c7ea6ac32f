"""Strict JSON: what fastio accepts, how it is stored, how deep and how large it may be.

Stricter than RFC 8259 allows a parser to be, in the spirit of I-JSON (RFC 7493): UTF-8 only, no
duplicate keys, no NaN or Infinity, no lone surrogates. Integers keep every digit.
"""

import json
import sys
from itertools import chain

from fastio_cli.digest import sha256
from fastio_cli.errors import FastioError
from fastio_cli.utf8 import MARK, hint_for, without_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DEPTH_MAX = 200
SIZE_BYTES_MAX = 16 * 1024 * 1024
# Sixteen megabytes of "[]," would be five million objects of the interpreter.
CONTAINERS_MAX = 1_000_000
VALUES_MAX = 4_000_000
quoted = json.encoder.encode_basestring  # one string as JSON text


class RawJson:
    """A JSON value as its text, which is known to be strict: passed on without being parsed."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


def _digest(value: object) -> object:
    """What stands in canonical form for a text that is not to be parsed."""
    if isinstance(value, RawJson):
        return {"sha256": sha256(value.text).hexdigest()}
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _encoder(
    sort_keys: bool, allow_nan: bool, default: "Callable[[object], object] | None" = None
) -> "Callable[[object], str]":
    """An encoder of compact text, created once.

    ``json.dumps`` creates two objects per call, ``JSONEncoder.encode`` one, the C encoder. For most
    values that takes longer than the encoding.
    """
    plain = json.JSONEncoder(
        ensure_ascii=False,
        allow_nan=allow_nan,
        sort_keys=sort_keys,
        separators=(",", ":"),
        default=default,
    )
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    # Without a memo a circular value is reported as nested too deeply.
    parts = make(None, plain.default, quoted, None, ":", ",", sort_keys, False, allow_nan)
    return lambda value: "".join(parts(value, 0))


compact = _encoder(sort_keys=False, allow_nan=False)  # unchecked
_canonical = _encoder(sort_keys=True, allow_nan=True, default=_digest)


def decode(
    text: str | bytes, what: str = "value", more_bytes: int = 0, more_depth: int = 0
) -> object:
    """Parse one JSON text.

    ``what`` names the text in errors; ``more_bytes`` and ``more_depth`` allow for the
    envelope of a protocol. Raises ``invalid`` for anything that is not strict JSON or is
    nested deeper than :data:`DEPTH_MAX`, ``too_large`` beyond :data:`SIZE_BYTES_MAX` bytes and
    for what :func:`holds_too_much`.
    """
    if len(text) > SIZE_BYTES_MAX + more_bytes:
        raise _too_large(what)
    try:
        if isinstance(text, bytes):
            text = without_mark(text).decode("utf-8")
        elif len(text.encode("utf-8")) > SIZE_BYTES_MAX:
            raise _too_large(what)
        if holds_too_much(text):
            raise _too_many(what)
        value = _parsed(_strict, text.removeprefix(MARK))
        if "\\u" in text:  # an escape may be a lone surrogate
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as e:
        message = f"The {what} is not valid UTF-8 (byte {e.start})."
        raise FastioError("invalid", message, hint_for(e.object)) from None
    except UnicodeEncodeError:
        raise _lone_surrogate(what) from None
    except RecursionError:
        raise _too_deep(what) from None
    except json.JSONDecodeError as e:
        raise FastioError(
            "invalid",
            f"The {what} is not valid JSON: {e.msg} at line {e.lineno} column {e.colno}.",
            "Strings need double quotes: fastio state set name.json '\"Ada\"'",
        ) from None
    except ValueError as e:
        raise FastioError("invalid", f"The {what} is not valid JSON: {_reason(e)}.") from None
    _check_depth(text, what, DEPTH_MAX + more_depth)
    return value


def foreign(text: bytes | str) -> object:
    """The value of a JSON text that another program wrote, about which fastio has no say.

    Raises ``ValueError`` if it is none, is nested too deeply or :func:`holds_too_much`.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    if holds_too_much(text):
        raise ValueError("it holds too many values")
    try:
        return _plain.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def holds_too_much(text: str) -> bool:
    """Whether a JSON text has over :data:`CONTAINERS_MAX` arrays and objects, or over
    :data:`VALUES_MAX` values; told without parsing it, and mostly without a second look."""
    if len(text) <= CONTAINERS_MAX or not _counts_too_many(text):
        return False
    # What stands in strings does not count.
    outside = text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    return _counts_too_many("".join(outside))


def _counts_too_many(text: str) -> bool:
    return text.count("[") + text.count("{") > CONTAINERS_MAX or values_in(text) > VALUES_MAX


def values_in(text: str) -> int:
    """How many values a JSON text holds, at most, without parsing it."""
    return 1 + text.count("[") + text.count("{") + text.count(",")


def stored(text: str) -> object:
    """The value of a stored text, which was checked before."""
    return _parsed(_plain, text)


def encode(value: object, what: str = "value", *, is_decoded: bool = False) -> bytes:
    """Write a JSON value as compact UTF-8, keys in the order given.

    The depth of a value that ``is_decoded`` was checked by ``decode``. Raises ``invalid`` for what
    strict JSON cannot express (NaN, lone surrogates, foreign types, nesting deeper than
    :data:`DEPTH_MAX`) and ``too_large`` as ``decode`` does.
    """
    try:
        text = compact(value)
        body = text.encode("utf-8")
    except UnicodeEncodeError:
        raise _lone_surrogate(what) from None
    except RecursionError:
        raise _too_deep(what) from None
    except (ValueError, TypeError) as e:
        reason = _reason(e)
        raise FastioError("invalid", f"The {what} cannot be written as JSON: {reason}.") from None
    if len(body) > SIZE_BYTES_MAX:
        raise _too_large(what)
    if holds_too_much(text):
        raise _too_many(what)
    if not is_decoded:
        _check_depth(text, what)
    return body


def record_text(record: object) -> bytes:
    """A record as compact UTF-8, into which the texts that it holds are put as they are."""
    if not isinstance(record, dict) or not any(type(v) is RawJson for v in record.values()):
        return compact(record).encode()
    parts = []
    for name, value in record.items():
        text = value.text if isinstance(value, RawJson) else compact(value).encode()
        parts += [b",", quoted(name).encode(), b":", text]
    parts[0] = b"{"
    return b"".join([*parts, b"}"])


class Measure:
    """How many bytes values have as JSON, where what they share counts each time.

    Each shared part is gone through once, so this is cheap where writing would have no end. Escapes
    are not counted. Values may not change, or be freed, from one measurement to the next.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, int]] = {}  # by identity, and kept alive

    @property
    def containers(self) -> int:
        """How many arrays and objects were gone through."""
        return len(self._known)

    def of(self, value: object) -> int:
        """The size of a value. Raises ``RecursionError`` if it is nested too deeply."""
        if isinstance(value, str):
            return len(value) + 2
        if not isinstance(value, dict | list):
            return 1
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        size_bytes = max(2, 1 + sum(self.of(part) + 1 for part in _parts(value)))
        self._known[id(value)] = value, size_bytes
        return size_bytes


def _parts(value: "dict[str, object] | list[object]") -> "Iterable[object]":
    return chain(value, value.values()) if isinstance(value, dict) else value


def canonical(value: object) -> bytes:
    """The canonical form of event and request data, equal to RFC 8785 (JCS) for what these hold.

    Events hold objects with ASCII keys, strings, booleans, null and integers below 2**53, and for
    those the form below is byte for byte JCS; ``tests/test_json_text.py`` proves it against the
    ``rfc8785`` package, whose import would cost every command more than its work.
    """
    return _canonical(value).encode()


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise FastioError("invalid", f"The JSON has the key {key!r} twice in one object.")
            seen.add(key)
    return record


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"{text[:30]} is too large for a number")
    return number


_strict = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_float=_finite, parse_constant=_no_constant
)


_plain = json.JSONDecoder()
_AS_ARRAYS = bytes.maketrans(b"{}", b"[]")
_NEITHER_QUOTE_NOR_BRACKET = bytes(set(range(256)) - set(b'"[]{}'))


def _parsed(decoder: json.JSONDecoder, text: str) -> object:
    """``decoder.decode(text)``, in half the time for text without surrounding space."""
    if not text[:1].isspace():
        value, end = decoder.raw_decode(text)
        if end == len(text):
            return value
    return decoder.decode(text)


def _reason(e: Exception) -> str:
    # Conversion takes quadratic time, so Python limits the digits; its message is not for users.
    if "set_int_max_str_digits" in str(e):
        return f"a whole number has more than {sys.get_int_max_str_digits()} digits"
    return str(e)


def _check_depth(text: str, what: str, depth_max: int = DEPTH_MAX) -> None:
    """Raise ``invalid`` if a text, which is JSON, is nested too deeply.

    The text alone tells, in a fifth of the time that going through the value takes: what is left of
    it without strings are brackets, of which the innermost go until none are left.
    """
    # Few brackets mean little depth: most values need no more than that.
    if text.count("[") + text.count("{") <= depth_max:
        return
    raw = text.encode("utf-8", "surrogatepass")
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A string without brackets is two quotes now. Where one that has some is beside another, the
    # two become one, which changes nothing: there is nothing between them.
    left = raw.translate(_AS_ARRAYS, _NEITHER_QUOTE_NOR_BRACKET).replace(b'""', b"")
    if b'"' in left:
        left = b"".join(left.split(b'"')[::2])
    for _ in range(depth_max):
        if not left:
            return
        left = left.replace(b"[]", b"")
    if left:
        raise _too_deep(what)


def _lone_surrogate(what: str) -> FastioError:
    return FastioError("invalid", f"The {what} holds a lone surrogate, which is not text.")


def _too_deep(what: str) -> FastioError:
    return FastioError("invalid", f"The {what} is nested deeper than {DEPTH_MAX} levels.")


def _too_many(what: str) -> FastioError:
    return FastioError(
        "too_large",
        f"The {what} holds more than {CONTAINERS_MAX:,} arrays and objects, or more than "
        f"{VALUES_MAX:,} values.",
        "Split it, or store it as a file instead: fastio file put - PATH",
    )


def _too_large(what: str) -> FastioError:
    return FastioError(
        "too_large",
        f"The {what} is larger than {SIZE_BYTES_MAX // 1024 // 1024} MiB of JSON.",
        "Store it as a file instead: fastio file put - PATH",
    )
