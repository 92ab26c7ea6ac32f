-- Orgs, their members and tokens, transfers of ownership, credits. The org '' is the store's first;
-- the workspaces of another org carry its name before theirs: 'acme/default'.

create table orgs (
    name text not null primary key,
    created_at integer not null
) strict, without rowid;
insert into orgs (name, created_at)
    select '', coalesce(min(created_at), 0) from workspaces;

-- workspace_id 0 is the role in the whole org.
create table members (
    org text not null references orgs (name),
    name text not null,
    workspace_id integer not null,
    role text not null,
    created_at integer not null,
    primary key (org, name, workspace_id)
) strict, without rowid;

create table tokens (
    digest text not null primary key,
    id text not null,
    org text not null references orgs (name),
    member text not null,
    label text not null,
    role text not null,
    scopes text not null,
    workspace_id integer,
    created_at integer not null,
    created_by text not null,
    expires_at integer,
    revoked_at integer,
    last_used_at integer
) strict, without rowid;
create unique index tokens_id on tokens (org, id);

create table transfers (
    digest text not null primary key,
    id text not null,
    org text not null references orgs (name),
    created_by text not null,
    created_at integer not null,
    expires_at integer not null,
    claimed_at integer,
    claimed_by text,
    revoked_at integer
) strict, without rowid;
create unique index transfers_id on transfers (org, id);

create table credits (
    org text not null references orgs (name),
    month text not null,
    used integer not null,
    primary key (org, month)
) strict, without rowid;
