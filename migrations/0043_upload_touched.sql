-- An upload is given up when no part of it has come for long, not when it began long ago.
alter table app.upload add column touched_ts timestamptz not null default now();
drop index app.upload_created_ts_idx;
create index on app.upload (touched_ts);
