"""The kinds of parameter an operation can have: what is accepted, how it is checked, its schema.

A parameter's annotation *is* its rule: ``path: ObjectPath`` or ``if_version: Version | None``. For
a type checker the names at the end are the plain Python types; when the program runs they are
:class:`Rule` objects, so that no typing machinery is loaded to start a command.
"""

import unicodedata
from functools import lru_cache

from fastio_cli.blobs.content import Content, inline
from fastio_cli.errors import FastioError
from fastio_cli.json_text import RawJson, decode, encode

TYPE_CHECKING = False

PATH_BYTES_MAX = 1024
SCHEME = "fio://"  # what a path begins with that names its workspace too
# The rules' characters as JSON Schema can say them (ECMA 262, without looking ahead).
_CONTROLS = r"\u0000-\u001f\u007f-\u009f"
_LINE = f"^[^{_CONTROLS}]*$"
_PROSE = rf"[^\s{_CONTROLS}]"
_SEGMENT = rf"(?:[^./{_CONTROLS}]|\.[^./{_CONTROLS}]|\.\.[^/{_CONTROLS}])[^/{_CONTROLS}]*"
_PATH = f"^{_SEGMENT}(?:/{_SEGMENT})*$"


class Rule:
    """What a parameter accepts: ``check`` returns the value in its normal form or raises
    ``invalid``; ``schema`` is the same in JSON Schema 2020-12, for HTTP."""

    schema: dict[str, object] = {}
    optional = False
    waits = False
    uploads = False
    # Whether a call that gives this parameter may run in the event loop of a server.
    is_inline = True
    # Of a JSON value: (); of records with JSON values: the keys of these.
    json_keys: "tuple[str, ...] | None" = None
    reaches_out = False  # names what is outside of the store
    is_path = False  # names what is in a workspace, so that fio://workspace/ may go before it
    is_pattern = False  # of a path: names several, and may be empty
    enters_workspace = False  # names a further workspace that the operation works in

    def __or__(self, other: object) -> "Rule":
        """``RULE | None`` accepts null as well, and makes no copy of the rule's meaning."""
        assert other is None, "a parameter is a rule or null"
        return Optional(self)

    def check(self, value: object, name: str) -> object:
        return value

    def read(self, text: str, name: str) -> object:
        """The value that a text in a URL stands for, still to be checked."""
        return text


class Optional(Rule):
    """The inner rule, or null."""

    optional = True

    def __init__(self, inner: Rule) -> None:
        self.inner = inner
        self.is_path = inner.is_path
        self.is_pattern = inner.is_pattern
        self.enters_workspace = inner.enters_workspace
        self.is_inline = inner.is_inline
        self.json_keys = inner.json_keys
        self.schema = {"anyOf": [inner.schema, {"type": "null"}]} if inner.schema else {}

    def check(self, value: object, name: str) -> object:
        return None if value is None else self.inner.check(value, name)

    def read(self, text: str, name: str) -> object:
        value = self.inner.read(text, name)
        if value is None:  # where null is meant, a URL leaves the parameter out
            raise FastioError("invalid", f"{name} must not be null.")
        return value


class TextRule(Rule):
    """A string in NFC of at most ``length_max`` characters, without control characters."""

    def __init__(self, length_max: int, length_min: int = 0, choices: tuple[str, ...] = ()) -> None:
        self.length_max = length_max
        self.length_min = length_min
        self.choices = choices
        self.schema = {"type": "string", "maxLength": length_max, "pattern": _LINE}
        if length_min:
            self.schema["minLength"] = length_min
        if choices:
            self.schema = {"type": "string", "enum": list(choices)}

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, str):
            raise FastioError("invalid", f"{name} must be a string.")
        if self.choices and value not in self.choices:
            raise FastioError("invalid", f"{name} must be one of: {', '.join(self.choices)}.")
        if not self.length_min <= len(value) <= self.length_max:
            exactly = self.length_min == self.length_max
            length = f"{self.length_max}" if exactly else f"{self.length_min} to {self.length_max}"
            raise FastioError("invalid", f"{name} must have {length} characters.")
        if value.isascii() and value.isprintable():  # as almost all are
            return value
        value = unicodedata.normalize("NFC", value)
        refuse_characters(value, name, ("Cc", "Cs"))
        return value


class PatternRule(TextRule):
    """Several paths: a pattern (``patterns.py``), or what they begin with."""

    is_path = True
    is_pattern = True

    def check(self, value: object, name: str) -> object:
        if isinstance(value, str) and value.startswith(SCHEME):
            raise elsewhere(value, name)  # no path begins so: it would match nothing, in silence
        return super().check(value, name)


