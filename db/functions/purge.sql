-- Soft delete, restore and purge. Each covers an entity and its owned descendants. While they run,
-- the setting app.deletion_root contains the code of that entity, so that triggers can tell the
-- deletion of a row from that of its parent.

-- Deactivates an entity and its owned descendants, records them in app.deletion, and returns the
-- number of rows changed.
create or replace function app.soft_delete(p_code text, p_id uuid) returns integer language plpgsql as $$
declare
  part record; hit uuid[]; n integer := 0;
begin
  perform set_config('app.deletion_root', p_code, true);
  for part in
    with recursive tree (code, id) as (
      select p_code, p_id
      union
      select l.child_code, l.child_id from tree t
      join app.entity_instance_link l on l.parent_code = t.code and l.parent_id = t.id and l.owned
    )
    select code, array_agg(id order by id) as ids from tree group by code order by code
  loop
    execute format('with hit as (update app.%I set active_flag = false where id = any ($1) and active_flag returning id)
                    select array_agg(id) from hit', part.code) into hit using part.ids;
    if hit is not null then
      insert into app.deletion (root_code, root_id, entity_code, entity_id)
        select p_code, p_id, part.code, unnest(hit) on conflict do nothing;
      n := n + cardinality(hit);
    end if;
  end loop;
  perform set_config('app.deletion_root', '', true);
  return n;
end $$;

-- Reactivates the entities that were deleted together with the given one, and returns the number of
-- rows changed.
create or replace function app.restore(p_code text, p_id uuid) returns integer language plpgsql as $$
declare
  part record; n integer := 0; hits integer;
begin
  perform set_config('app.deletion_root', p_code, true);
  for part in
    select entity_code as code, array_agg(entity_id order by entity_id) as ids from app.deletion
    where root_code = p_code and root_id = p_id group by entity_code order by entity_code
  loop
    execute format('update app.%I set active_flag = true where id = any ($1) and not active_flag', part.code) using part.ids;
    get diagnostics hits = row_count;
    n := n + hits;
  end loop;
  perform set_config('app.deletion_root', '', true);
  delete from app.deletion where root_code = p_code and root_id = p_id;
  return n;
end $$;

-- Deletes the rows of an entity and of its owned descendants permanently, and returns their number.
-- Fails if one of them is not deleted, for example because it was restored as a part of another parent.
-- Rounds repeat until no row can be deleted, because rows refer to each other. Ancestor sets are
-- stored in app.purge_staging first: during the purge descendants lose their ancestors, and the
-- feed needs the former sets.
create or replace function app.purge(p_code text, p_id uuid) returns integer language plpgsql as $$
declare
  part record; n integer := 0; hits integer; progress boolean := true; codes text[]; ids uuid[]; has_active boolean;
begin
  perform set_config('app.deletion_root', p_code, true);
  with recursive tree (code, id) as (
    select p_code, p_id
    union
    select l.child_code, l.child_id from tree t
    join app.entity_instance_link l on l.parent_code = t.code and l.parent_id = t.id and l.owned
  )
  select array_agg(tree.code), array_agg(tree.id) into codes, ids from tree;
  for part in
    select i.code, array_agg(i.id) as ids from app.entity_instance i where i.id = any (ids) group by i.code order by i.code
  loop
    execute format('select exists (select from app.%I where id = any ($1) and active_flag)', part.code) into has_active using part.ids;
    if has_active then
      raise exception 'an entity below it is not deleted; delete it first, or remove its link' using errcode = 'check_violation', column = 'id';
    end if;
  end loop;
  insert into app.purge_staging (id, ancestor_set_id)
    select i.id, i.ancestor_set_id from app.entity_instance i where i.id = any (ids) on conflict do nothing;
  -- Rows that refer to each other in a circle have a deferrable constraint.
  set constraints all deferred;
  while progress loop
    progress := false;
    for part in
      select i.code, array_agg(i.id) as ids from app.entity_instance i where i.id = any (ids) group by i.code order by i.code
    loop
      begin
        execute format('delete from app.%I where id = any ($1)', part.code) using part.ids;
        get diagnostics hits = row_count;
        n := n + hits;
        progress := progress or hits > 0;
      exception when foreign_key_violation then null; -- a row of a later round refers to it
      end;
    end loop;
  end loop;
  perform set_config('app.deletion_root', '', true);
  if exists (select from app.entity_instance i where i.id = any (ids)) then
    raise exception 'still referenced by an entity outside the tree; update that reference first' using errcode = 'check_violation', column = 'id';
  end if;
  begin
    set constraints all immediate;
  exception when foreign_key_violation then
    raise exception 'still referenced by an entity outside the tree; update that reference first' using errcode = 'check_violation', column = 'id';
  end;
  delete from app.deletion d where (d.root_code, d.root_id) = (p_code, p_id) or d.entity_id = any (ids);
  delete from app.purge_staging p where p.id = any (ids);
  return n;
end $$;
