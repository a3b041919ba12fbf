-- Whoever moves a thing waits shortly for those who make new ones, as a long import does: who comes behind would wait as well. It is tried again later.
create or replace function app.lock_topology(alone boolean) returns void language sql volatile set lock_timeout = '2s' as $$
  select case when alone then pg_advisory_xact_lock(7461, 1) else pg_advisory_xact_lock_shared(7461, 1) end
$$;
