-- Effective permissions in bulk. The definition is the pure function in crates/domain; tests
-- compare the two.

-- Returns the active (unexpired) grants of people, their own and those of their active roles.
-- `grant_key` is the key to look for in an ancestor set: the granted entity, or the type marker of
-- a type-wide grant. CREATE on a whole type permits creating entities and gives access to none: its
-- key is null.
create or replace function app.active_grants(p_persons uuid[])
returns table (person_id uuid, grant_id uuid, role_id uuid, entity_code text, entity_instance_id uuid, permission smallint,
               inheritance_mode text, child_permissions jsonb, is_deny boolean, expires_ts timestamptz, type_wide boolean, grant_key uuid)
language sql stable as $$
  with active as (select p.id from app.person p where p.id = any (p_persons) and p.active_flag),
  granted as (
    select active.id as holder, g.* from app.entity_rbac g join active on active.id = g.person_id
    union all
    select active.id, g.*
    from active
    join app.entity_instance_link l on l.child_code = 'person' and l.child_id = active.id and l.parent_code = 'role'
    join app.role r on r.id = l.parent_id and r.active_flag
    join app.entity_rbac g on g.role_id = l.parent_id
  )
  select g.holder, g.id, g.role_id, g.entity_code, g.entity_instance_id, g.permission, g.inheritance_mode, g.child_permissions, g.is_deny,
         g.expires_ts, g.entity_instance_id = '11111111-1111-1111-1111-111111111111',
         case when g.entity_instance_id <> '11111111-1111-1111-1111-111111111111' then g.entity_instance_id
              when g.permission <> 6 then e.type_marker end
  from granted g join app.entity e on e.code = g.entity_code
  where g.expires_ts is null or g.expires_ts > now()
$$;

-- Returns the level that descendants of type `p_code` inherit from a grant; null if the grant is
-- not inherited.
create or replace function app.inherited_level(p_permission smallint, p_mode text, p_map jsonb, p_code text) returns integer
language sql immutable parallel safe as $$
  select case p_mode when 'cascade' then p_permission::integer
                     when 'mapped' then coalesce((p_map ->> p_code)::integer, (p_map ->> '_default')::integer) end
$$;

-- Returns the effective level of each person on each entity they may view, with type and title of
-- the entity. No access: no row. Few entities are resolved from their grant keys, many from the
-- grants of the people.
create or replace function app.entity_levels(p_persons uuid[], p_ids uuid[])
returns table (person_id uuid, id uuid, code text, title text, level smallint) language plpgsql stable as $$
begin
  if cardinality(p_persons) * cardinality(p_ids) <= 50 then
    return query select * from app.entity_levels_by_entity(p_persons, p_ids);
  else
    return query select * from app.entity_levels_by_person(p_persons, p_ids);
  end if;
end $$;

-- Implements app.entity_levels, starting from the grant keys of the entities: the cost does not
-- grow with the number of grants of a person. Joins use indexes only, because the cached plan may
-- be older than thousands of grants that the transaction created.
create or replace function app.entity_levels_by_entity(p_persons uuid[], p_ids uuid[])
returns table (person_id uuid, id uuid, code text, title text, level smallint) language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
#variable_conflict use_column
begin
  return query
  with holders (holder, person, role) as materialized (
    select p.id, p.id, null::uuid from app.person p where p.id = any (p_persons) and p.active_flag
    union all
    select p.id, null, r.id from app.person p
    join app.entity_instance_link l on l.child_code = 'person' and l.child_id = p.id and l.parent_code = 'role'
    join app.role r on r.id = l.parent_id and r.active_flag
    where p.id = any (p_persons) and p.active_flag
  ),
  wanted as materialized (select i.id, i.code, i.title, i.ancestor_set_id from app.entity_instance i where i.id = any (p_ids)),
  keys (id, code, direct, max_level, grant_key) as (
    select w.id, w.code, true, 7, w.id from wanted w
    union all select w.id, w.code, true, 7, e.type_marker from wanted w join app.entity e on e.code = w.code
    union all select w.id, w.code, false, case when m.owned then 7 else 1 end, m.grant_key
              from wanted w join app.ancestor_set_member m on m.ancestor_set_id = w.ancestor_set_id
  ),
  -- A type marker stands for the type-wide grants.
  targets as materialized (
    select k.*, e.code as type_code, case when e.code is null then k.grant_key else '11111111-1111-1111-1111-111111111111' end as instance
    from keys k left join app.entity e on e.type_marker = k.grant_key
  ),
  grants as (
    select h.holder, g.*, t.id as entity_id, t.code, t.direct, t.max_level, t.type_code
    from targets t cross join holders h
    -- `offset 0` keeps the two conditions together: one index lookup by person and entity.
    cross join lateral (select * from app.entity_rbac g where g.person_id = h.person and g.entity_instance_id = t.instance offset 0) g
    union all
    select h.holder, g.*, t.id, t.code, t.direct, t.max_level, t.type_code
    from targets t cross join holders h
    cross join lateral (select * from app.entity_rbac g where g.role_id = h.role and g.entity_instance_id = t.instance offset 0) g
  ),
  evaluated as (
    select g.holder, g.entity_id, g.is_deny, least(g.max_level,
      case when g.direct then g.permission::integer
           else app.inherited_level(g.permission, g.inheritance_mode, g.child_permissions, g.code) end) as effective_level
    from grants g
    where (g.expires_ts is null or g.expires_ts > now()) and (g.type_code is null or (g.entity_code = g.type_code and g.permission <> 6))
      and (g.direct or app.inherited_level(g.permission, g.inheritance_mode, g.child_permissions, g.code) is not null)
  ),
  levels as (select holder, entity_id, max(effective_level)::smallint as level from evaluated group by holder, entity_id having not bool_or(is_deny))
  select l.holder, w.id, w.code, w.title, l.level from levels l join wanted w on w.id = l.entity_id;
