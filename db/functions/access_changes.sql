-- Changes of access and of titles, by which cached visibility and cached titles are validated.

-- After a change of grants, role membership, people, roles or ancestor sets: records the change.
create or replace function app.record_access_change() returns trigger language plpgsql as $$
begin
  case tg_table_name
    when 'ancestor_set' then
      insert into app.access_change (new_ancestor_set_id) values (new.id);
    when 'entity_rbac' then
      if tg_op <> 'INSERT' then insert into app.access_change (person_id) values (old.person_id) on conflict do nothing; end if;
      if tg_op <> 'DELETE' then
        insert into app.access_change (person_id, is_creator_grant)
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

-- After a change or removal of a title: records it. A new title cannot be in a cache.
create or replace function app.record_title_change() returns trigger language plpgsql as $$
begin
  insert into app.title_change (id) values (old.id) on conflict do nothing;
  return null;
end $$;

-- Returns the current epoch and snapshot, and the changes since the snapshots of two caches, at
-- most `p_most` of each kind. Since `p_visibility_since`: the number of changes that concern
-- `p_person`, whether one of them is more than a new ancestor set, and the new ancestor sets. Since
-- `p_titles_since`: the entities with a changed or removed title, and the ancestor sets that
-- entities have left.
create or replace function app.cache_changes_since(p_visibility_since text, p_person uuid, p_titles_since text, p_most integer,
                                                   out epoch bigint, out snapshot text, out change_count integer, out must_recompute boolean,
                                                   out new_ancestor_set_ids integer[], out retitled_ids uuid[], out left_ancestor_set_ids integer[])
language plpgsql stable set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
  select coalesce((select e.epoch from app.feed_epoch e), 1), pg_current_snapshot()::text into epoch, snapshot;
  change_count := 0; must_recompute := false;
  if snapshot <> p_visibility_since then
    select count(*), coalesce(bool_or(n.id is null), false), array_agg(distinct n.id) filter (where n.id is not null)
    into change_count, must_recompute, new_ancestor_set_ids
    from (select c.new_ancestor_set_id as id from app.access_change c
          where c.xid >= pg_snapshot_xmin(p_visibility_since::pg_snapshot) and not pg_visible_in_snapshot(c.xid, p_visibility_since::pg_snapshot)
            and (c.person_id is null or c.person_id = p_person) and c.old_ancestor_set_id is null
          limit p_most) n;
  end if;
  if snapshot <> p_titles_since then
    select array_agg(n.id) into retitled_ids
    from (select c.id from app.title_change c
          where c.xid >= pg_snapshot_xmin(p_titles_since::pg_snapshot) and not pg_visible_in_snapshot(c.xid, p_titles_since::pg_snapshot)
          limit p_most) n;
    select array_agg(distinct n.id) into left_ancestor_set_ids
    from (select c.old_ancestor_set_id as id from app.access_change c
          where c.xid >= pg_snapshot_xmin(p_titles_since::pg_snapshot) and not pg_visible_in_snapshot(c.xid, p_titles_since::pg_snapshot)
            and c.old_ancestor_set_id is not null
          limit p_most) n;
  end if;
end $$;

-- Deletes changes that are more than a million transactions old, at most `p_most` of each kind, and
-- returns the larger number of deleted changes of one kind: below `p_most`, none is left.
create or replace function app.prune_access_changes(p_most integer) returns integer language plpgsql as $$
declare
  pruned integer; pruned_titles integer;
begin
  delete from app.access_change where ctid in (
    select c.ctid from app.access_change c
    where c.xid < (greatest(pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1000000, 0))::text::xid8
    order by c.xid limit p_most for update skip locked);
  get diagnostics pruned = row_count;
  delete from app.title_change where ctid in (
    select c.ctid from app.title_change c
    where c.xid < (greatest(pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1000000, 0))::text::xid8
    order by c.xid limit p_most for update skip locked);
  get diagnostics pruned_titles = row_count;
  return greatest(pruned, pruned_titles);
end $$;
