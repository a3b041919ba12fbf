-- Links between parents and children.

-- After insert, update or delete of an entity row: keeps links equal to the columns that hold
-- parent ids. A move is logged, because it can change which people may view the entity. Argument:
-- entity code.
create or replace function app.maintain_links() returns trigger language plpgsql set enable_seqscan = off as $$
declare
  relation record; before jsonb; after jsonb; parent_before uuid; parent_after uuid; moved boolean := false; orphans uuid[];
begin
  if tg_op = 'DELETE' then
    select array_agg(child_id) into orphans from app.entity_instance_link where parent_code = tg_argv[0] and parent_id = old.id;
    delete from app.entity_instance_link
      where (child_code = tg_argv[0] and child_id = old.id) or (parent_code = tg_argv[0] and parent_id = old.id);
    delete from app.entity_rbac where entity_code = tg_argv[0] and entity_instance_id = old.id;
    if orphans is not null then perform app.recompute_ancestor_sets(orphans); end if;
    return null;
  end if;
  if tg_op = 'UPDATE' and new.version = old.version then return null; end if;
  after := to_jsonb(new);
  if tg_op = 'UPDATE' then before := to_jsonb(old); end if;
  for relation in select * from app.entity_child where child_code = tg_argv[0] and parent_column <> '' loop
    parent_after := case when relation.parent_type_column = '' or after ->> relation.parent_type_column = relation.parent_code
                         then (after ->> relation.parent_column)::uuid end;
    parent_before := case when before is not null and (relation.parent_type_column = '' or before ->> relation.parent_type_column = relation.parent_code)
                          then (before ->> relation.parent_column)::uuid end;
    if parent_after is not distinct from parent_before then continue; end if;
    if parent_before is not null then
      delete from app.entity_instance_link where child_code = tg_argv[0] and child_id = new.id
        and parent_code = relation.parent_code and parent_id = parent_before and column_name = relation.parent_column;
    end if;
    if parent_after is not null then
      insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned, column_name)
      values (relation.parent_code, parent_after, tg_argv[0], new.id, relation.owned, relation.parent_column) on conflict do nothing;
    end if;
    moved := moved or before is not null;
  end loop;
  if moved then
    perform app.recompute_ancestor_sets(array[new.id]);
    perform app.append_log('entity_instance_link', new.id, 4::smallint, new.version,
                    jsonb_build_object('child_code', jsonb_build_object('new', tg_argv[0]),
                                       'child_id', jsonb_build_object('new', new.id)));
  end if;
  return null;
end $$;

-- After a change of a free link (a link without a column): checks that both ends exist with the
-- given types, and recomputes the ancestor sets of the child.
create or replace function app.on_link_change() returns trigger language plpgsql as $$
begin
  if tg_op <> 'DELETE' then
    if not exists (select from app.entity_instance where id = new.parent_id and code = new.parent_code) then
      raise exception '% not found', new.parent_code using errcode = 'check_violation', column = 'parent_id';
    end if;
    if not exists (select from app.entity_instance where id = new.child_id and code = new.child_code) then
      raise exception '% not found', new.child_code using errcode = 'check_violation', column = 'child_id';
    end if;
    perform app.recompute_ancestor_sets(array[new.child_id]);
  else
    perform app.recompute_ancestor_sets(array[old.child_id]);
  end if;
  return null;
end $$;
