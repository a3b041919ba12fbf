-- Identifiers.

-- Returns a time-ordered UUID (RFC 9562): 48 bits of milliseconds, version nibble 7, the rest
-- random.
create or replace function app.uuid_v7() returns uuid language sql volatile parallel safe as $$
  select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
          || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid
$$;
