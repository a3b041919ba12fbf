-- The platform: entity types, links, grants, datalabels, change log, subscriptions, sign-in.
-- Everything here is generic: no statement names a type of thing.

create schema if not exists app;

-- A time-ordered id: 48 bits of milliseconds, the version nibble 7, the rest random (RFC 9562).
create function app.uuid_v7() returns uuid language sql volatile parallel safe as $$
  select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
          || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid
$$;

-- Entity types ------------------------------------------------------------------------------------------------------

create table app.entity (
  code text primary key check (code ~ '^[a-z][a-z0-9_]{0,62}$'),
  name text not null,
  ui_label text not null,
  ui_icon text not null default 'circle',
  code_prefix text not null check (code_prefix ~ '^[A-Z]{1,5}$'),
  root_flag boolean not null default false,
  display_order integer not null default 100,
  column_metadata jsonb not null default '{}',
  config_datatable jsonb not null default '{}'
);

create table app.entity_child (
  parent_code text not null references app.entity on delete cascade,
  child_code text not null references app.entity on delete cascade,
  owned boolean not null default true,
  column_name text not null default '',     -- the child's column that names the parent; '' where only a link ties them
  code_column text not null default '',     -- the child's column that names the parent's type, where that varies
  create_level smallint not null default 6 check (create_level between 0 and 7), -- the level on the parent that making a child asks for
  display_order integer not null default 100,
  primary key (parent_code, child_code, column_name)
);
create index on app.entity_child (child_code);

create table app.datalabel (
  name text not null check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
  id integer not null,
  option_name text not null check (char_length(option_name) between 1 and 200),
  descr text,
  color_code text,
  display_order integer not null,
  parent_ids integer[] not null default '{}',
  terminal_flag boolean not null default false,
  active_flag boolean not null default true,
  primary key (name, id),
  unique (name, option_name)
);

create table app.setting (
  key text primary key,
  value jsonb not null,
  updated_ts timestamptz not null default now()
);

-- A link says that a thing hangs below another. Owned links and lookups with a column follow that column by trigger.
create table app.entity_instance_link (
  id uuid primary key default app.uuid_v7(),
  parent_code text not null,
  parent_id uuid not null,
  child_code text not null,
  child_id uuid not null,
  owned boolean not null default false,
  column_name text not null default '',
  created_ts timestamptz not null default now(),
  unique (child_code, child_id, parent_code, parent_id, column_name)
);
create index on app.entity_instance_link (parent_code, parent_id, child_code);

-- Grants ------------------------------------------------------------------------------------------------------------

create table app.entity_rbac (
  id uuid primary key default app.uuid_v7(),
  person_id uuid,
  role_id uuid,
  entity_code text not null references app.entity on delete cascade,
  entity_instance_id uuid not null default '11111111-1111-1111-1111-111111111111',
  permission smallint not null check (permission between 0 and 7),
  inheritance_mode text not null default 'cascade' check (inheritance_mode in ('none', 'cascade', 'mapped')),
  child_permissions jsonb not null default '{}',
  is_deny boolean not null default false,
  granted_by__person_id uuid,
  expires_ts timestamptz,
  created_ts timestamptz not null default now(),
  updated_ts timestamptz not null default now(),
  check (num_nonnulls(person_id, role_id) = 1)
);
create index on app.entity_rbac (person_id) where person_id is not null;
create index on app.entity_rbac (role_id) where role_id is not null;
create index on app.entity_rbac (entity_code, entity_instance_id);
create index on app.entity_rbac (expires_ts) where expires_ts is not null;

-- The change log: audit trail and feed ------------------------------------------------------------------------------

-- Transaction numbers mean nothing in another cluster or after a restore: the epoch tells incarnations apart.
create table app.feed_epoch (
  only_row boolean primary key default true check (only_row),
  epoch bigint not null,
  identity text not null,
  started_ts timestamptz not null default now()
);

