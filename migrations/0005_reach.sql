-- One id, one thing, and from where grants come down to it.
--
-- A grant on a thing goes down its links. Walking them for every list is slow, so each thing has a `reach`: a number that stands for the set
-- of all that hangs above it, whichever way, and of the markers of their types, which stand for grants on a whole type. Things with the same
-- above share it: the tasks below one summary of one project are one number. What a person sees of a type is then a list of numbers, found
-- from their grants by `app.reach_key`; a row of a list is checked by one look into a hash of them. A grant given, changed, expired or taken
-- back costs nothing here: grants are compared when asked. What costs is moving a thing with much below it, which is rare.
--
-- Readers must never take `reach` for a level: `app.things_of` weighs grants, lookups and denies.

alter table app.entity add column marker uuid not null default gen_random_uuid() unique;
alter table app.entity add column search_flag boolean not null default true; -- whether search finds things of the type
update app.entity set search_flag = false where code = 'task_dependency';

create table app.thing (
  id uuid primary key constraint id check (id <> '11111111-1111-1111-1111-111111111111'), -- that one stands for every instance
  code text not null,
  title text not null,
  reach integer not null default 1,
  document tsvector,                        -- what search reads; null: deleted
  made_by xid8 not null default pg_current_xact_id()
);
alter table app.thing set (fillfactor = 80);
create index on app.thing using gin (document);
create index on app.thing (code, title text_pattern_ops);

-- A set of what is above. Number 1 is the empty one.
create table app.reach (
  id integer generated always as identity primary key,
  hash bytea not null unique,
  above uuid[] not null,       -- in order
  above_owned uuid[] not null  -- the part that is reached by owned links alone; through the rest a grant is worth COMMENT
);
create table app.reach_key (
  key uuid not null,
  reach integer not null,
  owned boolean not null,
  primary key (key, reach) include (owned)
);
create index on app.reach_key (reach) include (key, owned);

-- The number of a set; makes it where it is new.
create function app.reach_for(p_above uuid[], p_owned uuid[]) returns integer language plpgsql as $$
declare
  digest bytea := sha256(convert_to(p_above::text || p_owned::text, 'UTF8')); number integer;
begin
  select r.id into number from app.reach r where r.hash = digest;
  if found then return number; end if;
  insert into app.reach (hash, above, above_owned) values (digest, p_above, p_owned) on conflict (hash) do nothing returning id into number;
  if number is null then
    -- Somebody else has just made it.
    select r.id into strict number from app.reach r where r.hash = digest;
  else
    insert into app.reach_key (key, reach, owned) select k, number, k = any (p_owned) from unnest(p_above) k;
  end if;
  return number;
end $$;
select app.reach_for('{}', '{}');

alter table app.entity_columns add column reach integer not null default 1;

-- New things under others come by the hundred and only read the reach of what is above; whoever changes the reach of what is there
-- already waits for them and keeps new ones out until it is done, or a child made meanwhile would keep the old reach.
create function app.lock_topology(alone boolean) returns void language sql volatile as $$
  select case when alone then pg_advisory_xact_lock(7461, 1) else pg_advisory_xact_lock_shared(7461, 1) end
$$;

-- The words of a thing, for search: its prose, not its references, dates, marks and keys. In plpgsql, which keeps its plans.
create function app.prose(p_row jsonb) returns tsvector language plpgsql immutable parallel safe as $$
declare
  rest text;
