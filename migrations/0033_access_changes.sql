-- What a person sees of a type is worked out once and kept by whoever asks often; this table says when it no longer holds.
--
-- A row is written by the transaction that changes what people see, and is read as such: a sight that was worked out in a snapshot holds
-- as long as every row that is visible now was visible in that snapshot. No counter is locked and no clock is believed. Rows are kept for a
-- million transactions; a sight from before that must not be used.

create table app.access_change (
  xid xid8 not null default pg_current_xact_id(),
  person_id uuid,             -- whose grants or roles changed; null: perhaps anybody's,
  reach integer,              -- unless this one is new and nothing else happened,
  was integer,                -- or things have come from that one to this
  made boolean not null default false -- only the grant that comes with making something
);
create unique index on app.access_change (xid, person_id, reach, was, made) nulls not distinct;

create function app.note_access_change() returns trigger language plpgsql as $$
begin
  case tg_table_name
    when 'reach' then
      insert into app.access_change (reach) values (new.id);
    when 'entity_rbac' then
      if tg_op <> 'INSERT' then insert into app.access_change (person_id) values (old.person_id) on conflict do nothing; end if;
      if tg_op <> 'DELETE' then
        insert into app.access_change (person_id, made)
        values (new.person_id, tg_op = 'INSERT' and coalesce(current_setting('app.creator_grant', true), '') = 'on') on conflict do nothing;
      end if;
    when 'entity_instance_link' then
      if tg_op <> 'INSERT' then
        insert into app.access_change (person_id) values (case when old.child_code = 'person' then old.child_id end) on conflict do nothing;
      end if;
      if tg_op <> 'DELETE' then
        insert into app.access_change (person_id) values (case when new.child_code = 'person' then new.child_id end) on conflict do nothing;
      end if;
    when 'person' then
      insert into app.access_change (person_id) values (case when tg_op = 'DELETE' then old.id else new.id end) on conflict do nothing;
    else
      insert into app.access_change default values on conflict do nothing;
  end case;
  return null;
end $$;
create trigger note_access_change after insert on app.reach for each row execute function app.note_access_change();
create trigger note_access_change after insert or update or delete on app.entity_rbac for each row execute function app.note_access_change();
create trigger note_access_given after insert on app.entity_instance_link for each row when (new.parent_code = 'role') execute function app.note_access_change();
create trigger note_access_taken after delete on app.entity_instance_link for each row when (old.parent_code = 'role') execute function app.note_access_change();
create trigger note_access_moved after update on app.entity_instance_link
  for each row when (old.parent_code = 'role' or new.parent_code = 'role') execute function app.note_access_change();
create trigger note_access_change after insert or update of active_flag or delete on app.person for each row execute function app.note_access_change();
create trigger note_access_change after insert or update of active_flag or delete on app.role for each row execute function app.note_access_change();

-- The same for names: a thing that has another title, or none any more. A new one is in nobody's memory.
create table app.name_change (
  xid xid8 not null default pg_current_xact_id(),
  id uuid not null
);
create unique index on app.name_change (xid, id);
create function app.note_name_change() returns trigger language plpgsql as $$
begin
  insert into app.name_change (id) values (old.id) on conflict do nothing;
  return null;
end $$;
create trigger note_new_title after update of title on app.thing for each row when (old.title <> new.title) execute function app.note_name_change();
create trigger note_no_title after delete on app.thing for each row execute function app.note_name_change();

-- Where the database stands, and what has changed since snapshots: for a person, whether something other than new reaches and those; in names,
-- which things have others and from which reaches things have moved. At most `p_most` of each are looked at.
create function app.standing(p_since text, p_person uuid, p_names_since text, p_most integer, out epoch bigint, out snapshot text,
                             out looked integer, out other boolean, out reaches integer[], out renamed uuid[], out moved integer[])
language plpgsql stable set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
  select coalesce((select e.epoch from app.feed_epoch e), 1), pg_current_snapshot()::text into epoch, snapshot;
  looked := 0; other := false;
  if snapshot <> p_since then
    select count(*), coalesce(bool_or(n.reach is null), false), array_agg(distinct n.reach) filter (where n.reach is not null)
    into looked, other, reaches
    from (select c.reach from app.access_change c
          where c.xid >= pg_snapshot_xmin(p_since::pg_snapshot) and not pg_visible_in_snapshot(c.xid, p_since::pg_snapshot)
            and (c.person_id is null or c.person_id = p_person) and c.was is null
          limit p_most) n;
  end if;
  if snapshot <> p_names_since then
    select array_agg(n.id) into renamed
    from (select c.id from app.name_change c
          where c.xid >= pg_snapshot_xmin(p_names_since::pg_snapshot) and not pg_visible_in_snapshot(c.xid, p_names_since::pg_snapshot)
          limit p_most) n;
    select array_agg(distinct n.was) into moved
    from (select c.was from app.access_change c
          where c.xid >= pg_snapshot_xmin(p_names_since::pg_snapshot) and not pg_visible_in_snapshot(c.xid, p_names_since::pg_snapshot)
            and c.was is not null
          limit p_most) n;
  end if;
end $$;

-- Takes away what no sight may be older than; answers how many rows went, at most `p_most`.
create function app.forget_access_changes(p_most integer) returns integer language plpgsql as $$
declare
  gone integer;
begin
  delete from app.access_change where ctid in (
    select c.ctid from app.access_change c
    where c.xid < (greatest(pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1000000, 0))::text::xid8
    order by c.xid limit p_most for update skip locked);
  get diagnostics gone = row_count;
  delete from app.name_change where ctid in (
    select c.ctid from app.name_change c
    where c.xid < (greatest(pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1000000, 0))::text::xid8
    order by c.xid limit p_most for update skip locked);
  return gone;
end $$;

-- As before, and says from which reach to which things have moved.
create or replace function app.move_reach(p_ids uuid[]) returns void language plpgsql as $$
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
    with target as materialized (
      select th.id, th.reach as was, app.reach_for(a.above, a.above_owned) as reach from app.above(below) a join app.thing th using (id)
    ),
    changed as (
      update app.thing th set reach = t.reach from target t where th.id = t.id and t.was <> t.reach
      returning th.code, th.id, th.made_by, t.was, t.reach
    ),
    -- What this transaction has made has been nowhere before.
    told as (insert into app.access_change (was, reach)
             select distinct was, reach from changed where made_by <> pg_current_xact_id() on conflict do nothing)
    select code, array_agg(id) as ids from changed group by code order by code
  loop
    execute format('update app.%I t set reach = th.reach from app.thing th where th.id = t.id and t.id = any ($1)', part.code) using part.ids;
  end loop;
  perform set_config('app.moving', '', true);
end $$;

-- As before, and with it what it takes to keep it: which keys give and take away by inheritance, so that a new reach can be weighed by itself, and
-- until when no grant that counts expires.
drop function app.sight(uuid, text);
create function app.sight(p_person uuid, p_code text)
returns table (sees_all boolean, denied_all boolean, reaches integer[], direct uuid[], denied_reaches integer[], denied_direct uuid[],
               keys uuid[], denied_keys uuid[], until float8)
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
         coalesce(array_agg(distinct key) filter (where own and not typed and is_deny), '{}'),
         coalesce(array_agg(distinct key) filter (where worth is not null and not is_deny), '{}'),
         coalesce(array_agg(distinct key) filter (where worth is not null and is_deny), '{}'),
         extract(epoch from min(expires_ts))::float8
  from held;
end $$;
