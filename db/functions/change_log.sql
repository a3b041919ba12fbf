-- The change log: audit trail and source of the feed.

-- Appends one row in the name of the actor given by the session settings app.actor_*.
-- `p_ancestor_set_id` is the ancestor set of the entity at that time. Written in plpgsql, because
-- it caches the plan: planning would be most of the cost of a row.
create or replace function app.append_log(p_code text, p_id uuid, p_action smallint, p_version bigint, p_changed jsonb,
                                          p_ancestor_set_id integer default null) returns void
language plpgsql volatile as $$
begin
  insert into app.system_logging
    (fname, lname, username, person_type, actor_person_id, entity_code, entity_id, action, epoch, entity_version, changed, ancestor_set_id)
  values (
    nullif(left(current_setting('app.actor_first_name', true), 100), ''),
    nullif(left(current_setting('app.actor_last_name', true), 100), ''),
    coalesce(nullif(left(current_setting('app.actor_username', true), 255), ''), 'system'),
    coalesce(nullif(left(current_setting('app.actor_person_type', true), 50), ''), 'system'),
    nullif(current_setting('app.actor_person_id', true), '')::uuid,
    p_code, p_id, p_action, coalesce((select epoch from app.feed_epoch), 1), p_version, p_changed, p_ancestor_set_id);
end $$;

-- After insert, update or delete of an entity row: logs the changed columns. Each log row carries
-- the ancestor set of the entity, so that the feed can authorize its delivery after a purge.
-- Argument: entity code.
create or replace function app.log_change() returns trigger language plpgsql as $$
declare
  before jsonb; after jsonb; diff jsonb; action smallint; entity_id uuid; version bigint; set_id integer;
begin
  if tg_op = 'INSERT' then
    after := jsonb_strip_nulls(to_jsonb(new) - '{version,input_version,updated_ts,created_ts,id,ancestor_set_id}'::text[]);
    select coalesce(jsonb_object_agg(key, jsonb_build_object('new', value)), '{}') into diff from jsonb_each(after);
    action := case tg_argv[0] when 'message' then 1 else 6 end;
    entity_id := new.id; version := new.version; set_id := new.ancestor_set_id;
  elsif tg_op = 'UPDATE' then
    if new.version = old.version then return null; end if;
    before := to_jsonb(old) - '{version,input_version,updated_ts,ancestor_set_id}'::text[];
    after := to_jsonb(new) - '{version,input_version,updated_ts,ancestor_set_id}'::text[];
    select coalesce(jsonb_object_agg(a.key, jsonb_build_object('old', b.value, 'new', a.value)), '{}') into diff
      from jsonb_each(after) a join jsonb_each(before) b using (key) where a.value is distinct from b.value;
    action := case when old.active_flag and not new.active_flag then 5
                 when new.active_flag and not old.active_flag then 6 else 3 end;
    entity_id := new.id; version := new.version; set_id := new.ancestor_set_id;
  else
    before := jsonb_strip_nulls(to_jsonb(old) - '{version,input_version,updated_ts,created_ts,id,ancestor_set_id}'::text[]);
    select coalesce(jsonb_object_agg(key, jsonb_build_object('old', value)), '{}') into diff from jsonb_each(before);
    action := 5; entity_id := old.id; version := old.version + 1;
    set_id := coalesce((select p.ancestor_set_id from app.purge_staging p where p.id = old.id), old.ancestor_set_id);
  end if;
  perform app.append_log(tg_argv[0], entity_id, action, version, diff, set_id);
  return null;
end $$;

-- After a change of a grant: logs it, because it can change what people may view.
create or replace function app.log_grant() returns trigger language plpgsql as $$
declare
  g app.entity_rbac := case when tg_op = 'DELETE' then old else new end;
begin
  -- The creator of an entity owns it: that follows from the log row of the entity itself, and no
  -- other person's view changes.
  if current_setting('app.creator_grant', true) = 'on' then return null; end if;
  perform app.append_log('entity_rbac', g.id, 4::smallint, 0, jsonb_build_object(
    'operation', jsonb_build_object('new', tg_op),
    'person_id', jsonb_build_object('new', g.person_id),
    'role_id', jsonb_build_object('new', g.role_id),
    'entity_code', jsonb_build_object('new', g.entity_code),
    'entity_instance_id', jsonb_build_object('new', g.entity_instance_id),
    'permission', jsonb_build_object('new', g.permission)));
  return null;
end $$;

-- After a change of a free link: logs it, because it can change what people may view.
create or replace function app.log_link() returns trigger language plpgsql as $$
declare
  l app.entity_instance_link := case when tg_op = 'DELETE' then old else new end;
begin
  -- The log row of a child that is created together with its link covers the link.
  if current_setting('app.creator_grant', true) = 'on' then return null; end if;
  perform app.append_log('entity_instance_link', l.id, 4::smallint, 0, jsonb_build_object(
    'operation', jsonb_build_object('new', tg_op),
    'parent_code', jsonb_build_object('new', l.parent_code), 'parent_id', jsonb_build_object('new', l.parent_id),
    'child_code', jsonb_build_object('new', l.child_code), 'child_id', jsonb_build_object('new', l.child_id)));
  return null;
end $$;

-- Creates the monthly log partition that holds `day` if it is missing.
create or replace function app.ensure_log_partition(day date) returns void language plpgsql as $$
declare
  first date := date_trunc('month', day);
  title text := 'system_logging_' || to_char(first, 'YYYY_MM');
begin
  if to_regclass('app.' || title) is not null then return; end if;
  -- Rows of that month in the default partition would make the new one invalid: leave the month in
  -- the default partition.
  if exists (select from app.system_logging_default
             where created_ts >= first and created_ts < first + interval '1 month') then return; end if;
  execute format('create table app.%I partition of app.system_logging for values from (%L) to (%L)',
                 title, first, (first + interval '1 month')::date);
exception when duplicate_table then null; -- a concurrent service has created it
end $$;

-- Drops the monthly log partitions that ended more than `feed.log_retention_days` days ago, and
-- returns their names; without that setting, none. It does not wait for readers: a locked partition
-- stays until the next call.
create or replace function app.drop_expired_log_partitions() returns text[] language plpgsql as $$
declare
  days integer; part record; last xid8; dropped text[] := '{}';
begin
  -- `keep_days` is the deprecated name.
  select coalesce(value ->> 'log_retention_days', value ->> 'keep_days')::integer into days from app.setting where key = 'feed';
  if days is null or days < 1 then return dropped; end if;
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
      update app.feed_epoch set truncated_before_xid = last where truncated_before_xid < last;
      dropped := dropped || part.title::text;
    exception when lock_not_available then exit; -- a reader holds the log: retry at the next call
    end;
  end loop;
  return dropped;
end $$;
