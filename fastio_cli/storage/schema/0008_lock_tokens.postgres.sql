-- The key that lock tokens are derived with, so that a repeated request gets its token again and no
-- answer that holds one is kept. What the version before kept of such answers, hidden, goes.

create table store_keys (
    name text collate "C" primary key,
    value text not null
);

-- Three UUIDs of version 4 hold 366 random bits.
insert into store_keys (name, value) values ('lock_tokens', encode(sha256(
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
), 'hex'));

delete from requests where result not like '{%';
