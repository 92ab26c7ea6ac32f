-- The words of the search index by workspace, so that nobody's scores depend on what others wrote.
-- The index is derived: what was made before is dropped, and made anew at the next search. An older
-- process beside this one goes on reading and writing; it searches again once it is restarted.

-- passage_count and token_count are what BM25 measures by; revision moves with every change; worker
-- is the process that keeps it warm, until a time.
alter table search_indexes add column passage_count integer not null default 0;
alter table search_indexes add column token_count integer not null default 0;
alter table search_indexes add column revision integer not null default 0;
alter table search_indexes add column worker text;
alter table search_indexes add column taken_until integer not null default 0;

drop table passages_fts;
drop table passages;
delete from search_objects;
drop table vector_blocks;

create table passages (
    workspace_id integer not null,
    id integer not null,
    path text not null,
    line integer,
    end_line integer,
    page integer,
    pointer text,
    heading text not null,
    body text not null,
    primary key (workspace_id, id)
) strict;
create index passages_path on passages (workspace_id, path, id);

-- Words of passages that are in no block yet: "word:times in the body:times in the context", each
-- between spaces. token_count is the length of both.
create table loose_passages (
    workspace_id integer not null,
    id integer not null,
    token_count integer not null,
    words text not null,
    primary key (workspace_id, id)
) strict, without rowid;

-- A block is some passages whose words were turned into postings. ids are 64-bit; token_counts are
-- 16-bit, 0 for a passage that is gone.
create table word_blocks (
    workspace_id integer not null,
    first_id integer not null,
    last_id integer not null,
    passage_count integer not null,
    alive_count integer not null,
    revision integer not null,
    ids blob not null,
    token_counts blob not null,
    primary key (workspace_id, first_id)
) strict;

-- Where a word stands in a block: 16-bit place of the passage, 8-bit times in the body and in the
-- context, for each passage that has it.
create table postings (
    workspace_id integer not null,
    first_id integer not null,
    word text not null,
    places blob not null,
    primary key (workspace_id, first_id, word)
) strict, without rowid;

-- Vectors in blocks: ids as 64-bit, scales as 32-bit floats, codes as signed bytes.
create table vector_blocks (
    workspace_id integer not null,
    first_id integer not null,
    last_id integer not null,
    revision integer not null,
    ids blob not null,
    scales blob not null,
    codes blob not null,
    primary key (workspace_id, first_id)
) strict;
