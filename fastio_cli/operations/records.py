"""Rows as records: how what the store keeps looks on every surface (``model.py``)."""

from __future__ import annotations

import json
import time
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.storage.db import Row

FIRST_ORG_NAME = "default"  # how the store's first org, whose stored name is empty, is shown


def org_name(stored: str) -> str:
    """The name of an org as it is shown."""
    return stored or FIRST_ORG_NAME


@lru_cache(256)  # one write shows the same moment several times
def timestamp(at_ms: int) -> str:
    """Milliseconds since 1970 as RFC 3339 in UTC."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{ms:03d}Z"


def month_of(at_ms: int) -> str:
    """The month, in UTC, that milliseconds since 1970 are in: 2026-11."""
    return time.strftime("%Y-%m", time.gmtime(at_ms / 1000))


@lru_cache(64)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def object_record(row: Row) -> model.Object:
    return {
        "path": row["path"],
        "kind": row["kind"],
        "version": row["version"],
        "etag": row["etag"],
        "media_type": row["media_type"],
        "size_bytes": row["size_bytes"],
        "author": row["author"],
        "created_at": timestamp(row["created_at"]),
        "updated_at": timestamp(row["updated_at"]),
        "deleted": bool(row["deleted"]),
        "schema": row["schema"] is not None,
    }


def version_record(row: Row) -> model.Version:
    return {
        "path": row["path"],
        "version": row["version"],
        "kind": row["kind"],
        "etag": row["etag"],
        "media_type": row["media_type"],
        "size_bytes": row["size_bytes"],
        "author": row["author"],
        "at": timestamp(row["at"]),
        "change": row["change"],
        "deleted": bool(row["deleted"]),
    }


def workspace_record(row: Row) -> model.Workspace:
    deleted_at = row["deleted_at"]
    return {
        "name": row["name"].rpartition("/")[2],
        "object_count": row["object_count"],
        "size_bytes": row["size_bytes"],
        "seq": row["seq"],
        "created_at": timestamp(row["created_at"]),
        "updated_at": timestamp(row["updated_at"]),
        "deleted_at": None if deleted_at is None else timestamp(deleted_at),
    }


def lock_record(row: Row, waiters: int) -> model.Lock:
    return {
        "path": row["path"],
        "fence": row["fence"],
        "holder": row["holder"],
        "purpose": row["purpose"],
        "ttl_s": row["ttl_ms"] / 1000,
        "acquired_at": timestamp(row["acquired_at"]),
        "expires_at": timestamp(row["expires_at"]),
        "waiters": waiters,
    }


def event_record(row: Row) -> model.Event:
    return {
        "seq": row["seq"],
        "type": row["type"],
        "actor": row["actor"],
        "path": row["path"],
        "version": row["version"],
        "at": timestamp(row["at"]),
        "data": json.loads(row["data"]),
        "prev_hash": row["prev_hash"],
        "hash": row["hash"],
    }


def job_record(row: Row) -> model.Job:
    state = row["state"]
    at = None if row["due_at"] is None else timestamp(row["due_at"])
    return {
        "id": row["id"],
        "kind": row["kind"],
        "state": state,
        "due_at": at if state == "queued" else None,
        "lease_until": at if state == "running" else None,
        "attempts": row["attempts"],
        "failures": row["failures"],
        "reason_code": row["reason_code"],
        "reason": row["reason"],
        "hint": row["hint"],
        "actor": row["actor"],
        "queued_at": timestamp(row["queued_at"]),
        "updated_at": timestamp(row["updated_at"]),
    }


def import_record(row: Row) -> model.Import:
    fetched_at = row["fetched_at"]
    return {
        "id": row["id"],
        "url": row["url"],
        "state": row["state"],
        "path": row["path"],
        "version": row["version"],
        "unchanged": bool(row["unchanged"]),
        "received_bytes": row["received_bytes"],
        "total_bytes": row["total_bytes"],
        "attempts": row["attempts"],
        "reason_code": row["reason_code"],
        "reason": row["reason"],
        "hint": row["hint"],
        "on_conflict": row["on_conflict"],
        "sha256": row["content_etag"],
        "media_type": row["media_type"],
        "final_url": row["final_url"],
        "source_etag": row["source_etag"],
        "source_last_modified": row["source_modified"],
        "fetched_at": None if fetched_at is None else timestamp(fetched_at),
        "actor": row["actor"],
        "created_at": timestamp(row["created_at"]),
        "updated_at": timestamp(row["updated_at"]),
    }
