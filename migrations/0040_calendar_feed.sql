-- Addresses of calendars: what is due, for a program that can't sign in. The address holds a secret of which only a hash is kept; taking the row away revokes it.
create table app.calendar_feed (
  id uuid primary key,
  person_id uuid not null references app.person on delete cascade,
  secret_hash bytea not null unique,
  -- What is below this thing; none: what is the person's own to do.
  about_code text,
  about_id uuid,
  created_ts timestamptz not null default now(),
  used_ts timestamptz,
  check ((about_code is null) = (about_id is null))
);
create index on app.calendar_feed (person_id);
