-- Ancestor sets: the deduplicated sets of ancestor keys through which grants are inherited. See
-- migrations/0002_permissions.sql.

-- Returns the id of the ancestor set, inserting it if missing. `p_owning` is the subset of
-- `p_ancestors` that is connected by owned links alone. Both arrays are sorted.
create or replace function app.ancestor_set_id_for(p_ancestors uuid[], p_owning uuid[]) returns integer language plpgsql as $$
declare
  digest bytea := sha256(convert_to(p_ancestors::text || p_owning::text, 'UTF8')); set_id integer;
begin
  select s.id into set_id from app.ancestor_set s where s.hash = digest;
  if found then return set_id; end if;
  insert into app.ancestor_set (hash, ancestors, owning_ancestors) values (digest, p_ancestors, p_owning)
    on conflict (hash) do nothing returning id into set_id;
  if set_id is null then
    -- A concurrent transaction has inserted it.
    select s.id into strict set_id from app.ancestor_set s where s.hash = digest;
  else
    insert into app.ancestor_set_member (grant_key, ancestor_set_id, owned) select k, set_id, k = any (p_owning) from unnest(p_ancestors) k;
  end if;
  return set_id;
end $$;

-- Locks the hierarchy until the end of the transaction. Inserting an entity takes the lock shared:
-- it only reads the ancestor sets of its parents. Changing the ancestor set of an existing entity
-- takes it exclusively, or a child inserted meanwhile would get the old set. The exclusive lock
-- gives up after 2 s: a long import holds the shared lock, and later inserts would queue behind the
-- waiting request.
create or replace function app.lock_hierarchy(exclusive boolean) returns void language sql volatile set lock_timeout = '2s' as $$
  select case when exclusive then pg_advisory_xact_lock(7461, 1) else pg_advisory_xact_lock_shared(7461, 1) end
$$;

-- Computes the ancestor keys of entities from the links: ids of all ancestors and the type markers
-- of their types.
create or replace function app.ancestors_of(p_ids uuid[]) returns table (id uuid, ancestors uuid[], owning_ancestors uuid[])
language sql stable as $$
  with recursive up (target, code, id, owned) as (
    select i.id, i.code, i.id, true from app.entity_instance i where i.id = any (p_ids)
    union
    select u.target, l.parent_code, l.parent_id, u.owned and l.owned
    from up u join app.entity_instance_link l on l.child_code = u.code and l.child_id = u.id
  ),
  keys as (
    select u.target, k.grant_key, bool_or(u.owned) as owned
    from up u join app.entity e on e.code = u.code cross join lateral (values (u.id), (e.type_marker)) k (grant_key)
    where u.id <> u.target
    group by u.target, k.grant_key
  )
  select i.id, coalesce(array_agg(k.grant_key order by k.grant_key) filter (where k.grant_key is not null), '{}'),
         coalesce(array_agg(k.grant_key order by k.grant_key) filter (where k.owned), '{}')
  from app.entity_instance i left join keys k on k.target = i.id
  where i.id = any (p_ids)
  group by i.id
$$;

-- Recomputes the ancestor sets of entities and of all their descendants, and records each move from
-- one set to another in app.access_change.
create or replace function app.recompute_ancestor_sets(p_ids uuid[]) returns void language plpgsql as $$
declare
  affected uuid[]; part record;
begin
  -- No other transaction can have read an entity that this transaction created.
  if exists (select from app.entity_instance where id = any (p_ids) and creation_xid <> pg_current_xact_id()) then
    perform app.lock_hierarchy(true);
  end if;
  with recursive down (code, id) as (
    select i.code, i.id from app.entity_instance i where i.id = any (p_ids)
    union
    select l.child_code, l.child_id from down d join app.entity_instance_link l on l.parent_code = d.code and l.parent_id = d.id
  )
  select array_agg(distinct down.id) into affected from down;
  if affected is null then return; end if;
  perform set_config('app.reindexing', 'on', true);
  for part in
    with target as materialized (
      select i.id, i.ancestor_set_id as old_id, app.ancestor_set_id_for(a.ancestors, a.owning_ancestors) as new_id
      from app.ancestors_of(affected) a join app.entity_instance i using (id)
    ),
    changed as (
      update app.entity_instance i set ancestor_set_id = t.new_id from target t where i.id = t.id and t.old_id <> t.new_id
      returning i.code, i.id, i.creation_xid, t.old_id, t.new_id
    ),
    -- An entity that this transaction created has not been visible under another set.
    recorded as (insert into app.access_change (old_ancestor_set_id, new_ancestor_set_id)
                 select distinct old_id, new_id from changed where creation_xid <> pg_current_xact_id() on conflict do nothing)
    select code, array_agg(id) as ids from changed group by code order by code
  loop
    execute format('update app.%I t set ancestor_set_id = i.ancestor_set_id from app.entity_instance i where i.id = t.id and t.id = any ($1)', part.code)
      using part.ids;
  end loop;
  perform set_config('app.reindexing', '', true);
end $$;

-- Before insert of an entity row: registers the id in app.entity_instance and derives the ancestor
-- set from the columns that hold parent ids. Argument: entity code.
create or replace function app.assign_ancestor_set() returns trigger language plpgsql set enable_seqscan = off as $$
declare
  relation record; fields jsonb := to_jsonb(new); parent uuid; parents uuid[] := '{}'; owners uuid[] := '{}';
  ancestor_keys uuid[]; owning_keys uuid[];
begin
  perform app.lock_hierarchy(false);
  for relation in select * from app.entity_child where child_code = tg_argv[0] and parent_column <> '' loop
    if relation.parent_type_column <> '' and fields ->> relation.parent_type_column is distinct from relation.parent_code then continue; end if;
    parent := (fields ->> relation.parent_column)::uuid;
    if parent is null or parent = new.id then continue; end if;
    if not exists (select from app.entity_instance i where i.id = parent and i.code = relation.parent_code) then
      raise exception '% not found', relation.parent_code using errcode = 'check_violation', column = relation.parent_column;
    end if;
    parents := parents || parent;
    if relation.owned then owners := owners || parent; end if;
  end loop;
  new.ancestor_set_id := 1;
  if parents <> '{}' then
    select array_agg(distinct k.grant_key order by k.grant_key),
           coalesce(array_agg(distinct k.grant_key order by k.grant_key) filter (where k.owned), '{}')
    into ancestor_keys, owning_keys
    from app.entity_instance i join app.entity e on e.code = i.code
    cross join lateral (
      select i.id, i.id = any (owners) union all select e.type_marker, i.id = any (owners)
      union all select m.grant_key, m.owned and i.id = any (owners) from app.ancestor_set_member m where m.ancestor_set_id = i.ancestor_set_id
    ) k (grant_key, owned)
    where i.id = any (parents);
    new.ancestor_set_id := app.ancestor_set_id_for(ancestor_keys, owning_keys);
  end if;
  insert into app.entity_instance (id, code, title, ancestor_set_id, search_document)
  select new.id, tg_argv[0], coalesce(new.name, ''), new.ancestor_set_id,
         case when new.active_flag and e.searchable_flag then app.search_document(fields) end
  from app.entity e where e.code = tg_argv[0];
  return new;
end $$;
