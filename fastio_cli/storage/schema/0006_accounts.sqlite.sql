-- Members' logins at file services, encrypted with a key that is not in the store (secret_box.py). A login
-- that was ended is still to be revoked at its service. Whoever refreshes or revokes one holds it.

create table accounts (
    org text not null references orgs (name),
    member text not null,
    service text not null,
    sealed text not null,
    expires_at integer,
    created_at integer not null,
    ended_at integer,
    held_until integer not null default 0,
    primary key (org, member, service)
) strict, without rowid;

-- What was fetched, while only its commit has failed.
alter table imports add column fetched text;