class ExpressionRule(Rule):
    """A pointer or query: any text at all, as the keys it names may hold any."""

    def __init__(self, length_max: int, length_min: int = 0) -> None:
        self.length_max = length_max
        self.length_min = length_min
        self.schema = {"type": "string", "minLength": length_min, "maxLength": length_max}

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, str) or not self.length_min <= len(value) <= self.length_max:
            raise FastioError(
                "invalid",
                f"{name} must be text of {self.length_min} to {self.length_max} characters.",
            )
        refuse_characters(value, name, ("Cs",))
        return value


class ProgramRule(ExpressionRule):
    """A query: how long it takes is up to who wrote it."""

    is_inline = False


class PatchFormatRule(TextRule):
    """How a patch is written: one of JSON Patch is a program, which may copy what it has copied."""

    is_inline = False


class ProseRule(Rule):
    """Text of several lines, not empty; control characters count as spaces."""

    def __init__(self, length_max: int) -> None:
        self.length_max = length_max
        self.schema = {
            "type": "string",
            "minLength": 1,
            "maxLength": length_max,
            "pattern": _PROSE,
        }

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, str):
            raise FastioError("invalid", f"{name} must be a string.")
        if len(value) > self.length_max:
            raise FastioError("invalid", f"{name} must have at most {self.length_max} characters.")
        text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in value).strip()
        if not text:
            raise FastioError("invalid", f"{name} is empty.", "Say what to look for, in words.")
        refuse_characters(text, name, ("Cs",))
        return text


class PathRule(Rule):
    """An object path in NFC: segments joined by ``/``, none of them empty, ``.`` or ``..``."""

    schema = {"type": "string", "minLength": 1, "maxLength": PATH_BYTES_MAX, "pattern": _PATH}
    is_path = True

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, str):
            raise FastioError("invalid", f"{name} must be a string.")
        return self._checked(value, name)

    @staticmethod
    @lru_cache(4096)  # most calls are for paths seen before
    def _checked(value: str, name: str) -> str:
        path = unicodedata.normalize("NFC", value)
        refuse_characters(path, name, ("Cc", "Cs"))
        if path.startswith(SCHEME):
            raise elsewhere(path, name)
        if not path or len(path.encode()) > PATH_BYTES_MAX:
            raise FastioError("invalid", f"{name} must have 1 to {PATH_BYTES_MAX} bytes.")
        for segment in path.split("/"):
            if segment in ("", ".", ".."):
                raise FastioError(
                    "invalid",
                    f"{name} {value!r} has an empty, '.' or '..' segment.",
                    "Write it as folder/name.json, without a leading or trailing slash.",
                )
        return path


class LockPathRule(PathRule):
    """An object path, or a folder: one that ends with ``/``."""

    schema = {**PathRule.schema, "pattern": _PATH.removesuffix("$") + "/?$"}

    def check(self, value: object, name: str) -> object:
        if isinstance(value, str) and len(value) > 1 and value.endswith("/"):
            return f"{super().check(value[:-1], name)}/"
        return super().check(value, name)


class NameRule(Rule):
    """A workspace name: 1 to 64 letters, digits, ``-_.``, beginning with a letter or digit."""

    schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, str) or len(value) > 64 or not _is_name(value):
            raise FastioError(
                "invalid",
                f"{name} must be 1 to 64 letters, digits, '-', '_' or '.', beginning with a letter "
                "or digit.",
            )
        return value


class OtherWorkspaceRule(NameRule):
    """The name of a further workspace that the operation works in."""

    enters_workspace = True


@lru_cache(maxsize=256)
def _is_name(text: str) -> bool:
    allowed = text.replace("-", "0").replace("_", "0").replace(".", "0").isalnum()
    return text.isascii() and allowed and text[0].isalnum()


class DigestRule(Rule):
    """A SHA-256 as 64 hexadecimal digits."""

    schema = {"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}

    def check(self, value: object, name: str) -> object:
        digits = value.lower() if isinstance(value, str) else ""
        if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
            raise FastioError("invalid", f"{name} must be 64 hexadecimal digits.")
        return digits


class ScalarRule(Rule):
    """A number or a boolean: written as in JSON also where only text goes, as in a URL."""

    def read(self, text: str, name: str) -> object:
        return decode(text, name)


class IntegerRule(ScalarRule):
    """An integer within bounds; a bool is not an integer."""

    def __init__(self, minimum: int, maximum: int) -> None:
        self.minimum = minimum
        self.maximum = maximum
        self.schema = {"type": "integer", "minimum": minimum, "maximum": maximum}

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, int) or isinstance(value, bool):
            raise FastioError("invalid", f"{name} must be an integer.")
        if not self.minimum <= value <= self.maximum:
            raise FastioError("invalid", f"{name} must be {self.minimum} to {self.maximum}.")
        return value


class PastVersionRule(IntegerRule):
    """A version to be read, which may be larger than the object is now."""

    is_inline = False


