-- Numbers never go back. No number up to number_floor is given out in a workspace any more, neither to
-- an event nor to a version: its next event has the number number_floor and the type floor_reason.
-- numbers_skipped counts the numbers that no event has. name_floors keeps the highest number that was
-- given out under a name, for the next workspace of that name; the empty name stands for all names.
-- The lineage stays the same in what was made from a backup.

alter table workspaces add column number_floor integer not null default 0;
alter table workspaces add column floor_reason text;
alter table workspaces add column numbers_skipped integer not null default 0;

create table name_floors (
    name text primary key,
    floor integer not null
) strict, without rowid;

insert into name_floors (name, floor) select name, max(seq) from workspaces
    where deleted_at is not null group by name;

insert into store_keys (name, value) select 'lineage', value from store_keys
    where name = 'lock_tokens';
