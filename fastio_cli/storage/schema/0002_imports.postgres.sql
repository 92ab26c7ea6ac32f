-- Imports: one row a URL. due_at says when a worker should look at it: when it is queued the time to
-- begin, while it runs the end of the worker's lease, null when it is over.

create table imports (
    workspace_id bigint not null references workspaces (id),
    id bigint not null,
    state text not null,
    url text collate "C" not null,
    target text not null,
    name text,
    on_conflict text not null,
    sha256 text,
    size_bytes_max bigint,
    lock_hash text,
    headers text,
    actor text not null,
    path text,
    version bigint,
    content_etag text,
    media_type text,
    unchanged bigint not null default 0,
    received_bytes bigint not null default 0,
    total_bytes bigint,
    attempts bigint not null default 0,
    failures bigint not null default 0,
    reason_code text,
    reason text,
    hint text,
    source_etag text,
    source_modified text,
    final_url text,
    fetched_at bigint,
    created_at bigint not null,
    updated_at bigint not null,
    due_at bigint,
    worker text,
    primary key (workspace_id, id)
) with (fillfactor = 80);
create index imports_due on imports (workspace_id, due_at) where due_at is not null;
create index imports_url on imports (workspace_id, url, id);
