-- Who refers to a blob is asked when a call that stored it was refused.

create index versions_blob on versions (blob) where blob is not null;
create index segments_blob on segments (blob) where blob is not null;
