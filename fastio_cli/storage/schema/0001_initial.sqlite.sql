-- The first schema. Times are milliseconds since 1970; the workspace leads every key.

create table workspaces (
    id integer primary key,
    name text not null,
    object_count integer not null,
    size_bytes integer not null,
    seq integer not null,
    head_hash text not null,
    created_at integer not null,
    updated_at integer not null,
    deleted_at integer
) strict;
create unique index workspaces_name on workspaces (name) where deleted_at is null;

create table objects (
    workspace_id integer not null references workspaces (id),
    path text not null,
    kind text not null,
    version integer not null,
    etag text not null,
    media_type text not null,
    size_bytes integer not null,
    schema text,
    author text not null,
    created_at integer not null,
    updated_at integer not null,
    deleted integer not null,
    primary key (workspace_id, path)
) strict, without rowid;

create table versions (
    workspace_id integer not null references workspaces (id),
    path text not null,
    version integer not null,
    kind text not null,
    etag text not null,
    media_type text not null,
    size_bytes integer not null,
    author text not null,
    at integer not null,
    change text not null,
    deleted integer not null,
    body blob,
    blob text,
    chain integer,
    primary key (workspace_id, path, version)
) strict;

create table segments (
    workspace_id integer not null references workspaces (id),
    chain integer not null,
    start integer not null,
    size_bytes integer not null,
    body blob,
    blob text,
    primary key (workspace_id, chain, start)
) strict;

create table locks (
    workspace_id integer not null references workspaces (id),
    path text not null,
    fence integer not null,
    token_hash text not null,
    holder text not null,
    purpose text not null,
    ttl_ms integer not null,
    acquired_at integer not null,
    renewed_at integer not null,
    expires_at integer not null,
    primary key (workspace_id, path)
) strict, without rowid;

create table lock_waiters (
    workspace_id integer not null references workspaces (id),
    path text not null,
    waiter_id text not null,
    ticket integer not null,
    holder text not null,
    expires_at integer not null,
    primary key (workspace_id, path, waiter_id)
) strict, without rowid;

create table events (
    workspace_id integer not null references workspaces (id),
    seq integer not null,
    type text not null,
    actor text not null,
    path text,
    version integer,
    at integer not null,
    data text not null,
    prev_hash text not null,
    hash text not null,
    primary key (workspace_id, seq)
) strict, without rowid;

-- workspace_id 0 holds the requests that name no workspace.
create table requests (
    workspace_id integer not null,
    key text not null,
    request_hash text not null,
    result text not null,
    expires_at integer not null,
    primary key (workspace_id, key)
) strict, without rowid;
create index requests_expires_at on requests (workspace_id, expires_at);
