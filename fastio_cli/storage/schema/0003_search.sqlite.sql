-- The search index: derived from the event log, dropped and rebuilt at will.

-- How far the index of a workspace has read the log. next_id numbers its passages, embedded_id is
-- the last one that has its vector; format and model say what made them.
create table search_indexes (
    workspace_id integer primary key references workspaces (id),
    enabled integer not null,
    seq integer not null,
    next_id integer not null,
    embedded_id integer not null,
    format text not null,
    model text not null
) strict;

-- One row an indexed object. complete is 0 while only the first of its passages are there.
create table search_objects (
    workspace_id integer not null references workspaces (id),
    path text not null,
    version integer not null,
    kind text not null,
    updated_at integer not null,
    passage_count integer not null,
    complete integer not null,
    problem text,
    primary key (workspace_id, path)
) strict, without rowid;

-- The id leads with the workspace, so that a workspace is a range of the full-text index.
create table passages (
    id integer primary key,
    workspace_id integer not null references workspaces (id),
    path text not null,
    line integer,
    end_line integer,
    page integer,
    pointer text,
    heading text not null,
    body text not null,
    context text not null
) strict;
create index passages_path on passages (workspace_id, path, id);

-- The context is searched too, more lightly: file name, headings, date, neighbouring passages.
create virtual table passages_fts using fts5(
    body, context, content='passages', content_rowid='id',
    tokenize='porter unicode61 remove_diacritics 2'
);

-- Vectors in blocks: ids as 64-bit, scales as 32-bit floats, codes as signed bytes.
create table vector_blocks (
    workspace_id integer not null references workspaces (id),
    first_id integer not null,
    last_id integer not null,
    ids blob not null,
    scales blob not null,
    codes blob not null,
    primary key (workspace_id, first_id)
) strict;