create function app.database_identity() returns text language sql stable as $$
  select (select system_identifier::text from pg_control_system()) || ':'
      || (select timeline_id::text from pg_control_checkpoint()) || ':'
      || (select oid::text from pg_database where datname = current_database())
$$;

-- Called by each service at start; begins a new epoch where the database is another than it was.
create function app.check_epoch() returns bigint language plpgsql as $$
declare
  present text := app.database_identity();
  answer bigint;
begin
  insert into app.feed_epoch (epoch, identity) values (1, present)
  on conflict (only_row) do update
    set epoch = app.feed_epoch.epoch + 1, identity = excluded.identity, started_ts = now()
    where app.feed_epoch.identity <> excluded.identity;
  select epoch into answer from app.feed_epoch;
  return answer;
end $$;

create sequence app.system_logging_seq;

create table app.system_logging (
  id uuid not null default gen_random_uuid(),
  fname varchar(100),
  lname varchar(100),
  username varchar(255),
  person_type varchar(50),
  actor_person_id uuid,
  entity_code varchar(100) not null,
  entity_id uuid not null,
  action smallint not null check (action between 0 and 7),
  updated timestamptz not null default now(),
  created_ts timestamptz not null default now(),
  sync_status varchar(20) not null default 'pending' check (sync_status in ('pending', 'sent', 'failed')),
  sync_processed_ts timestamptz,
  seq bigint not null default nextval('app.system_logging_seq'),
  xid xid8 not null default pg_current_xact_id(),
  epoch bigint not null,
  entity_version bigint not null default 0,
  changed jsonb not null default '{}',
  primary key (created_ts, id)
) partition by range (created_ts);

create index on app.system_logging (xid, seq);
create index on app.system_logging (entity_code, entity_id, seq);
create index idx_logging_sync_status on app.system_logging (sync_status) where sync_status = 'pending';

create table app.system_logging_default partition of app.system_logging default;

-- Makes the partition of the month that holds `day`, where it is missing.
create function app.ensure_log_partition(day date) returns void language plpgsql as $$
declare
  first date := date_trunc('month', day);
  title text := 'system_logging_' || to_char(first, 'YYYY_MM');
begin
  if to_regclass('app.' || title) is not null then return; end if;
  -- Rows that fell into the default partition meanwhile would forbid the new one; leave them and the month there.
  if exists (select from app.system_logging_default
             where created_ts >= first and created_ts < first + interval '1 month') then return; end if;
  execute format('create table app.%I partition of app.system_logging for values from (%L) to (%L)',
                 title, first, (first + interval '1 month')::date);
exception when duplicate_table then null; -- another service was faster
end $$;
select app.ensure_log_partition(current_date), app.ensure_log_partition((current_date + interval '1 month')::date);

-- The doorbell carries no data: it says 'look', and the cursor does the rest. A constant payload folds within a transaction.
create function app.ring_feed() returns trigger language plpgsql as $$
begin
  perform pg_notify('app_feed', '');
  return null;
end $$;
create trigger ring_feed after insert on app.system_logging for each statement execute function app.ring_feed();

-- Writes one log row in the name of whoever `set_config('app.actor_…')` says.
create function app.log(p_code text, p_id uuid, p_action smallint, p_version bigint, p_changed jsonb) returns void
language sql volatile as $$
  insert into app.system_logging
    (fname, lname, username, person_type, actor_person_id, entity_code, entity_id, action, epoch, entity_version, changed)
  values (
    nullif(left(current_setting('app.actor_first_name', true), 100), ''),
    nullif(left(current_setting('app.actor_last_name', true), 100), ''),
    coalesce(nullif(left(current_setting('app.actor_username', true), 255), ''), 'system'),
    coalesce(nullif(left(current_setting('app.actor_person_type', true), 50), ''), 'system'),
    nullif(current_setting('app.actor_person_id', true), '')::uuid,
    p_code, p_id, p_action, coalesce((select epoch from app.feed_epoch), 1), p_version, p_changed)
