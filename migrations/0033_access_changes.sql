-- What a person sees of a type is worked out once and kept by whoever asks often; this table says when it no longer holds.
--
-- A row is written by the transaction that changes what people see, and is read as such: a sight that was worked out in a snapshot holds
-- as long as every row that is visible now was visible in that snapshot. No counter is locked and no clock is believed. Rows are kept for a
-- million transactions; a sight from before that must not be used.

create table app.access_change (
  xid xid8 not null default pg_current_xact_id(),
  person_id uuid,  -- whose grants or roles changed; null: perhaps anybody's,
  reach integer    -- unless this one is new and nothing else happened
);
create index on app.access_change (xid) include (person_id, reach);

create function app.note_access_change() returns trigger language plpgsql as $$
begin
  case tg_table_name
    when 'reach' then
      insert into app.access_change (reach) values (new.id);
      -- Now and then somebody tidies up.
      if new.id % 64 = 0 then
        delete from app.access_change where ctid in (
          select c.ctid from app.access_change c
          where c.xid < (greatest(pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1000000, 0))::text::xid8
          order by c.xid limit 1000 for update skip locked);
      end if;
    when 'entity_rbac' then
      if tg_op <> 'INSERT' then insert into app.access_change (person_id) values (old.person_id); end if;
      if tg_op <> 'DELETE' then insert into app.access_change (person_id) values (new.person_id); end if;
    when 'entity_instance_link' then
      if tg_op <> 'INSERT' then insert into app.access_change (person_id) values (case when old.child_code = 'person' then old.child_id end); end if;
      if tg_op <> 'DELETE' then insert into app.access_change (person_id) values (case when new.child_code = 'person' then new.child_id end); end if;
    when 'person' then
      insert into app.access_change (person_id) values (old.id);
    else
      insert into app.access_change default values;
  end case;
  return null;
end $$;
create trigger note_access_change after insert on app.reach for each row execute function app.note_access_change();
create trigger note_access_change after insert or update or delete on app.entity_rbac for each row execute function app.note_access_change();
create trigger note_access_given after insert on app.entity_instance_link for each row when (new.parent_code = 'role') execute function app.note_access_change();
create trigger note_access_taken after update or delete on app.entity_instance_link for each row when (old.parent_code = 'role') execute function app.note_access_change();
create trigger note_access_change after update of active_flag or delete on app.person for each row execute function app.note_access_change();
create trigger note_access_change after update of active_flag or delete on app.role for each row execute function app.note_access_change();

-- As before, and with it what it takes to keep it: which keys give and take away by inheritance, so that a new reach can be weighed by itself, and
-- for how many seconds no grant that counts expires.
drop function app.sight(uuid, text);
create function app.sight(p_person uuid, p_code text)
returns table (sees_all boolean, denied_all boolean, reaches integer[], direct uuid[], denied_reaches integer[], denied_direct uuid[],
               keys uuid[], denied_keys uuid[], seconds float8)
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
         extract(epoch from min(expires_ts) - now())::float8
  from held;
end $$;
