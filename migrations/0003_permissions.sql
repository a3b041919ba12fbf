-- Effective permissions in bulk. The definition is the pure function in crates/domain; tests compare the two.

-- Grants that count now, of each of these people and of the roles that they are in.
create function app.grants_of(p_persons uuid[])
returns table (person_id uuid, grant_id uuid, entity_code text, entity_instance_id uuid, permission smallint,
               inheritance_mode text, child_permissions jsonb, is_deny boolean)
language sql stable as $$
  with alive as (select p.id from app.person p where p.id = any (p_persons) and p.active_flag)
  select g.person_id, g.id, g.entity_code, g.entity_instance_id, g.permission, g.inheritance_mode, g.child_permissions, g.is_deny
  from app.entity_rbac g join alive on alive.id = g.person_id
  where g.expires_ts is null or g.expires_ts > now()
  union all
  select alive.id, g.id, g.entity_code, g.entity_instance_id, g.permission, g.inheritance_mode, g.child_permissions, g.is_deny
  from alive
  join app.entity_instance_link l on l.child_code = 'person' and l.child_id = alive.id and l.parent_code = 'role'
  join app.role r on r.id = l.parent_id and r.active_flag
  join app.entity_rbac g on g.role_id = l.parent_id
  where g.expires_ts is null or g.expires_ts > now()
$$;

-- What a grant is worth on a thing of type `p_code`; null: it doesn't reach.
create function app.grant_worth(p_permission smallint, p_mode text, p_map jsonb, p_code text, p_direct boolean) returns integer
language sql immutable parallel safe as $$
  select case when p_direct then p_permission::integer
              when p_mode = 'cascade' then p_permission::integer
              when p_mode = 'mapped' then coalesce((p_map ->> p_code)::integer, (p_map ->> '_default')::integer) end
$$;

-- The level of each person on each thing that they may see: upwards from the things to the grants. Rows are absent where there
-- is no access.
create function app.permissions(p_persons uuid[], p_code text, p_ids uuid[])
returns table (person_id uuid, id uuid, level smallint) language sql stable as $$
  with recursive ancestry (target, code, id, cap) as (
    select distinct t, p_code, t, 7 from unnest(p_ids) t
    union
    select a.target, l.parent_code, l.parent_id, case when l.owned then a.cap else least(a.cap, 1) end
    from ancestry a join app.entity_instance_link l on l.child_code = a.code and l.child_id = a.id
  ),
  reached as (
    select h.person_id, a.target, h.is_deny, a.cap,
           app.grant_worth(h.permission, h.inheritance_mode, h.child_permissions, p_code, a.code = p_code and a.id = a.target) as worth
    from ancestry a join app.grants_of(p_persons) h
      on h.entity_code = a.code
     and (h.entity_instance_id = a.id
          or (h.entity_instance_id = '11111111-1111-1111-1111-111111111111' and h.permission <> 6))
  )
  select r.person_id, r.target, max(least(r.worth, r.cap))::smallint
  from reached r where r.worth is not null
  group by r.person_id, r.target having not bool_or(r.is_deny)
$$;

-- Things of type `p_code` that grants of one person reach, downwards from the grants; for lists. Grants on the whole type are
-- not spelt out: app.type_reach tells of those.
create function app.reached(p_person uuid, p_code text) returns table (id uuid, is_deny boolean)
language sql stable as $$
  with recursive held as materialized (select * from app.grants_of(array[p_person])),
  above (code) as (
    select p_code union select c.parent_code from above a join app.entity_child c on c.child_code = a.code
  ),
  walk (grant_id, code, id, direct) as (
    select h.grant_id, h.entity_code, h.entity_instance_id, true from held h join above on above.code = h.entity_code
      where h.entity_instance_id <> '11111111-1111-1111-1111-111111111111'
    union
    select h.grant_id, l.child_code, l.child_id, false
      from held h join app.entity_instance_link l on l.parent_code = h.entity_code join above on above.code = l.child_code
      where h.entity_instance_id = '11111111-1111-1111-1111-111111111111' and h.permission <> 6 and h.inheritance_mode <> 'none'
    union
    select w.grant_id, l.child_code, l.child_id, false
      from walk w join app.entity_instance_link l on l.parent_code = w.code and l.parent_id = w.id
      join above on above.code = l.child_code
  )
  select w.id, h.is_deny from walk w join held h using (grant_id)
  where w.code = p_code
    and app.grant_worth(h.permission, h.inheritance_mode, h.child_permissions, p_code, w.direct) is not null
$$;

-- Whether grants on the whole type let a person see every instance, and whether any deny could take some away.
create function app.type_reach(p_person uuid, p_code text) returns table (sees_all boolean, denied_all boolean, any_deny boolean)
language sql stable as $$
  select coalesce(bool_or(typed and not is_deny), false), coalesce(bool_or(typed and is_deny), false),
         coalesce(bool_or(is_deny), false)
  from (select is_deny, entity_code = p_code and permission <> 6
               and entity_instance_id = '11111111-1111-1111-1111-111111111111' as typed
        from app.grants_of(array[p_person])) g
$$;

-- The highest level that a person may pass on: what their grants give on the thing until `p_until` at least, and for a grant that goes
-- down, what theirs gives below it too.
create function app.shareable_level(p_person uuid, p_code text, p_id uuid, p_cascading boolean, p_until timestamptz) returns smallint
language sql stable as $$
  with recursive ancestry (code, id, cap) as (
    select p_code, p_id, 7
    union
    select l.parent_code, l.parent_id, case when l.owned then a.cap else least(a.cap, 1) end
    from ancestry a join app.entity_instance_link l on l.child_code = a.code and l.child_id = a.id
  ),
  reached as (
    select h.is_deny, a.cap, app.grant_worth(h.permission, h.inheritance_mode, h.child_permissions, p_code, a.code = p_code and a.id = p_id) as worth,
           h.is_deny or ((not p_cascading or h.inheritance_mode = 'cascade') and (g.expires_ts is null or g.expires_ts >= p_until)) as counts
    from ancestry a join app.grants_of(array[p_person]) h
      on h.entity_code = a.code
     and (h.entity_instance_id = a.id or (h.entity_instance_id = '11111111-1111-1111-1111-111111111111' and h.permission <> 6))
    join app.entity_rbac g on g.id = h.grant_id
  )
  select case when bool_or(is_deny) then null else max(least(worth, cap)) filter (where counts) end::smallint
  from reached where worth is not null
$$;

-- Whether a person may make instances of the type that have no parent.
create function app.may_create(p_person uuid, p_code text) returns boolean language sql stable as $$
  select coalesce(bool_or(not is_deny and permission >= 6), false) and not coalesce(bool_or(is_deny), false)
  from app.grants_of(array[p_person])
  where entity_code = p_code and entity_instance_id = '11111111-1111-1111-1111-111111111111'
$$;
