-- Calendar feeds: URLs for calendar programs, which cannot sign in. A URL contains a secret of
-- which only the hash is stored; deleting the row revokes it.
create table app.calendar_feed (
  id uuid primary key,
  person_id uuid not null references app.person on delete cascade,
  secret_hash bytea not null unique,
  about_code text, -- the feed covers the descendants of this entity; null: the person's own work
  about_id uuid,
  created_ts timestamptz not null default now(),
  used_ts timestamptz,
  check ((about_code is null) = (about_id is null))
);
create index on app.calendar_feed (person_id);
