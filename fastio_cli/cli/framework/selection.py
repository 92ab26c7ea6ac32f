"""Which part of a result is printed: ``--fields`` and ``--query``."""

from __future__ import annotations

from fastio_cli.cli.framework.text import dig
from fastio_cli.cli.framework.values import fields
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Schema = dict[str, Any]


class Selection:
    """The fields and the expression that a command line names; either may be none.

    ``schemas`` gives the schemas of what the command's operations return. Raises ``invalid`` for
    fields of no record that is printed, with the names there are.
    """

    def __init__(
        self,
        names: str | None,
        expression: str | None,
        schemas: Callable[[], list[Schema]] = list,
    ) -> None:
        self.paths = fields(names) if names is not None else None
        if self.paths == []:
            raise FastioError("invalid", "--fields names no field.", "As in: --fields path,version")
        self.expression = expression
        if expression is not None:
            _check_expression(expression)
        self.is_used = (names, expression) == (None, None)
        self._schemas = schemas
        self._are_known = False

    def of(self, record: Any) -> Any:
        """The named fields of a record, or the whole of it."""
        if self.paths is None:
            return record
        self.check(record)
        return {".".join(path): dig(record, path) for path in self.paths}

    def query(self, value: object) -> object:
        """What the expression makes of a value."""
        if self.expression is None:
            return value
        from fastio_cli.operations.query import search

        self.is_used = True
        return search(self.expression, value)

    def check(self, record: dict[str, Any] | None = None) -> None:
        """Raise ``invalid`` for a field that neither this record has nor any may have."""
        self.is_used = True
        if self.paths is None or self._are_known:
            return
        unknown = [path for path in self.paths if record is None or not _has(record, path)]
        if unknown:
            schemas = [place for schema in self._schemas() for place in _records(schema)]
            for path in unknown:
                known = any(_is_stated(schema, schema, path) for schema in schemas)
                if not known and (schemas or record is not None):
                    raise _no_field(path, record, schemas)
        self._are_known = True


def _check_expression(expression: str) -> None:
    """Raise ``invalid`` for what is no JMESPath, before the command does anything."""
    from jmespath.exceptions import JMESPathError
    from jmespath.parser import Parser

    try:
        Parser().parse(expression)
    except JMESPathError as e:
        raise FastioError(
            "invalid",
            f"--query is no JMESPath expression: {' '.join(str(e).split())}.",
            "As in: --query 'items[].path'",
        ) from None


def _has(record: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(record, dict) or key not in record:
            return False
        record = record[key]
    return True


def _records(schema: Schema) -> list[Schema]:
    """The record that a schema states, and for a page that of its items, each with its $defs."""
    properties = schema.get("properties", {})
    items = properties.get("items") if "next_cursor" in properties else None
    item = _resolved(items.get("items", {}), schema) if items else None
    return [schema] if item is None else [{**item, "$defs": schema.get("$defs", {})}]


def _is_stated(schema: Schema, root: Schema, path: list[str]) -> bool:
    """Whether a value of this schema may have something at a path of keys."""
    schema = _resolved(schema, root)
    if not path:
        return True
    if "anyOf" in schema:
        return any(_is_stated(one, root, path) for one in schema["anyOf"])
    if "properties" in schema:
        field = schema["properties"].get(path[0])
        return field is not None and _is_stated(field, root, path[1:])
    return bool(schema.get("type", "object") == "object")  # any keys may be in it


def _resolved(schema: Schema, root: Schema) -> Schema:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return root.get("$defs", {}).get(name, schema) if name else schema


def _no_field(path: list[str], record: dict[str, Any] | None, schemas: list[Schema]) -> FastioError:
    names = list(record) if record is not None else _names(schemas)
    if len(path) > 1 and record is not None and isinstance(record.get(path[0]), dict):
        names = [f"{path[0]}.{name}" for name in record[path[0]]] or names
    return FastioError(
        "invalid",
        f"There is no field {'.'.join(path)!r}.",
        f"The fields are: {', '.join(names)}",
        fields=names,
    )


def _names(schemas: list[Schema]) -> list[str]:
    return list(dict.fromkeys(name for schema in schemas for name in schema.get("properties", {})))