$$;

-- Triggers that every entity table gets -----------------------------------------------------------------------------

create function app.stamp_row() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    new.version := 1;
    new.created_ts := now();
    new.updated_ts := now();
    if new.code is null or new.code = '' then
      new.code := tg_argv[1] || '-' || nextval(('app.' || tg_argv[0] || '_code_seq')::regclass);
    end if;
  elsif new is distinct from old then
    new.id := old.id;
    new.created_ts := old.created_ts;
    new.version := old.version + 1;
    new.updated_ts := now();
  end if;
  return new;
end $$;

create function app.log_change() returns trigger language plpgsql as $$
declare
  before jsonb; after jsonb; diff jsonb; what smallint; subject uuid; seen bigint;
begin
  if tg_op = 'INSERT' then
    after := jsonb_strip_nulls(to_jsonb(new) - '{version,updated_ts,created_ts,id}'::text[]);
    select coalesce(jsonb_object_agg(key, jsonb_build_object('new', value)), '{}') into diff from jsonb_each(after);
    what := case tg_argv[0] when 'message' then 1 else 6 end;
    subject := new.id; seen := new.version;
  elsif tg_op = 'UPDATE' then
    if new.version = old.version then return null; end if;
    before := to_jsonb(old) - '{version,updated_ts}'::text[];
    after := to_jsonb(new) - '{version,updated_ts}'::text[];
    select coalesce(jsonb_object_agg(a.key, jsonb_build_object('old', b.value, 'new', a.value)), '{}') into diff
      from jsonb_each(after) a join jsonb_each(before) b using (key) where a.value is distinct from b.value;
    what := case when old.active_flag and not new.active_flag then 5
                 when new.active_flag and not old.active_flag then 6 else 3 end;
    subject := new.id; seen := new.version;
  else
    before := jsonb_strip_nulls(to_jsonb(old) - '{version,updated_ts,created_ts,id}'::text[]);
    select coalesce(jsonb_object_agg(key, jsonb_build_object('old', value)), '{}') into diff from jsonb_each(before);
    what := 5; subject := old.id; seen := old.version + 1;
  end if;
  perform app.log(tg_argv[0], subject, what, seen, diff);
  return null;
end $$;

-- Keeps links equal to the columns that name parents. A move is logged, because it can change who sees what.
create function app.maintain_links() returns trigger language plpgsql as $$
declare
  tie record; before jsonb; after jsonb; parent_before uuid; parent_after uuid; moved boolean := false;
begin
  if tg_op = 'DELETE' then
    delete from app.entity_instance_link
      where (child_code = tg_argv[0] and child_id = old.id) or (parent_code = tg_argv[0] and parent_id = old.id);
    delete from app.entity_rbac where entity_code = tg_argv[0] and entity_instance_id = old.id;
    return null;
  end if;
  after := to_jsonb(new);
  if tg_op = 'UPDATE' then before := to_jsonb(old); end if;
  for tie in select * from app.entity_child where child_code = tg_argv[0] and column_name <> '' loop
    parent_after := case when tie.code_column = '' or after ->> tie.code_column = tie.parent_code
                         then (after ->> tie.column_name)::uuid end;
    parent_before := case when before is not null and (tie.code_column = '' or before ->> tie.code_column = tie.parent_code)
                          then (before ->> tie.column_name)::uuid end;
    if parent_after is not distinct from parent_before then continue; end if;
    if parent_before is not null then
      delete from app.entity_instance_link where child_code = tg_argv[0] and child_id = new.id
        and parent_code = tie.parent_code and parent_id = parent_before and column_name = tie.column_name;
    end if;
    if parent_after is not null then
      insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned, column_name)
      values (tie.parent_code, parent_after, tg_argv[0], new.id, tie.owned, tie.column_name) on conflict do nothing;
    end if;
    moved := moved or before is not null;
  end loop;
  if moved then
    perform app.log('entity_instance_link', new.id, 4::smallint, new.version,
                    jsonb_build_object('child_code', jsonb_build_object('new', tg_argv[0]),
                                       'child_id', jsonb_build_object('new', new.id)));
  end if;
  return null;
