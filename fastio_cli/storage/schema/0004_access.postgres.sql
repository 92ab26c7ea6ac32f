-- Orgs, their members and tokens, transfers of ownership, credits. The org '' is the store's first;
-- the workspaces of another org carry its name before theirs: 'acme/default'.

create table orgs (
    name text collate "C" not null primary key,
    created_at bigint not null
);
insert into orgs (name, created_at)
    select '', coalesce(min(created_at), 0) from workspaces;

-- workspace_id 0 is the role in the whole org.
create table members (
    org text collate "C" not null references orgs (name),
    name text collate "C" not null,
    workspace_id bigint not null,
    role text not null,
    created_at bigint not null,
    primary key (org, name, workspace_id)
);

create table tokens (
    digest text collate "C" not null primary key,
    id text collate "C" not null,
    org text collate "C" not null references orgs (name),
    member text not null,
    label text not null,
    role text not null,
    scopes text not null,
    workspace_id bigint,
    created_at bigint not null,
    created_by text not null,
    expires_at bigint,
    revoked_at bigint,
    last_used_at bigint
);
create unique index tokens_id on tokens (org, id);

create table transfers (
    digest text collate "C" not null primary key,
    id text collate "C" not null,
    org text collate "C" not null references orgs (name),
    created_by text not null,
    created_at bigint not null,
    expires_at bigint not null,
    claimed_at bigint,
    claimed_by text,
    revoked_at bigint
);
create unique index transfers_id on transfers (org, id);

create table credits (
    org text collate "C" not null references orgs (name),
    month text collate "C" not null,
    used bigint not null,
    primary key (org, month)
);
