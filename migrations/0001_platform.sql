-- The platform: entity types, hierarchy, option sets, settings, and the columns of every entity
-- table. Generic: no statement names an entity type.
--
-- Functions are in db/functions and are installed before any migration runs; see
-- crates/database/src/schema.rs.

-- Entity types. `column_metadata` describes columns beyond what their names say; `config_datatable`
-- configures lists.
create table app.entity (
  code text primary key check (code ~ '^[a-z][a-z0-9_]{0,62}$'),
  name text not null,
  ui_label text not null,
  ui_icon text not null default 'circle',
  code_prefix text not null check (code_prefix ~ '^[A-Z]{1,5}$'),
  root_flag boolean not null default false,
  display_order integer not null default 100,
  column_metadata jsonb not null default '{}',
  config_datatable jsonb not null default '{}',
  type_marker uuid not null default gen_random_uuid() unique, -- in ancestor sets it stands for type-wide grants
  searchable_flag boolean not null default true               -- whether search finds entities of the type
);

-- Parent-child relations between entity types.
create table app.entity_child (
  parent_code text not null references app.entity on delete cascade,
  child_code text not null references app.entity on delete cascade,
  owned boolean not null default true,
  parent_column text not null default '',      -- the child's column that holds the parent id; '': the relation uses free links only
  parent_type_column text not null default '', -- the child's column that holds the parent type, if it varies
  create_permission smallint not null default 6 check (create_permission between 0 and 7), -- permission required on the parent to create a child
  display_order integer not null default 100,
  primary key (parent_code, child_code, parent_column)
);
create index on app.entity_child (child_code);

-- Option sets.
create table app.datalabel (
  name text not null check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
  id integer not null,
  option_name text not null check (char_length(option_name) between 1 and 200),
  descr text,
  color_code text,
  display_order integer not null,
  parent_ids integer[] not null default '{}',   -- options from which a change to this one is allowed; empty: all
  terminal_flag boolean not null default false,
  active_flag boolean not null default true,
  primary key (name, id),
  unique (name, option_name)
);

-- Global settings.
create table app.setting (
  key text primary key,
  value jsonb not null,
  updated_ts timestamptz not null default now()
);

insert into app.setting (key, value) values
  ('currency', '{"code": "EUR", "symbol": "€", "decimals": 2}'),
  ('date', '{"format": "D MMM YYYY", "first_day_of_week": 1}'),
  ('timestamp', '{"format": "D MMM YYYY, HH:mm"}'),
  ('boolean', '{"true": "Yes", "false": "No"}'),
  ('feed', '{"log_views": false, "resume_window_days": 90, "log_retention_days": null}');

-- The columns of every entity table: `create table app.x (like app.entity_columns including
-- defaults, …)`.
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
  version bigint not null default 1,
  ancestor_set_id integer not null default 1
);

-- Rows that were soft-deleted together with a root, so that a restore of the root includes them.
create table app.deletion (
  root_code text not null,
  root_id uuid not null,
  entity_code text not null,
  entity_id uuid not null,
  deleted_ts timestamptz not null default now(),
  primary key (root_code, root_id, entity_code, entity_id)
);
create index on app.deletion (entity_code, entity_id);
