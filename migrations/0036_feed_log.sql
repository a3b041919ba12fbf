-- The log remembers where things were, so that the end of one that is purged is told to exactly those who saw it; and it can be cut at its old end.

alter table app.system_logging add column reach integer;

-- Where things were before their purge began; empty outside of one.
create table app.purging (id uuid primary key, reach integer not null);

drop function app.log(text, uuid, smallint, bigint, jsonb);
create function app.log(p_code text, p_id uuid, p_action smallint, p_version bigint, p_changed jsonb, p_reach integer default null) returns void
language plpgsql volatile as $$
begin
  insert into app.system_logging
    (fname, lname, username, person_type, actor_person_id, entity_code, entity_id, action, epoch, entity_version, changed, reach)
  values (
    nullif(left(current_setting('app.actor_first_name', true), 100), ''),
    nullif(left(current_setting('app.actor_last_name', true), 100), ''),
    coalesce(nullif(left(current_setting('app.actor_username', true), 255), ''), 'system'),
    coalesce(nullif(left(current_setting('app.actor_person_type', true), 50), ''), 'system'),
    nullif(current_setting('app.actor_person_id', true), '')::uuid,
    p_code, p_id, p_action, coalesce((select epoch from app.feed_epoch), 1), p_version, p_changed, p_reach);
end $$;

-- As before, and each row says where its thing was, for when it is gone for good.
create or replace function app.log_change() returns trigger language plpgsql as $$
declare
  before jsonb; after jsonb; diff jsonb; what smallint; subject uuid; seen bigint; place integer;
begin
  if tg_op = 'INSERT' then
    after := jsonb_strip_nulls(to_jsonb(new) - '{version,updated_ts,created_ts,id,reach}'::text[]);
    select coalesce(jsonb_object_agg(key, jsonb_build_object('new', value)), '{}') into diff from jsonb_each(after);
    what := case tg_argv[0] when 'message' then 1 else 6 end;
    subject := new.id; seen := new.version; place := new.reach;
  elsif tg_op = 'UPDATE' then
    if new.version = old.version then return null; end if;
    before := to_jsonb(old) - '{version,updated_ts,reach}'::text[];
    after := to_jsonb(new) - '{version,updated_ts,reach}'::text[];
    select coalesce(jsonb_object_agg(a.key, jsonb_build_object('old', b.value, 'new', a.value)), '{}') into diff
      from jsonb_each(after) a join jsonb_each(before) b using (key) where a.value is distinct from b.value;
    what := case when old.active_flag and not new.active_flag then 5
                 when new.active_flag and not old.active_flag then 6 else 3 end;
    subject := new.id; seen := new.version; place := new.reach;
  else
    before := jsonb_strip_nulls(to_jsonb(old) - '{version,updated_ts,created_ts,id,reach}'::text[]);
    select coalesce(jsonb_object_agg(key, jsonb_build_object('old', value)), '{}') into diff from jsonb_each(before);
    what := 5; subject := old.id; seen := old.version + 1;
    place := coalesce((select p.reach from app.purging p where p.id = old.id), old.reach);
  end if;
  perform app.log(tg_argv[0], subject, what, seen, diff, place);
  return null;
end $$;

-- As before; what lies below is cut off from above while it goes, so where it was is noted first.
create or replace function app.purge(p_code text, p_id uuid) returns integer language plpgsql as $$
declare
  part record; n integer := 0; hits integer; progress boolean := true; codes text[]; ids uuid[];
begin
  with recursive below (code, id) as (
    select p_code, p_id
    union
    select l.child_code, l.child_id from below b
    join app.entity_instance_link l on l.parent_code = b.code and l.parent_id = b.id and l.owned
  )
  select array_agg(below.code), array_agg(below.id) into codes, ids from below;
  insert into app.purging (id, reach) select th.id, th.reach from app.thing th where th.id = any (ids) on conflict do nothing;
  while progress loop
    progress := false;
    for part in
      select th.code, array_agg(th.id) as ids from app.thing th where th.id = any (ids) group by th.code order by th.code
    loop
      begin
        execute format('delete from app.%I where id = any ($1)', part.code) using part.ids;
        get diagnostics hits = row_count;
        n := n + hits;
        progress := progress or hits > 0;
      exception when foreign_key_violation then null; -- something of the next round refers to it
      end;
    end loop;
  end loop;
  if exists (select from app.thing th where th.id = any (ids)) then
    raise exception 'is still referred to by something that does not belong to it: change that first' using errcode = 'check_violation', column = 'id';
  end if;
  delete from app.deletion d where (d.root_code, d.root_id) = (p_code, p_id) or d.entity_id = any (ids);
  delete from app.purging p where p.id = any (ids);
  return n;
end $$;

-- Cutting the log -----------------------------------------------------------------------------------------------------

-- Transactions up to here may be missing from the log.
alter table app.feed_epoch add column cut_xid xid8 not null default '0';

-- As before; what another incarnation noted by its transaction numbers is worth nothing here, and would be taken for new.
create or replace function app.check_epoch() returns bigint language plpgsql as $$
declare
  present text := app.database_identity();
  answer bigint;
begin
  insert into app.feed_epoch (epoch, identity) values (1, present)
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

update app.setting set value = value || '{"keep_days": null}' where key = 'feed';

-- Takes away the log's months that ended more than `feed.keep_days` ago; without that setting nothing. It waits for nobody: a month that somebody
-- reads just now stays until the next call. Answers what was taken.
create function app.cut_log() returns text[] language plpgsql as $$
declare
  days integer; part record; last xid8; taken text[] := '{}';
begin
  select (value ->> 'keep_days')::integer into days from app.setting where key = 'feed';
  if days is null or days < 1 then return taken; end if;
  perform set_config('lock_timeout', '50ms', true);
  for part in
    select c.relname as title from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'app.system_logging'::regclass and c.relname ~ '^system_logging_\d{4}_\d{2}$'
      and to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' < now() - make_interval(days => days)
    order by c.relname
  loop
    begin
      execute format('select xid from app.%I where epoch = (select epoch from app.feed_epoch) order by xid desc, seq desc limit 1', part.title) into last;
      execute format('drop table app.%I', part.title);
      update app.feed_epoch set cut_xid = last where cut_xid < last;
      taken := taken || part.title::text;
    exception when lock_not_available then exit; -- somebody reads the log: another time
    end;
  end loop;
  return taken;
end $$;
