"""From a method and a path to an endpoint, by routes such as the catalogue states.

A path is split before it is decoded, so that an encoded slash is never a separator. Only the last
part of a route, ``{path:path}``, holds slashes of its own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from fastio_cli.errors import FastioError

E = TypeVar("E")  # an endpoint
ANY = "{}"
CACHED_MAX = 4096  # paths that are matched once


class Node(Generic[E]):
    """One level of the tree of routes: what may follow, and what may end here."""

    __slots__ = ("ends", "next", "rests")

    def __init__(self) -> None:
        self.next: dict[str, Node[E]] = {}
        self.ends: dict[str, tuple[E, list[str]]] = {}
        self.rests: dict[str, tuple[E, list[str]]] = {}


class Routes(Generic[E]):
    """A tree of routes."""

    def __init__(self) -> None:
        self._root: Node[E] = Node()
        self._cached = lru_cache(CACHED_MAX)(self._find)

    def add(self, method: str, route: str, endpoint: E) -> None:
        """Add a route such as ``/v1/things/{id}``; to be done before the first match."""
        node = self._root
        names = []
        for segment in route[1:].split("/"):
            if segment.startswith("{"):
                name, _, kind = segment.strip("{}").partition(":")
                names.append(name)
                if kind == "path":
                    node.rests[method] = (endpoint, names)
                    return
                segment = ANY
            node = node.next.setdefault(segment, Node())
        node.ends[method] = (endpoint, names)

    def match(self, method: str, raw_path: str) -> tuple[E, dict[str, str]]:
        """The endpoint and the parameters its path holds.

        Raises ``not_found`` for a path that leads nowhere, ``invalid`` for one that is not UTF-8 or
        is not for this method (its detail ``allow`` names those it is for).
        """
        endpoint, in_path = self._cached(method, raw_path)
        return endpoint, dict(in_path)

    def _find(self, method: str, raw_path: str) -> tuple[E, dict[str, str]]:
        segments = raw_path[1:].split("/")
        values: list[str] = []
        node = self._root
        for number, segment in enumerate(segments):
            following = node.next.get(segment)
            if following is None:
                following = node.next.get(ANY)
                if following is None:
                    return self._rest(node, method, segments[number:], values, raw_path)
                values.append(segment)
            node = following
        return _found(node.ends, method, values, raw_path)

    def _rest(
        self,
        node: Node[E],
        method: str,
        segments: list[str],
        values: list[str],
        raw_path: str,
    ) -> tuple[E, dict[str, str]]:
        return _found(node.rests, method, [*values, "/".join(segments)], raw_path)


def _found(
    table: dict[str, tuple[E, list[str]]], method: str, values: list[str], raw_path: str
) -> tuple[E, dict[str, str]]:
    found = table.get(method)
    if found is None and table:
        raise wrong_method(method, sorted(table))
    if found is None:
        raise FastioError(
            "not_found",
            f"{method} {raw_path[:200]} leads nowhere.",
            "See what there is: /openapi.json",
        )
    endpoint, names = found
    return endpoint, {name: decoded(value) for name, value in zip(names, values, strict=True)}


def wrong_method(method: str, allow: list[str]) -> FastioError:
    """The error for a path that is there, but not for this method (405 over HTTP)."""
    allowed = ", ".join(allow)
    return FastioError(
        "invalid", f"{method} is not for this path.", f"Use one of: {allowed}", allow=allowed
    )


def decoded(text: str) -> str:
    """Percent-decoded text. Raises ``invalid`` when it is not UTF-8."""
    if "%" not in text and text.isascii():
        return text
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise FastioError("invalid", "The path is not valid UTF-8.") from None
