-- What a token made ends with it, so each of these knows the token it was made with. And what a kept
-- answer is about, where its request names a workspace that may have another name by now, or none.

alter table tokens add column created_by_token text;
create index tokens_created_by_token on tokens (org, created_by_token)
    where created_by_token is not null;
alter table transfers add column created_by_token text;
create index transfers_created_by_token on transfers (org, created_by_token)
    where created_by_token is not null;
alter table requests add column target_id bigint;
