-- Taking a deleted thing away for good, with what belongs to it: children before their parents, as often around as their references
-- among each other ask for.
create function app.purge(p_code text, p_id uuid) returns integer language plpgsql as $$
declare
  part record; n integer := 0; hits integer; progress boolean := true; codes text[]; ids uuid[];
begin
  with recursive below (code, id) as (
    select p_code, p_id
    union
    select l.child_code, l.child_id from below b
    join app.entity_instance_link l on l.parent_code = b.code and l.parent_id = b.id and l.owned
  )
  select array_agg(below.code), array_agg(below.id) into codes, ids from below;
  while progress loop
    progress := false;
    for part in
      select th.code, array_agg(th.id) as ids from app.thing th where th.id = any (ids) group by th.code order by th.code
    loop
      begin
        execute format('delete from app.%I where id = any ($1)', part.code) using part.ids;
        get diagnostics hits = row_count;
        n := n + hits;
        progress := progress or hits > 0;
      exception when foreign_key_violation then null; -- something of the next round refers to it
      end;
    end loop;
  end loop;
  if exists (select from app.thing th where th.id = any (ids)) then
    raise exception 'is still referred to by something that does not belong to it: change that first' using errcode = 'check_violation', column = 'id';
  end if;
  delete from app.deletion d where (d.root_code, d.root_id) = (p_code, p_id) or d.entity_id = any (ids);
  return n;
end $$;

-- A link that is made with its child is told by the child's own row.
create or replace function app.log_link() returns trigger language plpgsql as $$
declare
  it app.entity_instance_link := case when tg_op = 'DELETE' then old else new end;
begin
  if current_setting('app.creator_grant', true) = 'on' then return null; end if;
  perform app.log('entity_instance_link', it.id, 4::smallint, 0, jsonb_build_object(
    'operation', jsonb_build_object('new', tg_op),
    'parent_code', jsonb_build_object('new', it.parent_code), 'parent_id', jsonb_build_object('new', it.parent_id),
    'child_code', jsonb_build_object('new', it.child_code), 'child_id', jsonb_build_object('new', it.child_id)));
  return null;
end $$;

-- Those to whom a task is assigned, and who may log work, keep its progress.
update app.entity set column_metadata = column_metadata || '{
  "completion_pct": {"label": "Progress", "contribute": "assignee__employee_ids"},
  "actual_hours": {"label": "Spent", "contribute": "assignee__employee_ids"},
  "actual_start_date": {"contribute": "assignee__employee_ids"},
  "actual_end_date": {"contribute": "assignee__employee_ids"},
  "dl__task_stage": {"contribute": "assignee__employee_ids"}}' where code = 'task';
