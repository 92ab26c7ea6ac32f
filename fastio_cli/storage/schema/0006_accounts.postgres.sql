-- Members' logins at file services, encrypted with a key that is not in the store (secret_box.py). A login
-- that was ended is still to be revoked at its service. Whoever refreshes or revokes one holds it.

create table accounts (
    org text collate "C" not null references orgs (name),
    member text collate "C" not null,
    service text collate "C" not null,
    sealed text not null,
    expires_at bigint,
    created_at bigint not null,
    ended_at bigint,
    held_until bigint not null default 0,
    primary key (org, member, service)
);

-- What was fetched, while only its commit has failed.
alter table imports add column fetched text;
