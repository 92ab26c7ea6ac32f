"""JMESPath over a value, within bounds.

An expression of a few hundred characters can ask for more than any machine has: its results share
what they hold, so ``[@,@]|[@,@]|…`` doubles with every step what is written at the end. So
evaluation takes a bounded number of steps, and values are measured, each shared part once, before
anything goes through all that they stand for.
"""

from __future__ import annotations

from functools import partial

from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.functions import Functions
from jmespath.parser import Parser
from jmespath.visitor import Options, TreeInterpreter

from fastio_cli.errors import FastioError
from fastio_cli.json_text import SIZE_BYTES_MAX, Measure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

EXPRESSION_CHARACTERS_MAX = 4096
STEPS_MAX = 5_000_000
STEP_BYTES = 64  # what one step may read or write of a text or a whole value
# Functions that go through all that their arguments hold; others look at the outermost level.
_DEEP = {
    *("contains", "starts_with", "ends_with", "join", "to_string"),
    *("max", "max_by", "min", "min_by", "sort", "sort_by"),
}


class TooCostly(Exception):
    """An expression asks for more than it may."""


class Budget:
    """What is left to one evaluation."""

    def __init__(self, steps: int = STEPS_MAX) -> None:
        self.steps = steps
        self._measure = Measure()

    def spend(self, steps: int) -> None:
        """Take steps. Raises :class:`TooCostly` when there are none left."""
        self.steps -= steps
        if self.steps < 0:
            raise TooCostly(f"it takes more than {STEPS_MAX:,} steps")

    def size(self, value: object) -> int:
        """The bytes that a value is as JSON. Raises :class:`TooCostly` if that is too much."""
        size_bytes = self._measure.of(value)
        if size_bytes > SIZE_BYTES_MAX:
            raise TooCostly("a value in it is larger than a JSON value may be")
        return size_bytes

    def read(self, value: object) -> None:
        """Pay for going through all of a value."""
        self.spend(self.size(value) // STEP_BYTES + 1)


class _BoundedFunctions(Functions):  # type: ignore[misc]
    """The functions of JMESPath, paid for before they run."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def call_function(self, function_name: str, resolved_args: list[Any]) -> Any:
        for value in resolved_args:
            if function_name in _DEEP:
                self._budget.read(value)
            elif isinstance(value, list | dict | str):
                self._budget.spend(len(value))
        if function_name == "join" and len(resolved_args) == 2:
            glue, parts = resolved_args
            if isinstance(glue, str) and isinstance(parts, list):
                self._budget.read([glue] * len(parts))
        return super().call_function(function_name, resolved_args)


class _BoundedInterpreter(TreeInterpreter):  # type: ignore[misc]
    """Evaluates an expression and counts every step."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(Options(custom_functions=_BoundedFunctions(budget)))
        self._budget = budget
        self.COMPARATOR_FUNC = {
            name: partial(self._compare, function)
            for name, function in super().COMPARATOR_FUNC.items()
        }

    def visit(self, node: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self._budget.steps -= 1
        if self._budget.steps < 0:
            self._budget.spend(0)
        return super().visit(node, *args, **kwargs)

    def _compare(
        self, function: Callable[[Any, Any], object], left: object, right: object
    ) -> object:
        if isinstance(left, list | dict | str) and isinstance(right, list | dict | str):
            self._budget.read(left)
            self._budget.read(right)
        return function(left, right)

    def visit_flatten(self, node: dict[str, Any], value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self._budget.spend(sum(len(part) for part in base if isinstance(part, list)))
        return super().visit_flatten({**node, "children": [_literal(base)]}, value)

    def visit_slice(self, node: dict[str, Any], value: Any) -> Any:
        if isinstance(value, list):
            self._budget.spend(len(value))
        return super().visit_slice(node, value)


def _literal(value: object) -> dict[str, object]:
    """A node that stands for a value."""
    return {"type": "literal", "value": value, "children": []}


def search(expression: str, value: object, budget: Budget | None = None) -> object:
    """The result of an expression.

    Raises ``invalid`` if it is not JMESPath or fails, ``too_large`` if it, or its result, is more
    than it may be.
    """
    if len(expression) > EXPRESSION_CHARACTERS_MAX:
        raise _failed(expression, f"it has more than {EXPRESSION_CHARACTERS_MAX} characters")
    budget = budget or Budget()
    try:
        result = _BoundedInterpreter(budget).visit(Parser().parse(expression).parsed, value)
        budget.size(result)
    except TooCostly as e:
        raise FastioError(
            "too_large",
            f"The query {_shown(expression)} asks for too much: {e}.",
            "Ask for less of it, as in: items[:100].name",
        ) from None
    except RecursionError:
        raise _failed(expression, "it is nested too deeply") from None
    except JMESPathTypeError as e:  # whose own message holds all of the value
        wanted = " or ".join(e.expected_types)
        reason = f"{e.function_name}() takes {wanted}, not {e.actual_type}"
        raise _failed(expression, reason) from None
    except (JMESPathError, ValueError, TypeError, OverflowError) as e:
        raise _failed(expression, " ".join(str(e).split())[:300] or type(e).__name__) from None
    return result


def truth(value: object) -> bool:
    """What JMESPath calls true: everything but false, null, and empty strings, lists, objects."""
    return value is not None and value is not False and value not in ("", [], {})


def _failed(expression: str, reason: str) -> FastioError:
    return FastioError(
        "invalid",
        f"The query {_shown(expression)} failed: {reason}",
        "JMESPath: strings in single quotes, as in: status == 'approved'",
    )


def _shown(expression: str) -> str:
    return repr(expression if len(expression) <= 300 else expression[:300] + "…")
