-- Who rings: the transaction itself, or, where its session says `app.doorbell = 'afterwards'`, the service that wrote it, once it is committed. A
-- transaction that rings takes a lock of the whole cluster at its commit; whoever says nothing, psql included, still rings itself.
create or replace function app.ring_feed() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('app.doorbell', true), '') <> 'afterwards' then
    perform pg_notify('app_feed', '');
  end if;
  return null;
end $$;