class SecondsRule(ScalarRule):
    """A duration in seconds within bounds."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum = minimum
        self.maximum = maximum
        self.schema = {"type": "number", "minimum": minimum, "maximum": maximum}

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise FastioError("invalid", f"{name} must be a number of seconds.")
        if not self.minimum <= value <= self.maximum:
            raise FastioError(
                "invalid", f"{name} must be {self.minimum:.12g} to {self.maximum:.12g} seconds."
            )
        return value


class WaitRule(SecondsRule):
    """How long the caller is ready to wait. No part of what is asked for: the same call with more
    or less patience is the same call."""

    waits = True


class NumberRule(ScalarRule):
    """Any JSON number; integers keep every digit."""

    schema = {"type": "number"}

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise FastioError("invalid", f"{name} must be a number.")
        return value


class BooleanRule(ScalarRule):
    schema = {"type": "boolean"}

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, bool):
            raise FastioError("invalid", f"{name} must be true or false.")
        return value


class OwnLineRule(BooleanRule):
    """Whether to look at the end of a file, which may be in a bucket."""

    is_inline = False


class RecordsRule(Rule):
    """A list of strict JSON objects like ``item``, each checked by the operation that reads it."""

    def __init__(
        self,
        count_max: int,
        item: dict[str, object],
        json_keys: "tuple[str, ...] | None" = None,
    ) -> None:
        self.count_max = count_max
        self.json_keys = json_keys
        self.schema = {
            "type": "array",
            "minItems": 1,
            "maxItems": count_max,
            "items": {"type": "object", **item},
        }

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise FastioError("invalid", f"{name} must be a list of JSON objects.")
        if not 1 <= len(value) <= self.count_max:
            raise FastioError("invalid", f"{name} must have 1 to {self.count_max} entries.")
        # What is kept as text was checked when it was read.
        plain = [{k: v for k, v in r.items() if not isinstance(v, RawJson)} for r in value]
        encode(plain, name)
        return value


class ListRule(Rule):
    """A list of 1 to ``count_max`` values of one kind."""

    def __init__(self, item: Rule, count_max: int) -> None:
        self.item = item
        self.count_max = count_max
        self.schema = {
            "type": "array",
            "minItems": 1,
            "maxItems": count_max,
            "items": item.schema,
        }

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, list) or not 1 <= len(value) <= self.count_max:
            raise FastioError("invalid", f"{name} must be a list of 1 to {self.count_max} values.")
        return [self.item.check(item, f"{name}[{i}]") for i, item in enumerate(value)]


class UrlsRule(ListRule):
    """Addresses, which are checked when they are asked (``egress``)."""

    reaches_out = True


class TextsRule(Rule):
    """An object whose values are lines of text, such as HTTP headers."""

    schema = {
        "type": "object",
        "maxProperties": 100,
        "propertyNames": {"minLength": 1, "maxLength": 256, "pattern": _LINE},
        "additionalProperties": {"type": "string", "maxLength": 8192, "pattern": _LINE},
    }

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, dict) or len(value) > 100:
            raise FastioError("invalid", f"{name} must be an object of at most 100 texts.")
        for key, text in value.items():
            TextRule(256, 1).check(key, f"a key of {name}")
            TextRule(8192).check(text, f"{name}.{key}")
        return value


class JsonRule(Rule):
    """Any strict JSON value (``json_text.py``), in its stored form from here on."""

    json_keys = ()

    def check(self, value: object, name: str) -> Content:
        return inline(value.text if isinstance(value, RawJson) else encode(value, name))


class SchemaRule(JsonRule):
    """A JSON Schema; how long it takes to check is up to who wrote it."""

    is_inline = False


class UploadRule(Rule):
    """Bytes that the engine has stored before the transaction (see ``blobs.Content``)."""

    schema = {"type": "string", "contentEncoding": "binary"}
    uploads = True

    def check(self, value: object, name: str) -> object:
        if not isinstance(value, Content):
            raise FastioError("invalid", f"{name} must be uploaded bytes.")
        if value.is_discarded:
            raise FastioError(
                "invalid", f"{name} is no longer stored, as a call with it was refused."
            )
        return value


def refuse_characters(text: str, name: str, categories: tuple[str, ...]) -> None:
    """Raise ``invalid`` for characters of these categories: Cc (controls), Cs (surrogates)."""
    if text.isascii() and text.isprintable():
        return
    for character in text:
        if unicodedata.category(character) in categories:
            raise FastioError(
                "invalid", f"{name} holds the character U+{ord(character):04X}, which is no text."
            )


def elsewhere(path: str, name: str) -> FastioError:
    """The error for a path with a workspace where the call names that already."""
    workspace = path[len(SCHEME) :].partition("/")[0]
    return FastioError(
        "invalid",
        f"{path!r} names a workspace; {name} is a path in the workspace of the call.",
        f"Name the workspace beside it: fastio file list --workspace {workspace or 'NAME'}",
    )


def is_number(cursor: str) -> bool:
    """Whether a cursor is the number of a row."""
    return cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18


def wrong_cursor(cursor: str) -> FastioError:
    """The error for a cursor that is of no page of a list."""
    return FastioError("invalid", f"{cursor!r} is not a cursor of this list.")


def number_before(cursor: str) -> int:
    """The number that a list, newest first, goes on below. Raises ``invalid``."""
    if cursor and not is_number(cursor):
        raise wrong_cursor(cursor)
    return int(cursor) if cursor else LATEST


LATEST = 2**62  # above every number of a row
ALL = 2**31 - 1  # the limit of a list that is read whole
SERVICES = ("google", "onedrive", "dropbox", "box")
NAME_RULE = NameRule()
PATH_RULE = PathRule()
ACTOR_RULE = TextRule(256)

if TYPE_CHECKING:
    from typing import Annotated, Any
else:
    Any = object

    class Annotated:
        """``Annotated[type, rule]`` is the rule."""

        def __class_getitem__(cls, item):
            return item[1]


ObjectPath = Annotated[str, PATH_RULE]
LockPath = Annotated[str, LockPathRule()]
Prefix = Annotated[str, PatternRule(PATH_BYTES_MAX)]
PathPattern = Annotated[str, PatternRule(1024)]
Name = Annotated[str, NAME_RULE]
OtherWorkspace = Annotated[str, OtherWorkspaceRule()]
Line = Annotated[str, TextRule(1024)]
Question = Annotated[str, ProseRule(8192)]
SearchMode = Annotated[str, TextRule(8, choices=("hybrid", "semantic", "lexical"))]
Age = Annotated[float, SecondsRule(0, 100 * 366 * 24 * 3600)]
History = Annotated[
    list[dict[str, Any]], RecordsRule(100, {"properties": {"question": {}, "answer": {}}})
]
MatchLimit = Annotated[int, IntegerRule(1, 100)]
Tokens = Annotated[int, IntegerRule(64, 1_000_000)]
Pointer = Annotated[str, ExpressionRule(4096)]
Expression = Annotated[str, ProgramRule(4096, 1)]
Token = Annotated[str, TextRule(256, 1)]
Secret = Annotated[str, TextRule(16_384, 1)]
Remaining = Annotated[float, SecondsRule(0, 10 * 366 * 24 * 3600)]
ServiceName = Annotated[str, TextRule(8, choices=SERVICES)]
Json = Annotated[Content, JsonRule()]
Schema = Annotated[Content, SchemaRule()]
Version = Annotated[int, IntegerRule(0, 2**53 - 1)]
PastVersion = Annotated[int, PastVersionRule(0, 2**53 - 1)]
Seq = Annotated[int, IntegerRule(0, 2**53 - 1)]
Size = Annotated[int, IntegerRule(0, 2**53 - 1)]
Limit = Annotated[int, IntegerRule(1, 1000)]
Cursor = Annotated[str, TextRule(PATH_BYTES_MAX)]
Ttl = Annotated[float, SecondsRule(1, 24 * 3600)]
Wait = Annotated[float, WaitRule(0, 30 * 24 * 3600)]
Number = Annotated[int | float, NumberRule()]
Boolean = Annotated[bool, BooleanRule()]
OwnLine = Annotated[bool, OwnLineRule()]
KindName = Annotated[str, TextRule(5, choices=("state", "file"))]
PatchFormat = Annotated[str, PatchFormatRule(12, choices=("merge", "json-patch"))]
Changes = Annotated[
    list[dict[str, Any]],
    RecordsRule(
        1000,
        {
            "properties": {"op": {"type": "string"}, "path": PATH_RULE.schema},
            "required": ["op", "path"],
        },
        json_keys=("value", "patch", "schema", "default"),
    ),
]
Role = Annotated[str, TextRule(6, choices=("viewer", "editor", "admin", "owner"))]
Scopes = Annotated[list[str], ListRule(TextRule(128, 1), 50)]
Lifetime = Annotated[float, SecondsRule(60, 10 * 366 * 24 * 3600)]
Upload = Annotated[Content, UploadRule()]
Urls = Annotated[list[str], UrlsRule(TextRule(8192, 1), 1000)]
Headers = Annotated[dict[str, str], TextsRule()]
Sha256 = Annotated[str, DigestRule()]
OnConflict = Annotated[str, TextRule(7, choices=("version", "rename", "fail"))]
ImportState = Annotated[
    str, TextRule(9, choices=("queued", "running", "done", "failed", "cancelled"))
]
JobId = Annotated[str, TextRule(256, 1)]
JobKindName = Annotated[str, TextRule(32, 1)]
JobState = ImportState
