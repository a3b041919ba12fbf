-- What a person may do with a few things is worked out from the grants that reach these, and no longer from all that the person holds: who has made ten
-- thousand things holds as many grants.
drop index app.entity_rbac_person_id_idx;
drop index app.entity_rbac_role_id_idx;
create index entity_rbac_person_id_idx on app.entity_rbac (person_id, entity_instance_id) where person_id is not null;
create index entity_rbac_role_id_idx on app.entity_rbac (role_id, entity_instance_id) where role_id is not null;

-- `things_of`, from the things' keys to the grants. By indexes alone: in a transaction that makes thousands of grants the plan is from when there were few.
create function app.few_things_of(p_persons uuid[], p_ids uuid[])
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
  wanted as materialized (select th.id, th.code, th.title, th.reach from app.thing th where th.id = any (p_ids)),
  keys (id, code, direct, cap, key) as (
    select w.id, w.code, true, 7, w.id from wanted w
    union all select w.id, w.code, true, 7, e.marker from wanted w join app.entity e on e.code = w.code
    union all select w.id, w.code, false, case when rk.owned then 7 else 1 end, rk.key from wanted w join app.reach_key rk on rk.reach = w.reach
  ),
  -- A marker stands for the grants on a whole type.
  places as materialized (
    select k.*, t.code as typed, case when t.code is null then k.key else '11111111-1111-1111-1111-111111111111' end as instance
    from keys k left join app.entity t on t.marker = k.key
  ),
  grants as (
    select h.holder, g.*, k.id as thing, k.code, k.direct, k.cap, k.typed
    from places k cross join holders h
    -- Each asked for by both at once: `offset 0` keeps it so.
    cross join lateral (select * from app.entity_rbac g where g.person_id = h.person and g.entity_instance_id = k.instance offset 0) g
    union all
    select h.holder, g.*, k.id, k.code, k.direct, k.cap, k.typed
    from places k cross join holders h
    cross join lateral (select * from app.entity_rbac g where g.role_id = h.role and g.entity_instance_id = k.instance offset 0) g
  ),
  weighed as (
    select g.holder, g.thing, g.is_deny, least(g.cap,
      case when g.direct then g.permission::integer else app.inherited_worth(g.permission, g.inheritance_mode, g.child_permissions, g.code) end) as worth
    from grants g
    where (g.expires_ts is null or g.expires_ts > now()) and (g.typed is null or (g.entity_code = g.typed and g.permission <> 6))
      and (g.direct or app.inherited_worth(g.permission, g.inheritance_mode, g.child_permissions, g.code) is not null)
  ),
  levels as (select holder, thing, max(worth)::smallint as level from weighed group by holder, thing having not bool_or(is_deny))
  select l.holder, w.id, w.code, w.title, l.level from levels l join wanted w on w.id = l.thing;
end $$;

-- Of a few things by the grants that reach them, of many, as before, by all that the people hold.
alter function app.things_of(uuid[], uuid[]) rename to many_things_of;
create function app.things_of(p_persons uuid[], p_ids uuid[])
returns table (person_id uuid, id uuid, code text, title text, level smallint) language plpgsql stable as $$
begin
  if cardinality(p_persons) * cardinality(p_ids) <= 50 then
    return query select * from app.few_things_of(p_persons, p_ids);
  else
    return query select * from app.many_things_of(p_persons, p_ids);
  end if;
end $$;
