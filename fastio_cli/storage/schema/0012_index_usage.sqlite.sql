-- The search index counts for its org: what it takes by the number and length of its passages.

alter table search_indexes add column counted_bytes integer not null default 0;
alter table org_usage add column index_bytes integer not null default 0;
