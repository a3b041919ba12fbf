-- Links, ancestor sets and grants: the basis of effective permissions.

-- Links between parents and children. Links with a column follow that column by trigger; the others
-- are free links.
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

-- Ancestor sets -----------------------------------------------------------------------------------
--
-- Problem: grants are inherited along links, and walking the links for every list query is slow.
-- Decision: each entity stores the id of the set of all its ancestors and of their type markers,
-- which stand for type-wide grants. Entities with equal ancestors share one set: the tasks below
-- one summary task of a project have one id. The visibility of a type is then a list of set ids,
-- found from a person's grants through app.ancestor_set_member.
-- Consequence: granting, changing and revoking cost nothing here, because grants are evaluated at
-- read time. Moving an entity rewrites the ids of all its descendants.
-- Must not: treat an ancestor set as a permission level. app.entity_levels evaluates grants, links
-- that are not owned, and denies.

-- One row per entity, whatever its type.
create table app.entity_instance (
  id uuid primary key constraint id check (id <> '11111111-1111-1111-1111-111111111111'), -- reserved: means every entity of a type
  code text not null,
  title text not null,
  ancestor_set_id integer not null default 1,
  search_document tsvector, -- null if deleted or not searchable
  creation_xid xid8 not null default pg_current_xact_id()
) with (fillfactor = 80);
create index on app.entity_instance using gin (search_document);
create index on app.entity_instance (code, title text_pattern_ops);

-- The sets. Number 1 is the empty set.
create table app.ancestor_set (
  id integer generated always as identity primary key,
  hash bytea not null unique,
  ancestors uuid[] not null,       -- grant keys, sorted
  owning_ancestors uuid[] not null -- the subset connected by owned links alone; through other links a grant gives at most COMMENT
);

-- Members of the sets. A grant key is an entity id or a type marker.
create table app.ancestor_set_member (
  grant_key uuid not null,
  ancestor_set_id integer not null,
  owned boolean not null,
  primary key (grant_key, ancestor_set_id) include (owned)
);
create index on app.ancestor_set_member (ancestor_set_id) include (grant_key, owned);

select app.ancestor_set_id_for('{}', '{}');

create trigger on_link_change after insert or update or delete on app.entity_instance_link
  for each row when (pg_trigger_depth() = 0) execute function app.on_link_change();

-- Grants ------------------------------------------------------------------------------------------

create table app.entity_rbac (
  id uuid primary key default app.uuid_v7(),
  person_id uuid,
  role_id uuid,
  entity_code text not null references app.entity on delete cascade,
  entity_instance_id uuid not null default '11111111-1111-1111-1111-111111111111', -- the default: every entity of the type
  permission smallint not null check (permission between 0 and 7),
  inheritance_mode text not null default 'cascade' check (inheritance_mode in ('none', 'cascade', 'mapped')),
  child_permissions jsonb not null default '{}', -- for the mode 'mapped': level by child type, '_default' for all others
  is_deny boolean not null default false,
  granted_by__person_id uuid,
  expires_ts timestamptz,
  created_ts timestamptz not null default now(),
  updated_ts timestamptz not null default now(),
  check (num_nonnulls(person_id, role_id) = 1)
);
create index entity_rbac_person_id_idx on app.entity_rbac (person_id, entity_instance_id) where person_id is not null;
create index entity_rbac_role_id_idx on app.entity_rbac (role_id, entity_instance_id) where role_id is not null;
create index on app.entity_rbac (entity_code, entity_instance_id);
create index on app.entity_rbac (expires_ts) where expires_ts is not null;

-- Changes by which caches are validated -----------------------------------------------------------
--
-- A cached visibility is valid as long as every row that is visible now was visible in its
-- snapshot. Each row is written by the transaction that changes access, so validation needs neither
-- a counter nor a clock. Rows are retained for a million transactions; an older cached value must
-- not be used.

create table app.access_change (
  xid xid8 not null default pg_current_xact_id(),
  person_id uuid,              -- the person whose grants or roles changed; null: any person
  new_ancestor_set_id integer, -- with an old set: the set that entities have moved to; without: a set that was inserted
  old_ancestor_set_id integer, -- the set that entities have left
  is_creator_grant boolean not null default false
);
create unique index on app.access_change (xid, person_id, new_ancestor_set_id, old_ancestor_set_id, is_creator_grant) nulls not distinct;

create trigger record_access_change after insert on app.ancestor_set for each row execute function app.record_access_change();
create trigger record_access_change after insert or update or delete on app.entity_rbac for each row execute function app.record_access_change();
create trigger record_access_granted after insert on app.entity_instance_link
  for each row when (new.parent_code = 'role') execute function app.record_access_change();
create trigger record_access_revoked after delete on app.entity_instance_link
  for each row when (old.parent_code = 'role') execute function app.record_access_change();
create trigger record_access_moved after update on app.entity_instance_link
  for each row when (old.parent_code = 'role' or new.parent_code = 'role') execute function app.record_access_change();

-- Entities with a changed or removed title.
create table app.title_change (
  xid xid8 not null default pg_current_xact_id(),
  id uuid not null
);
create unique index on app.title_change (xid, id);

create trigger record_title_changed after update of title on app.entity_instance
  for each row when (old.title <> new.title) execute function app.record_title_change();
create trigger record_title_removed after delete on app.entity_instance for each row execute function app.record_title_change();
