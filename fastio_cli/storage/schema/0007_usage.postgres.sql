-- The org of a workspace as a column, and counters in place of sums: what a workspace holds, and
-- what an org does. Its rows are spread by workspace, so that busy workspaces of one org do not
-- wait for each other; their sum is what it has.

alter table workspaces add column org text collate "C" not null default '';
alter table workspaces add column state_count bigint not null default 0;
alter table workspaces add column file_count bigint not null default 0;
alter table workspaces add column live_bytes bigint not null default 0;
update workspaces set org = split_part(name, '/', 1) where position('/' in name) > 0;
update workspaces set (state_count, file_count, live_bytes) = (
    select coalesce(sum(case when kind = 'state' then 1 else 0 end), 0),
        coalesce(sum(case when kind = 'file' then 1 else 0 end), 0), coalesce(sum(size_bytes), 0)
    from objects where objects.workspace_id = workspaces.id and deleted = 0);
create index workspaces_org on workspaces (org, name, id);

create table org_usage (
    org text collate "C" not null,
    shard bigint not null,
    workspace_count bigint not null,
    object_count bigint not null,
    size_bytes bigint not null,
    primary key (org, shard)
) with (fillfactor = 50);
insert into org_usage (org, shard, workspace_count, object_count, size_bytes)
    select org, id % 32, count(*), sum(object_count), sum(size_bytes) from workspaces
    group by org, id % 32;
