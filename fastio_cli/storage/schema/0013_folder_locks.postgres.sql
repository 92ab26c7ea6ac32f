-- A lock on a folder, whose path ends with a slash, covers everything below it. folder_locks says that
-- one was ever asked for in a workspace: only there has a change to look for more than its own lock.

alter table workspaces add column folder_locks bigint not null default 0;
