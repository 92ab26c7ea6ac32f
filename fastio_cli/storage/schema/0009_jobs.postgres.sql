-- Work in the background. due_at says when a runner should look at a job: while it is queued the time
-- to begin, while it runs the end of its lease, null once it has ended. fence rises with every lease:
-- a runner whose lease ran out can neither end its job nor write what came of it. attempts counts
-- since the job was queued, failures those in a row. workspace_id 0 holds the jobs of no workspace.

create table jobs (
    workspace_id bigint not null,
    id text collate "C" not null,
    kind text not null,
    state text not null,
    actor text not null,
    payload text not null,
    due_at bigint,
    fence bigint not null default 0,
    attempts bigint not null default 0,
    failures bigint not null default 0,
    reason_code text,
    reason text,
    hint text,
    queued_at bigint not null,
    updated_at bigint not null,
    primary key (workspace_id, id)
);
create index jobs_due on jobs (kind, workspace_id, due_at) where due_at is not null;
