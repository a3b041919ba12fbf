-- A database whose schema is made anew has the cluster and the number of the one before, and so would have its epoch: cursors of the old would be
-- believed. The first epoch is the second in which it began.
create or replace function app.check_epoch() returns bigint language plpgsql as $$
declare
  present text := app.database_identity();
  answer bigint;
begin
  insert into app.feed_epoch (epoch, identity) values (floor(extract(epoch from clock_timestamp()))::bigint, present)
  on conflict (only_row) do update
    set epoch = app.feed_epoch.epoch + 1, identity = excluded.identity, started_ts = now(), cut_xid = '0'
    where app.feed_epoch.identity <> excluded.identity;
  if found then
    delete from app.access_change;
    delete from app.name_change;
  end if;
  select epoch into answer from app.feed_epoch;
  return answer;
end $$;

-- Its statement takes a millisecond; compiling it takes eighty, for who inserts with a session of their own.
alter function app.place_task() set jit = off;
