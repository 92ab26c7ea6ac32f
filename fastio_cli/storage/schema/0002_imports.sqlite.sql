-- Imports: one row a URL. due_at says when a worker should look at it: when it is queued the time to
-- begin, while it runs the end of the worker's lease, null when it is over.

create table imports (
    workspace_id integer not null references workspaces (id),
    id integer not null,
    state text not null,
    url text not null,
    target text not null,
    name text,
    on_conflict text not null,
    sha256 text,
    size_bytes_max integer,
    lock_hash text,
    headers text,
    actor text not null,
    path text,
    version integer,
    content_etag text,
    media_type text,
    unchanged integer not null default 0,
    received_bytes integer not null default 0,
    total_bytes integer,
    attempts integer not null default 0,
    failures integer not null default 0,
    reason_code text,
    reason text,
    hint text,
    source_etag text,
    source_modified text,
    final_url text,
    fetched_at integer,
    created_at integer not null,
    updated_at integer not null,
    due_at integer,
    worker text,
    primary key (workspace_id, id)
) strict, without rowid;
create index imports_due on imports (workspace_id, due_at) where due_at is not null;
create index imports_url on imports (workspace_id, url, id);
