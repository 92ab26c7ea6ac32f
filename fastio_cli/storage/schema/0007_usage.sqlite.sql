-- The org of a workspace as a column, and counters in place of sums: what a workspace holds, and
-- what an org does. Its rows are spread by workspace; their sum is what it has.

alter table workspaces add column org text not null default '';
alter table workspaces add column state_count integer not null default 0;
alter table workspaces add column file_count integer not null default 0;
alter table workspaces add column live_bytes integer not null default 0;
update workspaces set org = substr(name, 1, instr(name, '/') - 1) where instr(name, '/') > 0;
update workspaces set (state_count, file_count, live_bytes) = (
    select coalesce(sum(case when kind = 'state' then 1 else 0 end), 0),
        coalesce(sum(case when kind = 'file' then 1 else 0 end), 0), coalesce(sum(size_bytes), 0)
    from objects where objects.workspace_id = workspaces.id and deleted = 0);
create index workspaces_org on workspaces (org, name, id);

create table org_usage (
    org text not null,
    shard integer not null,
    workspace_count integer not null,
    object_count integer not null,
    size_bytes integer not null,
    primary key (org, shard)
) strict, without rowid;
insert into org_usage (org, shard, workspace_count, object_count, size_bytes)
    select org, id % 32, count(*), sum(object_count), sum(size_bytes) from workspaces
    group by org, id % 32;
