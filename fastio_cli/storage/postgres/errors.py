"""PostgreSQL's failures in fastio's terms. A password is in none of them."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from fastio_cli.errors import FastioError

# The transaction is gone and may succeed when it is run again: serialization failure, deadlock,
# and a unique key that somebody else took while we looked (the next look sees it).
_RERUN = ("40001", "40P01", "23505")
# The server went away, starts, or is (still) a standby.
_AWAY = ("57P01", "57P02", "57P03", "25006", "25P03", "53300")
_TIMEOUTS = ("55P03", "57014")
_FULL = ("53100", "53200")


class NoConnection(psycopg.OperationalError):
    """The pool had no connection to give in time."""


class Unknown(psycopg.OperationalError):
    """The commit was sent, and nobody will say whether it is durable."""


def is_unknown(error: psycopg.Error) -> bool:
    """Whether a failed commit may have happened nevertheless."""
    return isinstance(error, Unknown) or error.sqlstate in ("40003", "57P01", "57P02")


def is_transient(error: psycopg.Error) -> bool:
    """Whether the same work may succeed in a moment."""
    state = error.sqlstate or ""
    if state:
        return state in _RERUN or state in _AWAY or state.startswith("08")
    return isinstance(error, psycopg.OperationalError)  # the connection itself


def address(url: str) -> str:
    """A database as people may see it: user, host and name, no password. Raises ``invalid``."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise _wrong_url() from None  # what libpq says of it quotes from it
    user, host, port = (parts.get(key) for key in ("user", "host", "port"))
    # A password with an @ in it would make the rest of it a part of the host.
    if "@" in str(host or "") or not str(port or 0).replace(",", "0").isdecimal():
        raise _wrong_url()
    at = f"{user}@" if user else ""
    return f"postgresql://{at}{host or ''}{f':{port}' if port else ''}/{parts.get('dbname') or ''}"


def _wrong_url() -> FastioError:
    return FastioError(
        "invalid",
        "The store's URL is not one that PostgreSQL understands.",
        "Write it as postgresql://USER@HOST:5432/DATABASE, with the password in ~/.pgpass.",
    )


def cannot_connect(error: psycopg.Error, place: str) -> FastioError:
    """Why a first connection could not be made; libpq tells by text alone."""
    text = str(error).lower()
    for words, code, message, hint in _REFUSALS:
        if any(word in text for word in words):
            server, _, name = place.rpartition("/")
            said = {"place": place, "server": server, "name": name or "NAME"}
            return FastioError(code, message.format(**said), hint.format(**said))
    first = (str(error).strip().splitlines() or ["no answer"])[0]
    reason = first.rpartition("failed: ")[2].strip().rstrip(".")
    return FastioError(
        "unavailable",
        f"The database {place} cannot be reached: {reason}.",
        f"Check the host and port of --store, and that the server runs: pg_isready -d {place}",
    )


_REFUSALS = (
    (
        ("password authentication failed", "no password supplied", "pg_hba.conf"),
        "invalid",
        "The database {place} refused the user or the password.",
        "Name the right user in --store, give the password in PGPASSWORD or ~/.pgpass; try both "
        "with: psql {place}",
    ),
    (
        ('role "',),
        "invalid",
        "The database {place} does not know this user.",
        "Name the right user in --store, or create it: createuser NAME",
    ),
    (
        ('database "',),
        "invalid",
        "The database {place} does not exist.",
        "Name the right one in --store, or create it: createdb --maintenance-db={server}/postgres "
        "{name}",
    ),
    (
        ("permission denied",),
        "invalid",
        "The user may not connect to the database {place}.",
        "Let its owner grant it: GRANT CONNECT ON DATABASE {name} TO user",
    ),
)


def server_error(error: psycopg.Error, place: str) -> FastioError:
    """A failure that is no longer worth a retry; nothing was changed."""
    state = error.sqlstate or ""
    if state == "42501":
        return FastioError(
            "invalid",
            f"The user lacks rights in the database {place}: {_primary(error)}.",
            "Grant them: GRANT ALL ON SCHEMA public TO user (and on its tables, if others made "
            "them)",
        )
    if state in _TIMEOUTS:
        return FastioError(
            "unavailable",
            "The workspace stayed busy for too long; nothing was changed.",
            "Try again; another program may hold a transaction open: fastio doctor",
        )
    if state in _FULL:
        return FastioError(
            "unavailable",
            "The database's disk or memory is full; nothing was changed.",
            "Free some space on the server and try again.",
        )
    if state == "25006":
        return FastioError(
            "unavailable",
            f"The database {place} is read-only (a standby); nothing was changed.",
            "Name all hosts and add ?target_session_attrs=read-write to the URL of --store.",
        )
    if is_transient(error):
        return FastioError(
            "unavailable",
            f"The database {place} was lost and did not come back in time; nothing was changed.",
            "Check that the server runs, then try again: pg_isready",
        )
    return FastioError("internal", f"The database failed: {_primary(error)} ({state or 'client'}).")


def all_busy(place: str) -> FastioError:
    """The database answers, but this process has no connection to spare."""
    return FastioError(
        "unavailable",
        f"All connections to {place} stayed busy; nothing was changed.",
        "Try again in a moment.",
    )


def unknown_outcome(place: str) -> FastioError:
    """The database went away in mid-commit and did not come back."""
    return FastioError(
        "unavailable",
        f"The database {place} was lost while it confirmed the write. Whether it holds is unknown.",
        "Read the object back before going on; with --idempotency-key the call can be repeated.",
    )


def _primary(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error).strip() or type(error).__name__).rstrip(".")


def foreign_schema(address: str, table: str, what: str) -> FastioError:
    """The error for a table that something acts on which fastio did not make."""
    return FastioError(
        "unavailable",
        f"The table {table} of {address} {what}, which fastio did not make.",
        "Remove it if you know what it is for, then look again: fastio doctor",
        transient=False,
    )
