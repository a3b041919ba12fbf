-- Sign-in, and responses stored for repeated writes.

create table app.person_credential (
  person_id uuid primary key,
  password_hash text not null,
  updated_ts timestamptz not null default now()
);

-- Only a hash of the token is stored. Its successor is computed from the token with the secret of
-- the service, so that a repeated refresh within the grace period gets the same successor.
create table app.refresh_token (
  token_hash bytea primary key,
  family_id uuid not null,
  person_id uuid not null,
  issued_ts timestamptz not null default now(),
  expires_ts timestamptz not null,
  rotated_ts timestamptz,
  revoked_ts timestamptz
);
create index on app.refresh_token (family_id);
create index on app.refresh_token (expires_ts);

create table app.idempotency_key (
  person_id uuid not null,
  key text not null check (char_length(key) between 1 and 200),
  fingerprint bytea not null,
  status smallint not null,
  body jsonb,
  created_ts timestamptz not null default now(),
  primary key (person_id, key)
);
create index on app.idempotency_key (created_ts);
