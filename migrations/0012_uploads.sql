-- Uploads in progress: their bytes are in the blob store.
create table app.upload (
  id uuid primary key,
  person_id uuid not null references app.person on delete cascade,
  name text not null,
  size_bytes bigint not null check (size_bytes >= 0),
  fingerprint text,          -- of the file; identifies an interrupted upload to its sender
  target_code text not null, -- what the upload attaches to: the parent of the artifact, or the artifact to fill or supersede
  target_id uuid not null,
  artifact_id uuid,          -- the artifact that the upload became, for repeats of the last step
  created_ts timestamptz not null default now(),
  last_part_ts timestamptz not null default now() -- an upload expires some time after its last part
);
create index on app.upload (person_id);
create index on app.upload (last_part_ts);