end $$;

-- Implements app.entity_levels, starting from the grants of the people: each grant is resolved once
-- for all entities with the same ancestor set. Written in plpgsql, because it caches the plan:
-- planning costs more than executing.
create or replace function app.entity_levels_by_person(p_persons uuid[], p_ids uuid[])
returns table (person_id uuid, id uuid, code text, title text, level smallint) language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
  return query
  with granted as materialized (select * from app.active_grants(p_persons) where grant_key is not null),
  wanted as materialized (select i.id, i.code, i.title, i.ancestor_set_id from app.entity_instance i where i.id = any (p_ids)),
  inherited as materialized (
    select g.person_id, w.ancestor_set_id, w.code, g.is_deny,
           least(app.inherited_level(g.permission, g.inheritance_mode, g.child_permissions, w.code), case when m.owned then 7 else 1 end) as effective_level
    from (select distinct ancestor_set_id, code from wanted) w
    join app.ancestor_set_member m on m.ancestor_set_id = w.ancestor_set_id join granted g on g.grant_key = m.grant_key
    where app.inherited_level(g.permission, g.inheritance_mode, g.child_permissions, w.code) is not null
  ),
  evaluated as (
    select i.person_id, w.id, i.is_deny, i.effective_level
    from wanted w join inherited i on i.ancestor_set_id = w.ancestor_set_id and i.code = w.code
    union all
    select g.person_id, w.id, g.is_deny, g.permission::integer from wanted w join granted g on g.grant_key = w.id
    union all
    select g.person_id, w.id, g.is_deny, g.permission::integer
    from wanted w join app.entity e on e.code = w.code join granted g on g.grant_key = e.type_marker
  ),
  levels as (
    select person_id, id, max(effective_level)::smallint as level from evaluated group by person_id, id having not bool_or(is_deny)
  )
  select l.person_id, w.id, w.code, w.title, l.level from levels l join wanted w using (id);
end $$;

-- Returns the effective level of each person on entities of one type. No access: no row.
create or replace function app.permissions(p_persons uuid[], p_code text, p_ids uuid[])
returns table (person_id uuid, id uuid, level smallint) language sql stable as $$
  select person_id, id, level from app.entity_levels(p_persons, p_ids) where code = p_code
$$;

-- Returns the visibility of one type for one person. An entity is visible if its ancestor set is in
-- `ancestor_set_ids` or its id in `direct_ids`, unless the set is in `denied_ancestor_set_ids` or
-- the id in `denied_direct_ids`. `sees_all`: all entities of the type; `denied_all`: none. `keys`
-- and `denied_keys` are the grant keys that are inherited: with them a new ancestor set is added to
-- a cached visibility. `until` is the time of the first expiry of a grant, in seconds since the
-- epoch.
create or replace function app.visibility(p_person uuid, p_code text)
returns table (sees_all boolean, denied_all boolean, ancestor_set_ids integer[], direct_ids uuid[],
               denied_ancestor_set_ids integer[], denied_direct_ids uuid[], keys uuid[], denied_keys uuid[], until float8)
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
  return query
  with granted as materialized (
    select g.*, g.entity_code = p_code as own,
           app.inherited_level(g.permission, g.inheritance_mode, g.child_permissions, p_code) is not null as inherited
    from app.active_grants(array[p_person]) g where g.grant_key is not null
  )
  select coalesce(bool_or(own and type_wide and not is_deny), false), coalesce(bool_or(own and type_wide and is_deny), false),
         coalesce((select array_agg(distinct m.ancestor_set_id)
                   from (select distinct grant_key from granted where inherited and not is_deny) g join app.ancestor_set_member m using (grant_key)), '{}'),
         coalesce(array_agg(distinct grant_key) filter (where own and not type_wide and not is_deny), '{}'),
         coalesce((select array_agg(distinct m.ancestor_set_id)
                   from (select distinct grant_key from granted where inherited and is_deny) g join app.ancestor_set_member m using (grant_key)), '{}'),
         coalesce(array_agg(distinct grant_key) filter (where own and not type_wide and is_deny), '{}'),
         coalesce(array_agg(distinct grant_key) filter (where inherited and not is_deny), '{}'),
         coalesce(array_agg(distinct grant_key) filter (where inherited and is_deny), '{}'),
         extract(epoch from min(expires_ts))::float8
  from granted;
