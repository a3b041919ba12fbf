-- The feed: notification of its readers, incarnations of the database, access changes.

-- After insert into the change log: notifies the readers of the feed. The notification carries no
-- data; readers poll the log from their cursors. The constant payload coalesces within a
-- transaction. NOTIFY takes a cluster-wide lock at commit, so a session that sets `app.notify_mode
-- = 'after_commit'` notifies by itself after its commit; every other session (psql included) does
-- it here.
create or replace function app.notify_feed() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('app.notify_mode', true), '') <> 'after_commit' then
    perform pg_notify('app_feed', '');
  end if;
  return null;
end $$;

-- Identifies this incarnation of the database: cluster, timeline and database oid.
create or replace function app.database_identity() returns text language sql stable as $$
  select (select system_identifier::text from pg_control_system()) || ':'
      || (select timeline_id::text from pg_control_checkpoint()) || ':'
      || (select oid::text from pg_database where datname = current_database())
$$;

-- Returns the current epoch; begins a new one if the identity of the database has changed, for
-- example after a restore. Each service calls it at start. The first epoch is the current time in
-- seconds: a schema that is recreated in the same database has the same identity and must not
-- accept the cursors of its predecessor. Access changes recorded by another incarnation are
-- deleted, because their transaction ids mean nothing here.
create or replace function app.renew_epoch_if_changed() returns bigint language plpgsql as $$
declare
  current_identity text := app.database_identity();
  current_epoch bigint;
begin
  insert into app.feed_epoch (epoch, identity) values (floor(extract(epoch from clock_timestamp()))::bigint, current_identity)
  on conflict (singleton) do update
    set epoch = app.feed_epoch.epoch + 1, identity = excluded.identity, started_ts = now(), truncated_before_xid = '0'
    where app.feed_epoch.identity <> excluded.identity;
  if found then
    delete from app.access_change;
    delete from app.title_change;
  end if;
  select epoch into current_epoch from app.feed_epoch;
  return current_epoch;
end $$;

-- Returns the access changes written by transactions from `p_from` on and by those in `p_finished`
-- (if visible in snapshot `p_until`), as parallel arrays. New ancestor sets are left out: the feed
-- reads a set when an entity has it. `many`: more than `p_most` rows match.
create or replace function app.access_changes_between(p_from xid8, p_finished xid8[], p_until text, p_most integer,
                                                      out many boolean, out person_ids uuid[], out new_ancestor_set_ids integer[],
                                                      out old_ancestor_set_ids integer[], out are_creator_grants boolean[])
language plpgsql stable set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
  select count(*) > p_most, array_agg(c.person_id), array_agg(c.new_ancestor_set_id), array_agg(c.old_ancestor_set_id), array_agg(c.is_creator_grant)
  into many, person_ids, new_ancestor_set_ids, old_ancestor_set_ids, are_creator_grants
  from (
    (select * from app.access_change a
     where a.xid >= p_from and (a.new_ancestor_set_id is null or a.old_ancestor_set_id is not null)
       and (p_until is null or pg_visible_in_snapshot(a.xid, p_until::pg_snapshot))
     limit p_most + 1)
    union all
    (select * from app.access_change a
     where a.xid = any (p_finished) and (a.new_ancestor_set_id is null or a.old_ancestor_set_id is not null)
       and (p_until is null or pg_visible_in_snapshot(a.xid, p_until::pg_snapshot))
     limit p_most + 1)
  ) c;
end $$;