begin
  select left(string_agg(value #>> '{}', ' ' order by key), 100000) into rest from jsonb_each(p_row)
  where jsonb_typeof(value) = 'string'
    and key not in ('id', 'name', 'code', 'descr', 'wbs', 'rank', 'currency', 'unit', 'sha256', 'storage_key', 'media_type', 'locale', 'timezone')
    and not key like any ('{dl\\_\\_%,%\\_id,%\\_uuid,%\\_ts,%\\_date,%\\_amt,%\\_code}'::text[]);
  return setweight(to_tsvector('simple', left(coalesce(p_row ->> 'name', ''), 500) || ' ' || left(coalesce(p_row ->> 'code', ''), 200)), 'A')
      || setweight(to_tsvector('simple', left(coalesce(p_row ->> 'descr', ''), 100000)), 'B')
      || setweight(to_tsvector('simple', coalesce(rest, '')), 'C');
end $$;

-- What is above each of these things, afresh from the links.
create function app.above(p_ids uuid[]) returns table (id uuid, above uuid[], above_owned uuid[]) language sql stable as $$
  with recursive up (target, code, id, owned) as (
    select th.id, th.code, th.id, true from app.thing th where th.id = any (p_ids)
    union
    select u.target, l.parent_code, l.parent_id, u.owned and l.owned
    from up u join app.entity_instance_link l on l.child_code = u.code and l.child_id = u.id
  ),
  keys as (
    select u.target, k.key, bool_or(u.owned) as owned
    from up u join app.entity e on e.code = u.code cross join lateral (values (u.id), (e.marker)) k (key)
    where u.id <> u.target
    group by u.target, k.key
  )
  select th.id, coalesce(array_agg(k.key order by k.key) filter (where k.key is not null), '{}'),
         coalesce(array_agg(k.key order by k.key) filter (where k.owned), '{}')
  from app.thing th left join keys k on k.target = th.id
  where th.id = any (p_ids)
  group by th.id
$$;

-- Sets the reach of these things and of all below them anew.
create function app.move_reach(p_ids uuid[]) returns void language plpgsql as $$
declare
  below uuid[]; part record;
begin
  -- What this transaction has made nobody else can have built on.
  if exists (select from app.thing where id = any (p_ids) and made_by <> pg_current_xact_id()) then
    perform app.lock_topology(true);
  end if;
  with recursive down (code, id) as (
    select th.code, th.id from app.thing th where th.id = any (p_ids)
    union
    select l.child_code, l.child_id from down d join app.entity_instance_link l on l.parent_code = d.code and l.parent_id = d.id
  )
  select array_agg(distinct down.id) into below from down;
  if below is null then return; end if;
  perform set_config('app.moving', 'on', true);
  for part in
    with changed as (
      update app.thing th set reach = r.number
      from (select a.id, app.reach_for(a.above, a.above_owned) as number from app.above(below) a) r
      where th.id = r.id and th.reach <> r.number
      returning th.code, th.id
    )
    select code, array_agg(id) as ids from changed group by code order by code
  loop
    execute format('update app.%I t set reach = th.reach from app.thing th where th.id = t.id and t.id = any ($1)', part.code) using part.ids;
  end loop;
  perform set_config('app.moving', '', true);
end $$;

-- A new thing enters: its id is taken for good, and its reach follows from the columns that name its parents.
create function app.take_reach() returns trigger language plpgsql set enable_seqscan = off as $$
declare
  tie record; fields jsonb := to_jsonb(new); parent uuid; parents uuid[] := '{}'; owners uuid[] := '{}'; above uuid[]; above_owned uuid[];
begin
  perform app.lock_topology(false);
  for tie in select * from app.entity_child where child_code = tg_argv[0] and column_name <> '' loop
    if tie.code_column <> '' and fields ->> tie.code_column is distinct from tie.parent_code then continue; end if;
    parent := (fields ->> tie.column_name)::uuid;
    if parent is null or parent = new.id then continue; end if;
    if not exists (select from app.thing th where th.id = parent and th.code = tie.parent_code) then
      raise exception 'there is no such %', tie.parent_code using errcode = 'check_violation', column = tie.column_name;
    end if;
    parents := parents || parent;
    if tie.owned then owners := owners || parent; end if;
  end loop;
  new.reach := 1;
  if parents <> '{}' then
    select array_agg(distinct k.key order by k.key), coalesce(array_agg(distinct k.key order by k.key) filter (where k.owned), '{}')
    into above, above_owned
    from app.thing th join app.entity e on e.code = th.code
    cross join lateral (
      select th.id, th.id = any (owners) union all select e.marker, th.id = any (owners)
      union all select rk.key, rk.owned and th.id = any (owners) from app.reach_key rk where rk.reach = th.reach) k (key, owned)
    where th.id = any (parents);
    new.reach := app.reach_for(above, above_owned);
  end if;
  insert into app.thing (id, code, title, reach, document)
  select new.id, tg_argv[0], coalesce(new.name, ''), new.reach, case when new.active_flag and e.search_flag then app.prose(fields) end
  from app.entity e where e.code = tg_argv[0];
  return new;
end $$;

-- Keeps a thing's title and words; takes it out when its row goes.
create function app.keep_thing() returns trigger language plpgsql set enable_seqscan = off as $$
declare
  words tsvector;
begin
  if tg_op = 'DELETE' then
    delete from app.thing where id = old.id;
    return null;
  end if;
  if new.version = old.version then return null; end if;
  select case when new.active_flag and e.search_flag then app.prose(to_jsonb(new)) end into words from app.entity e where e.code = tg_argv[0];
  update app.thing set title = new.name, document = words
  where id = new.id and (title, document) is distinct from (new.name, words);
  return null;
end $$;

-- As before, but for the things that only have their reach renewed: that is no new version.
create or replace function app.stamp_row() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    new.version := 1;
    new.created_ts := now();
    new.updated_ts := now();
    if new.code is null or new.code = '' then
      new.code := tg_argv[1] || '-' || nextval(('app.' || tg_argv[0] || '_code_seq')::regclass);
    end if;
  elsif current_setting('app.moving', true) = 'on' then
    return new;
  else
    new.reach := old.reach;
    if new is distinct from old then
      new.id := old.id;
      new.created_ts := old.created_ts;
      new.version := old.version + 1;
      new.updated_ts := now();
    end if;
  end if;
  return new;
end $$;

create or replace function app.log_change() returns trigger language plpgsql as $$
declare
  before jsonb; after jsonb; diff jsonb; what smallint; subject uuid; seen bigint;
begin
  if tg_op = 'INSERT' then
    after := jsonb_strip_nulls(to_jsonb(new) - '{version,updated_ts,created_ts,id,reach}'::text[]);
    select coalesce(jsonb_object_agg(key, jsonb_build_object('new', value)), '{}') into diff from jsonb_each(after);
    what := case tg_argv[0] when 'message' then 1 else 6 end;
    subject := new.id; seen := new.version;
  elsif tg_op = 'UPDATE' then
    if new.version = old.version then return null; end if;
    before := to_jsonb(old) - '{version,updated_ts,reach}'::text[];
    after := to_jsonb(new) - '{version,updated_ts,reach}'::text[];
    select coalesce(jsonb_object_agg(a.key, jsonb_build_object('old', b.value, 'new', a.value)), '{}') into diff
      from jsonb_each(after) a join jsonb_each(before) b using (key) where a.value is distinct from b.value;
    what := case when old.active_flag and not new.active_flag then 5
                 when new.active_flag and not old.active_flag then 6 else 3 end;
    subject := new.id; seen := new.version;
  else
    before := jsonb_strip_nulls(to_jsonb(old) - '{version,updated_ts,created_ts,id,reach}'::text[]);
    select coalesce(jsonb_object_agg(key, jsonb_build_object('old', value)), '{}') into diff from jsonb_each(before);
    what := 5; subject := old.id; seen := old.version + 1;
  end if;
  perform app.log(tg_argv[0], subject, what, seen, diff);
  return null;
end $$;

-- As before, and the reach follows the links.
create or replace function app.maintain_links() returns trigger language plpgsql set enable_seqscan = off as $$
declare
  tie record; before jsonb; after jsonb; parent_before uuid; parent_after uuid; moved boolean := false; orphans uuid[];
begin
  if tg_op = 'DELETE' then
    select array_agg(child_id) into orphans from app.entity_instance_link where parent_code = tg_argv[0] and parent_id = old.id;
    delete from app.entity_instance_link
      where (child_code = tg_argv[0] and child_id = old.id) or (parent_code = tg_argv[0] and parent_id = old.id);
    delete from app.entity_rbac where entity_code = tg_argv[0] and entity_instance_id = old.id;
    if orphans is not null then perform app.move_reach(orphans); end if;
    return null;
  end if;
  if tg_op = 'UPDATE' and new.version = old.version then return null; end if;
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
    perform app.move_reach(array[new.id]);
    perform app.log('entity_instance_link', new.id, 4::smallint, new.version,
                    jsonb_build_object('child_code', jsonb_build_object('new', tg_argv[0]),
                                       'child_id', jsonb_build_object('new', new.id)));
  end if;
  return null;
end $$;

-- A link that no column stands for: both ends must be things of those types.
create function app.follow_link() returns trigger language plpgsql as $$
begin
  if tg_op <> 'DELETE' then
    if not exists (select from app.thing where id = new.parent_id and code = new.parent_code) then
      raise exception 'there is no such %', new.parent_code using errcode = 'check_violation', column = 'parent_id';
    end if;
    if not exists (select from app.thing where id = new.child_id and code = new.child_code) then
      raise exception 'there is no such %', new.child_code using errcode = 'check_violation', column = 'child_id';
    end if;
    perform app.move_reach(array[new.child_id]);
  else
    perform app.move_reach(array[old.child_id]);
  end if;
  return null;
end $$;
create trigger follow_link after insert or update or delete on app.entity_instance_link
  for each row when (pg_trigger_depth() = 0) execute function app.follow_link();

create or replace function app.register_entity(p_code text) returns void language plpgsql as $$
declare
  prefix text;
begin
  select code_prefix into strict prefix from app.entity where code = p_code;
  execute format('create sequence if not exists app.%I', p_code || '_code_seq');
  execute format('create trigger stamp_row before insert or update on app.%I for each row
                  execute function app.stamp_row(%L, %L)', p_code, p_code, prefix);
  -- Triggers fire in the order of their names: this one after those that fill in columns.
  execute format('create trigger take_reach before insert on app.%I for each row execute function app.take_reach(%L)', p_code, p_code);
  execute format('create trigger keep_thing after update or delete on app.%I for each row execute function app.keep_thing(%L)', p_code, p_code);
  execute format('create trigger log_change after insert or update or delete on app.%I for each row
                  execute function app.log_change(%L)', p_code, p_code);
  execute format('create trigger maintain_links after insert or update or delete on app.%I for each row
                  execute function app.maintain_links(%L)', p_code, p_code);
  execute format('create unique index on app.%I (code) where active_flag', p_code);
  execute format('create index on app.%I (reach)', p_code);
  -- A list asks for thousands of reaches at once; the planner needn't weigh each.
  execute format('alter table app.%I alter column reach set statistics 10', p_code);
  execute format('create index on app.%I (name)', p_code);
  execute format('alter table app.%I add check (char_length(name) between 1 and 500)', p_code);
end $$;

-- What is there already enters as well.
do $$
declare
  kind record;
begin
  for kind in select code, search_flag from app.entity order by code loop
    execute format('alter table app.%I add column reach integer not null default 1', kind.code);
    execute format('insert into app.thing (id, code, title, document) select t.id, %L, t.name, case when t.active_flag and %L then app.prose(to_jsonb(t)) end from app.%I t',
                   kind.code, kind.search_flag, kind.code);
  end loop;
  delete from app.entity_instance_link l where not exists (select from app.thing where id = l.parent_id and code = l.parent_code)
                                            or not exists (select from app.thing where id = l.child_id and code = l.child_code);
  perform set_config('app.moving', 'on', true);
  update app.thing th set reach = app.reach_for(a.above, a.above_owned)
    from app.above((select array_agg(id) from app.thing)) a where th.id = a.id and cardinality(a.above) > 0;
  for kind in select code from app.entity order by code loop
    execute format('update app.%I t set reach = th.reach from app.thing th where th.id = t.id and th.reach > 1', kind.code);
    execute format('create trigger take_reach before insert on app.%I for each row execute function app.take_reach(%L)', kind.code, kind.code);
    execute format('create trigger keep_thing after update or delete on app.%I for each row execute function app.keep_thing(%L)', kind.code, kind.code);
    execute format('create index on app.%I (reach)', kind.code);
    execute format('alter table app.%I alter column reach set statistics 10', kind.code);
    execute format('create index on app.%I (name)', kind.code);
  end loop;
  perform set_config('app.moving', '', true);
end $$;

-- Effective permissions, from reach and grants ----------------------------------------------------------------------

drop function app.grants_of(uuid[]);
drop function app.reached(uuid, text);
drop function app.type_reach(uuid, text);

-- Grants that count now, of each of these people and of the roles that they are in. `key` is what a thing's reach would have to hold:
-- the granted thing, or the marker of a type granted as a whole. CREATE on a type lets make instances and reaches none: its key is null.
create function app.grants_of(p_persons uuid[])
returns table (person_id uuid, grant_id uuid, role_id uuid, entity_code text, entity_instance_id uuid, permission smallint,
               inheritance_mode text, child_permissions jsonb, is_deny boolean, expires_ts timestamptz, typed boolean, key uuid)
language sql stable as $$
  with alive as (select p.id from app.person p where p.id = any (p_persons) and p.active_flag),
  held as (
    select alive.id as holder, g.* from app.entity_rbac g join alive on alive.id = g.person_id
    union all
    select alive.id, g.*
    from alive
    join app.entity_instance_link l on l.child_code = 'person' and l.child_id = alive.id and l.parent_code = 'role'
    join app.role r on r.id = l.parent_id and r.active_flag
    join app.entity_rbac g on g.role_id = l.parent_id
  )
  select h.holder, h.id, h.role_id, h.entity_code, h.entity_instance_id, h.permission, h.inheritance_mode, h.child_permissions, h.is_deny, h.expires_ts,
         h.entity_instance_id = '11111111-1111-1111-1111-111111111111',
         case when h.entity_instance_id <> '11111111-1111-1111-1111-111111111111' then h.entity_instance_id
              when h.permission <> 6 then e.marker end
  from held h join app.entity e on e.code = h.entity_code
  where h.expires_ts is null or h.expires_ts > now()
$$;

-- What a grant is worth below what it is on, for a thing of type `p_code`; null: it doesn't come down.
drop function app.grant_worth(smallint, text, jsonb, text, boolean);
create function app.inherited_worth(p_permission smallint, p_mode text, p_map jsonb, p_code text) returns integer
language sql immutable parallel safe as $$
  select case p_mode when 'cascade' then p_permission::integer
                     when 'mapped' then coalesce((p_map ->> p_code)::integer, (p_map ->> '_default')::integer) end
$$;

-- The level of each person on each thing that they may see, with its type and title. Rows are absent where there is no access.
-- In plpgsql, which keeps its plan: planning this costs more than doing it.
create function app.things_of(p_persons uuid[], p_ids uuid[])
returns table (person_id uuid, id uuid, code text, title text, level smallint) language plpgsql stable set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
  return query
  with held as materialized (select * from app.grants_of(p_persons) where key is not null),
  wanted as materialized (select th.id, th.code, th.title, th.reach from app.thing th where th.id = any (p_ids)),
  -- By what is above: once for all things that have the same above.
  inherited as materialized (
    select h.person_id, w.reach, w.code, h.is_deny,
           least(app.inherited_worth(h.permission, h.inheritance_mode, h.child_permissions, w.code), case when rk.owned then 7 else 1 end) as worth
    from (select distinct reach, code from wanted) w join app.reach_key rk on rk.reach = w.reach join held h on h.key = rk.key
    where app.inherited_worth(h.permission, h.inheritance_mode, h.child_permissions, w.code) is not null
  ),
  weighed as (
    select i.person_id, w.id, i.is_deny, i.worth from wanted w join inherited i on i.reach = w.reach and i.code = w.code
    union all
    select h.person_id, w.id, h.is_deny, h.permission::integer from wanted w join held h on h.key = w.id
    union all
    select h.person_id, w.id, h.is_deny, h.permission::integer
    from wanted w join app.entity e on e.code = w.code join held h on h.key = e.marker
  ),
  levels as (
    select person_id, id, max(worth)::smallint as level from weighed group by person_id, id having not bool_or(is_deny)
  )
  select l.person_id, w.id, w.code, w.title, l.level from levels l join wanted w using (id);
end $$;

-- The same for things of one type.
create or replace function app.permissions(p_persons uuid[], p_code text, p_ids uuid[])
returns table (person_id uuid, id uuid, level smallint) language sql stable as $$
  select person_id, id, level from app.things_of(p_persons, p_ids) where code = p_code
$$;

-- What a person's grants mean for lists of a type: a thing is seen where its reach is one of `reaches` or its id is in `direct`, unless
-- it is one of `denied_reaches` or in `denied_direct`; all of them are where `sees_all`, none where `denied_all`.
create function app.sight(p_person uuid, p_code text)
returns table (sees_all boolean, denied_all boolean, reaches integer[], direct uuid[], denied_reaches integer[], denied_direct uuid[])
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
  return query
  with held as materialized (
    select g.*, g.entity_code = p_code as own, app.inherited_worth(g.permission, g.inheritance_mode, g.child_permissions, p_code) as worth
    from app.grants_of(array[p_person]) g where g.key is not null
  )
  select coalesce(bool_or(own and typed and not is_deny), false), coalesce(bool_or(own and typed and is_deny), false),
         coalesce((select array_agg(distinct rk.reach) from (select distinct key from held where worth is not null and not is_deny) h join app.reach_key rk using (key)), '{}'),
         coalesce(array_agg(distinct key) filter (where own and not typed and not is_deny), '{}'),
         coalesce((select array_agg(distinct rk.reach) from (select distinct key from held where worth is not null and is_deny) h join app.reach_key rk using (key)), '{}'),
         coalesce(array_agg(distinct key) filter (where own and not typed and is_deny), '{}')
  from held;
end $$;

-- The highest level that a person may pass on: what their grants give on the thing until `p_until` at least, and for a grant that goes
-- down, what theirs gives below it too.
create or replace function app.shareable_level(p_person uuid, p_code text, p_id uuid, p_cascading boolean, p_until timestamptz) returns smallint
language sql stable as $$
  with keys (key, direct, cap) as (
    select p_id, true, 7
    union all select marker, true, 7 from app.entity where code = p_code
    union all select rk.key, false, case when rk.owned then 7 else 1 end
    from app.thing th join app.reach_key rk on rk.reach = th.reach where th.id = p_id and th.code = p_code
  ),
  reached as (
    select h.is_deny, k.cap,
           case when k.direct then h.permission::integer
                else app.inherited_worth(h.permission, h.inheritance_mode, h.child_permissions, p_code) end as worth,
           (not p_cascading or h.inheritance_mode = 'cascade') and (h.expires_ts is null or h.expires_ts >= p_until) as counts
    from keys k join app.grants_of(array[p_person]) h on h.key = k.key
  )
  select case when bool_or(is_deny) then null else max(least(worth, cap)) filter (where counts) end::smallint
  from reached where worth is not null
$$;

-- Why a person sees a thing, or does not: each grant that reaches it, and by which way down. Longest ways are cut at 32 steps.
create function app.explain(p_person uuid, p_code text, p_id uuid)
returns table (grant_id uuid, role_id uuid, role_name text, entity_code text, entity_instance_id uuid, typed boolean, permission smallint,
               inheritance_mode text, is_deny boolean, expires_ts timestamptz, worth smallint, way_codes text[], way_ids uuid[])
language sql stable as $$
  with recursive up (code, id, cap, way_codes, way_ids) as (
    select th.code, th.id, 7, array[th.code], array[th.id] from app.thing th where th.id = p_id and th.code = p_code
    union all
    select l.parent_code, l.parent_id, case when l.owned then u.cap else least(u.cap, 1) end,
           l.parent_code || u.way_codes, l.parent_id || u.way_ids
    from up u join app.entity_instance_link l on l.child_code = u.code and l.child_id = u.id
    where l.parent_id <> all (u.way_ids) and cardinality(u.way_ids) < 32
  ),
  reaching as (
    select h.*, u.cap, u.way_codes, u.way_ids,
           case when u.id = p_id then h.permission::integer
                else app.inherited_worth(h.permission, h.inheritance_mode, h.child_permissions, p_code) end as worth
    from up u join app.grants_of(array[p_person]) h
      on h.key is not null and h.entity_code = u.code and (h.typed or h.entity_instance_id = u.id)
  )
  select distinct on (r.grant_id) r.grant_id, r.role_id, ro.name, r.entity_code, r.entity_instance_id, r.typed, r.permission,
         r.inheritance_mode, r.is_deny, r.expires_ts, least(r.worth, r.cap)::smallint, r.way_codes, r.way_ids
  from reaching r left join app.role ro on ro.id = r.role_id
  where r.worth is not null
  order by r.grant_id, least(r.worth, r.cap) desc, cardinality(r.way_ids)
$$;