end $$;

-- Makes app.<code> an entity table: triggers, code sequence and unique code. Called once by the migration that adds the type.
create function app.register_entity(p_code text) returns void language plpgsql as $$
declare
  prefix text;
begin
  select code_prefix into strict prefix from app.entity where code = p_code;
  execute format('create sequence if not exists app.%I', p_code || '_code_seq');
  execute format('create trigger stamp_row before insert or update on app.%I for each row
                  execute function app.stamp_row(%L, %L)', p_code, p_code, prefix);
  execute format('create trigger log_change after insert or update or delete on app.%I for each row
                  execute function app.log_change(%L)', p_code, p_code);
  execute format('create trigger maintain_links after insert or update or delete on app.%I for each row
                  execute function app.maintain_links(%L)', p_code, p_code);
  execute format('create unique index on app.%I (code) where active_flag', p_code);
  execute format('alter table app.%I add check (char_length(name) between 1 and 500)', p_code);
end $$;

-- The columns that every entity table has: `create table app.x (like app.entity_columns including defaults, …)`.
create table app.entity_columns (
  id uuid not null default app.uuid_v7(),
  code text,
  name text not null,
  descr text,
  metadata jsonb not null default '{}',
  active_flag boolean not null default true,
  from_ts timestamptz not null default now(),
  to_ts timestamptz,
  created_ts timestamptz not null default now(),
  updated_ts timestamptz not null default now(),
  version bigint not null default 1
);

-- A change of grants or of free links is a change of what people see; it goes through the same log.
create function app.log_grant() returns trigger language plpgsql as $$
declare
  it app.entity_rbac := case when tg_op = 'DELETE' then old else new end;
begin
  -- Who makes a thing owns it: that follows from the thing's own log row, and nobody else's view changes.
  if current_setting('app.creator_grant', true) = 'on' then return null; end if;
  perform app.log('entity_rbac', it.id, 4::smallint, 0, jsonb_build_object(
    'operation', jsonb_build_object('new', tg_op),
    'person_id', jsonb_build_object('new', it.person_id),
    'role_id', jsonb_build_object('new', it.role_id),
    'entity_code', jsonb_build_object('new', it.entity_code),
    'entity_instance_id', jsonb_build_object('new', it.entity_instance_id),
    'permission', jsonb_build_object('new', it.permission)));
  return null;
end $$;
create trigger log_grant after insert or update or delete on app.entity_rbac
  for each row execute function app.log_grant();

create function app.log_link() returns trigger language plpgsql as $$
declare
  it app.entity_instance_link := case when tg_op = 'DELETE' then old else new end;
begin
  perform app.log('entity_instance_link', it.id, 4::smallint, 0, jsonb_build_object(
    'operation', jsonb_build_object('new', tg_op),
    'parent_code', jsonb_build_object('new', it.parent_code), 'parent_id', jsonb_build_object('new', it.parent_id),
    'child_code', jsonb_build_object('new', it.child_code), 'child_id', jsonb_build_object('new', it.child_id)));
  return null;
end $$;
-- Links that follow a column are written inside a trigger and logged there.
create trigger log_link after insert or update or delete on app.entity_instance_link
  for each row when (pg_trigger_depth() = 0) execute function app.log_link();

-- Soft delete -------------------------------------------------------------------------------------------------------

-- What went with a deleted thing, so that it returns with it.
create table app.deletion (
  root_code text not null,
  root_id uuid not null,
  entity_code text not null,
  entity_id uuid not null,
  deleted_ts timestamptz not null default now(),
  primary key (root_code, root_id, entity_code, entity_id)
);
create index on app.deletion (entity_code, entity_id);

create function app.soft_delete(p_code text, p_id uuid) returns integer language plpgsql as $$
declare
  part record; hit uuid[]; n integer := 0;
begin
  for part in
    with recursive below (code, id) as (
      select p_code, p_id
      union
      select l.child_code, l.child_id from below b
      join app.entity_instance_link l on l.parent_code = b.code and l.parent_id = b.id and l.owned
    )
    select code, array_agg(id order by id) as ids from below group by code order by code
  loop
    execute format('with hit as (update app.%I set active_flag = false where id = any ($1) and active_flag returning id)
                    select array_agg(id) from hit', part.code) into hit using part.ids;
    if hit is not null then
      insert into app.deletion (root_code, root_id, entity_code, entity_id)
        select p_code, p_id, part.code, unnest(hit) on conflict do nothing;
      n := n + cardinality(hit);
    end if;
  end loop;
  return n;
end $$;

create function app.restore(p_code text, p_id uuid) returns integer language plpgsql as $$
declare
  part record; n integer := 0; hits integer;
begin
  for part in
    select entity_code as code, array_agg(entity_id order by entity_id) as ids from app.deletion
    where root_code = p_code and root_id = p_id group by entity_code order by entity_code
  loop
    execute format('update app.%I set active_flag = true where id = any ($1) and not active_flag', part.code) using part.ids;
    get diagnostics hits = row_count;
    n := n + hits;
  end loop;
  delete from app.deletion where root_code = p_code and root_id = p_id;
  return n;
end $$;

-- Subscriptions: a durable mirror of who watches what. The truth is in each pod's memory. ---------------------------

create unlogged table app.system_cache_connection (
  connection_id varchar(50) primary key,
  pod_id varchar(50) not null,
  user_id uuid not null,
  lease_until timestamptz not null
);

create unlogged table app.system_cache_subscription (
  user_id uuid not null,
  entity_code varchar(100) not null,
  entity_id uuid not null,          -- EVERY_INSTANCE: the whole type
  connection_id varchar(50) not null references app.system_cache_connection on delete cascade,
  subscribed_at timestamptz not null default now(),
  primary key (user_id, entity_code, entity_id, connection_id)
);
create index idx_system_cache_subscription_entity on app.system_cache_subscription (entity_code, entity_id);
create index idx_system_cache_subscription_connection on app.system_cache_subscription (connection_id);

create function app.bulk_subscribe(p_connection text, p_user uuid, p_codes text[], p_ids uuid[]) returns integer
language plpgsql as $$
declare
  n integer;
begin
  insert into app.system_cache_subscription (user_id, entity_code, entity_id, connection_id)
    select p_user, t.code, t.id, p_connection from unnest(p_codes, p_ids) t (code, id) order by 2, 3
    on conflict do nothing;
  get diagnostics n = row_count;
  return n;
end $$;

create function app.get_batch_subscribers(p_code text, p_ids uuid[])
returns table (user_id uuid, connection_id varchar, entity_id uuid) language sql stable as $$
  select s.user_id, s.connection_id, s.entity_id from app.system_cache_subscription s
  join app.system_cache_connection c using (connection_id)
  where s.entity_code = p_code and c.lease_until > now()
    and (s.entity_id = any (p_ids) or s.entity_id = '11111111-1111-1111-1111-111111111111')
$$;

-- Sign-in -----------------------------------------------------------------------------------------------------------

create table app.person_credential (
  person_id uuid primary key,
  password_hash text not null,
  updated_ts timestamptz not null default now()
);

-- Only a hash of the token is kept. Its successor is computed from it with the service's secret, so that a repeat within
-- the grace gets the same one.
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

insert into app.setting (key, value) values
  ('currency', '{"code": "EUR", "symbol": "€", "decimals": 2}'),
  ('date', '{"format": "D MMM YYYY", "first_day_of_week": 1}'),
  ('timestamp', '{"format": "D MMM YYYY, HH:mm"}'),
  ('boolean', '{"true": "Yes", "false": "No"}'),
  ('feed', '{"log_views": false, "retention_days": 90}');
