-- The member of the org that a job acts for, whose role is asked again when it is done; null for the
-- owner of the store. What was queued before is taken for a member's if there is one of that name.
-- Headers of imports are sealed with a key that is not in the store, and an import is counted for its
-- workspace: for good, and with the bytes that were fetched as long as only their commit has failed.

alter table jobs add column member text;
alter table imports add column member text;
alter table imports add column sealed_headers text;
alter table imports add column counted_bytes integer not null default 0;
alter table imports add column kept_bytes integer not null default 0;
update jobs set member = actor where kind = 'import' and due_at is not null
    and exists (select 1 from tokens where tokens.member = jobs.actor);
update imports set member = actor where (state = 'queued' or state = 'running')
    and exists (select 1 from tokens where tokens.member = imports.actor);
create index jobs_member on jobs (member, workspace_id)
    where member is not null and due_at is not null;

-- The search index counts for its org: what it takes by the number and length of its passages.

alter table search_indexes add column counted_bytes integer not null default 0;
alter table org_usage add column index_bytes integer not null default 0;
update search_indexes
    set counted_bytes = cast(passage_count as bigint) * 2048 + cast(token_count as bigint) * 16;
update org_usage set index_bytes = coalesce((
    select sum(i.counted_bytes) from search_indexes i join workspaces w on w.id = i.workspace_id
    where w.org = org_usage.org and w.id % 32 = org_usage.shard), 0);

-- Who refers to a blob is asked when a call that stored it was refused.

create index versions_blob on versions (blob) where blob is not null;
create index segments_blob on segments (blob) where blob is not null;