end $$;

-- Returns the highest level that a person may grant on an entity: the level their own grants give
-- at least until `p_until`, and for a cascading grant the level they give on descendants too. Null
-- if the person is denied.
create or replace function app.max_grantable_level(p_person uuid, p_code text, p_id uuid, p_cascading boolean, p_until timestamptz)
returns smallint language sql stable as $$
  with keys (grant_key, direct, max_level) as (
    select p_id, true, 7
    union all select type_marker, true, 7 from app.entity where code = p_code
    union all select m.grant_key, false, case when m.owned then 7 else 1 end
    from app.entity_instance i join app.ancestor_set_member m on m.ancestor_set_id = i.ancestor_set_id where i.id = p_id and i.code = p_code
  ),
  evaluated as (
    select g.is_deny, k.max_level,
           case when k.direct then g.permission::integer
                else app.inherited_level(g.permission, g.inheritance_mode, g.child_permissions, p_code) end as effective_level,
           (not p_cascading or g.inheritance_mode = 'cascade') and (g.expires_ts is null or g.expires_ts >= p_until) as grantable
    from keys k join app.active_grants(array[p_person]) g on g.grant_key = k.grant_key
  )
  select case when bool_or(is_deny) then null else max(least(effective_level, max_level)) filter (where grantable) end::smallint
  from evaluated where effective_level is not null
$$;

-- Explains the effective permission of a person on an entity: each grant that applies, and the path
-- from it down to the entity. Paths are cut at 32 steps.
create or replace function app.explain(p_person uuid, p_code text, p_id uuid)
returns table (grant_id uuid, role_id uuid, role_name text, entity_code text, entity_instance_id uuid, type_wide boolean, permission smallint,
               inheritance_mode text, is_deny boolean, expires_ts timestamptz, effective_level smallint, path_codes text[], path_ids uuid[])
language sql stable as $$
  with recursive up (code, id, max_level, path_codes, path_ids) as (
    select i.code, i.id, 7, array[i.code], array[i.id] from app.entity_instance i where i.id = p_id and i.code = p_code
    union all
    select l.parent_code, l.parent_id, case when l.owned then u.max_level else least(u.max_level, 1) end,
           l.parent_code || u.path_codes, l.parent_id || u.path_ids
    from up u join app.entity_instance_link l on l.child_code = u.code and l.child_id = u.id
    where l.parent_id <> all (u.path_ids) and cardinality(u.path_ids) < 32
  ),
  applicable as (
    select g.*, u.max_level, u.path_codes, u.path_ids,
           case when u.id = p_id then g.permission::integer
                else app.inherited_level(g.permission, g.inheritance_mode, g.child_permissions, p_code) end as effective_level
    from up u join app.active_grants(array[p_person]) g
      on g.grant_key is not null and g.entity_code = u.code and (g.type_wide or g.entity_instance_id = u.id)
  )
  select distinct on (a.grant_id) a.grant_id, a.role_id, r.name, a.entity_code, a.entity_instance_id, a.type_wide, a.permission,
         a.inheritance_mode, a.is_deny, a.expires_ts, least(a.effective_level, a.max_level)::smallint, a.path_codes, a.path_ids
  from applicable a left join app.role r on r.id = a.role_id
  where a.effective_level is not null
  order by a.grant_id, least(a.effective_level, a.max_level) desc, cardinality(a.path_ids)
$$;

-- Returns whether a person may create entities of the type that have no parent.
create or replace function app.can_create(p_person uuid, p_code text) returns boolean language sql stable as $$
  select coalesce(bool_or(not is_deny and permission >= 6), false) and not coalesce(bool_or(is_deny), false)
  from app.active_grants(array[p_person])
  where entity_code = p_code and entity_instance_id = '11111111-1111-1111-1111-111111111111'
$$;
