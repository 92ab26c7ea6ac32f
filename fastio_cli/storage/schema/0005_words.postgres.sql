-- The search index: derived from the event log, dropped and rebuilt at will. It refers to no other
-- table: a key to the workspace would make those who index wait for those who write.

-- How far the index of a workspace has read the log. next_id numbers its passages, embedded_id is
-- the last one that has its vector; format and model say what made them. passage_count and
-- token_count are what BM25 measures by; revision moves with every change; worker is the process
-- that keeps it warm, until a time.
create table search_indexes (
    workspace_id bigint primary key,
    enabled bigint not null,
    seq bigint not null,
    next_id bigint not null,
    embedded_id bigint not null,
    format text not null,
    model text not null,
    passage_count bigint not null default 0,
    token_count bigint not null default 0,
    revision bigint not null default 0,
    worker text,
    taken_until bigint not null default 0
) with (fillfactor = 50);

-- One row an indexed object. complete is 0 while only the first of its passages are there.
create table search_objects (
    workspace_id bigint not null,
    path text collate "C" not null,
    version bigint not null,
    kind text not null,
    updated_at bigint not null,
    passage_count bigint not null,
    complete bigint not null,
    problem text,
    primary key (workspace_id, path)
);

create table passages (
    workspace_id bigint not null,
    id bigint not null,
    path text collate "C" not null,
    line bigint,
    end_line bigint,
    page bigint,
    pointer text,
    heading text not null,
    body text not null,
    primary key (workspace_id, id)
);
create index passages_path on passages (workspace_id, path, id);

-- Words of passages that are in no block yet: "word:times in the body:times in the context", each
-- between spaces. token_count is the length of both.
create table loose_passages (
    workspace_id bigint not null,
    id bigint not null,
    token_count bigint not null,
    words text not null,
    primary key (workspace_id, id)
);

-- A block is some passages whose words were turned into postings. ids are 64-bit; token_counts are
-- 16-bit, 0 for a passage that is gone.
create table word_blocks (
    workspace_id bigint not null,
    first_id bigint not null,
    last_id bigint not null,
    passage_count bigint not null,
    alive_count bigint not null,
    revision bigint not null,
    ids bytea not null,
    token_counts bytea not null,
    primary key (workspace_id, first_id)
);

-- Where a word stands in a block: 16-bit place of the passage, 8-bit times in the body and in the
-- context, for each passage that has it.
create table postings (
    workspace_id bigint not null,
    first_id bigint not null,
    word text collate "C" not null,
    places bytea not null,
    primary key (workspace_id, first_id, word)
);

-- Vectors in blocks, where the database has no type for them: ids as 64-bit, scales as 32-bit
-- floats, codes as signed bytes.
create table vector_blocks (
    workspace_id bigint not null,
    first_id bigint not null,
    last_id bigint not null,
    revision bigint not null,
    ids bytea not null,
    scales bytea not null,
    codes bytea not null,
    primary key (workspace_id, first_id)
);
