"""Which tables a statement touches, by its words. Our statements are plain enough for that."""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=512)
def read_tables(sql: str) -> frozenset[str]:
    """The tables that a read looks into."""
    return frozenset(re.findall(r"\b(?:from|join)\s+(\w+)", sql))


@lru_cache(maxsize=512)
def changed_table(sql: str) -> str | None:
    """The one table that a statement touches; None if it reads others or is of another kind."""
    if re.search(r"\bselect\b", sql):
        return None
    found = re.match(r"\s*(?:insert into|update|delete from) (\w+)", sql)
    return found[1] if found is not None else None


@lru_cache(maxsize=512)
def changes_rows(sql: str) -> bool:
    """Whether a statement does more than read."""
    return not sql.lstrip().startswith("select")
