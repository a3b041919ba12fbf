-- Uploads on their way to become artifacts. Their bytes are in the store of files; here is whose they are and what is to come of them.
create table app.upload (
  id uuid primary key,
  person_id uuid not null references app.person on delete cascade,
  name text not null,
  size_bytes bigint not null check (size_bytes >= 0),
  -- By what its sender finds it again.
  fingerprint text,
  -- What the artifact is to hang below, or which it fills or supersedes.
  about_code text not null,
  about_id uuid not null,
  -- The artifact that came of it: a repeat of the last step answers it.
  made_id uuid,
  created_ts timestamptz not null default now()
);
create index on app.upload (person_id);
create index on app.upload (created_ts);
-- By what the sweep asks whether a content is still somebody's.
create index on app.artifact (storage_key) where storage_key is not null;
