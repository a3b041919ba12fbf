-- The change log (audit trail and source of the feed), and the mirror of subscriptions.

-- Transaction ids mean nothing in another cluster or after a restore: the epoch distinguishes
-- incarnations of the database.
create table app.feed_epoch (
  singleton boolean primary key default true check (singleton),
  epoch bigint not null,
  identity text not null,
  started_ts timestamptz not null default now(),
  truncated_before_xid xid8 not null default '0' -- transactions up to this one may be missing from the log
);

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
  ancestor_set_id integer, -- of the entity at that time
  primary key (created_ts, id)
) partition by range (created_ts);
create index on app.system_logging (xid, seq);
create index on app.system_logging (entity_code, entity_id, seq);
create index idx_logging_sync_status on app.system_logging (sync_status) where sync_status = 'pending';

create table app.system_logging_default partition of app.system_logging default;
select app.ensure_log_partition(current_date), app.ensure_log_partition((current_date + interval '1 month')::date);

create trigger notify_feed after insert on app.system_logging for each statement execute function app.notify_feed();

create trigger log_grant after insert or update or delete on app.entity_rbac for each row execute function app.log_grant();
-- Links that follow a column are written inside a trigger and logged there.
create trigger log_link after insert or update or delete on app.entity_instance_link
  for each row when (pg_trigger_depth() = 0) execute function app.log_link();

-- Ancestor sets of the entities that a purge is deleting; empty outside of a purge.
create table app.purge_staging (id uuid primary key, ancestor_set_id integer not null);

-- Subscriptions: a mirror of the state in the memory of the pods ----------------------------------

create unlogged table app.system_cache_connection (
  connection_id varchar(50) primary key,
  pod_id varchar(50) not null,
  user_id uuid not null,
  lease_until timestamptz not null
);

create unlogged table app.system_cache_subscription (
  user_id uuid not null,
  entity_code varchar(100) not null,
  entity_id uuid not null, -- 11111111-1111-1111-1111-111111111111: the whole type
  connection_id varchar(50) not null references app.system_cache_connection on delete cascade,
  subscribed_at timestamptz not null default now(),
  primary key (user_id, entity_code, entity_id, connection_id)
);
create index idx_system_cache_subscription_entity on app.system_cache_subscription (entity_code, entity_id);
create index idx_system_cache_subscription_connection on app.system_cache_subscription (connection_id);
