-- The outline of tasks (work breakdown structure).

-- Before insert or update of a task: validates the parent and fills in rank and WBS number. A task
-- belongs to its parent's project and cannot be its own descendant; only a move can create a cycle,
-- because a new task has no children. The walk up reads one row at a time by primary key. No
-- sequential scans: a plan cached while the table was small would scan all of it for each row of an
-- import. No JIT: compiling takes longer than the statement.
create or replace function app.validate_task_outline() returns trigger language plpgsql set enable_seqscan = off set jit = off as $$
declare
  parent app.task; last_rank text; sibling_count integer; ancestor uuid;
begin
  if tg_op = 'UPDATE' and new.parent__task_id is not distinct from old.parent__task_id
     and new.project_id is not distinct from old.project_id then return new; end if;
  if new.parent__task_id is not null then
    select * into parent from app.task where id = new.parent__task_id;
    if not found then
      raise exception 'parent task not found' using errcode = 'check_violation', column = 'parent__task_id';
    end if;
    if new.project_id is null then new.project_id := parent.project_id; end if;
    if new.project_id is distinct from parent.project_id then
      raise exception 'parent task belongs to another project' using errcode = 'check_violation', column = 'parent__task_id';
    end if;
    if tg_op = 'UPDATE' then
      ancestor := new.parent__task_id;
      while ancestor is not null loop
        if ancestor = new.id then
          raise exception 'a task cannot be its own descendant' using errcode = 'check_violation', column = 'parent__task_id';
        end if;
        select parent__task_id into ancestor from app.task where id = ancestor;
      end loop;
    end if;
  end if;
  if tg_op = 'INSERT' and new.rank is not null and new.wbs is not null then return new; end if;
  select max(rank), count(*) into last_rank, sibling_count from app.task
    where project_id is not distinct from new.project_id and parent__task_id is not distinct from new.parent__task_id
      and id <> new.id;
  -- A rank that a move sets explicitly is not replaced.
  if new.rank is null or (tg_op = 'UPDATE' and new.rank is not distinct from old.rank) then new.rank := app.fractional_index_after(last_rank); end if;
  if tg_op = 'UPDATE' or new.wbs is null then
    new.wbs := coalesce(nullif(parent.wbs, '') || '.', '') || (sibling_count + 1);
  end if;
  return new;
end $$;

-- Returns the rank to append after `p_last`: a base-36 number of six digits that is incremented, so
-- that keys of appended rows stay short and evenly spaced. After the last number that can be
-- incremented, the digits behind its first four are incremented.
create or replace function app.fractional_index_after(p_last text) returns text language plpgsql immutable as $$
declare
  digits constant text := '0123456789abcdefghijklmnopqrstuvwxyz';
  n bigint := 0; key text := '';
begin
  if p_last like 'zzzz%' then return 'zzzz' || app.fractional_index_after(substr(p_last, 5)); end if;
  if p_last is not null then
    for i in 1..6 loop
      n := n * 36 + greatest(position(coalesce(nullif(substr(p_last, i, 1), ''), '0') in digits) - 1, 0);
    end loop;
  end if;
  n := n + 1296; -- leaves 36² keys between neighbors
  for i in 1..6 loop
    key := substr(digits, (n % 36)::integer + 1, 1) || key;
    n := n / 36;
  end loop;
  return key;
end $$;

-- Renumbers the outline that contains an entity by rank, and returns the number of changed rows.
-- For types with the columns rank, wbs, project_id and parent__<type>_id.
create or replace function app.renumber_outline(p_code text, p_id uuid) returns integer language plpgsql as $$
declare
  parent_column text := 'parent__' || p_code || '_id'; n integer;
begin
  execute format($f$
    with recursive root as (select project_id from app.%1$I where id = $1),
    tree (id, wbs) as (
      select t.id, (row_number() over (order by t.rank, t.id))::text
      from app.%1$I t join root on t.project_id is not distinct from root.project_id where t.%2$I is null and t.active_flag
      union all
      select t.id, tree.wbs || '.' || row_number() over (partition by t.%2$I order by t.rank, t.id)
      from tree join app.%1$I t on t.%2$I = tree.id where t.active_flag
    )
    update app.%1$I t set wbs = tree.wbs from tree where t.id = tree.id and t.wbs is distinct from tree.wbs
  $f$, p_code, parent_column) using p_id;
  get diagnostics n = row_count;
  return n;
end $$;

-- Before insert or update of a task dependency: it belongs to the project of its successor, its
-- ends and type occur once among active rows, and dependencies must not form a cycle, also across
-- projects. The name of a dependency on another project does not contain the predecessor's name,
-- because not everyone who may view this project may view that one. `app.bulk_import = 'on'` skips
-- the checks of duplicates and cycles: the importer has checked the whole graph.
create or replace function app.check_dependency() returns trigger language plpgsql set enable_seqscan = off as $$
declare
  before record; after record;
begin
  select name, project_id into before from app.task where id = new.predecessor__task_id;
  select name, project_id into after from app.task where id = new.successor__task_id;
  if new.project_id is null then new.project_id := after.project_id; end if;
  if new.name is null or new.name = '' then
    new.name := left(case when before.project_id is not distinct from after.project_id then before.name || ' ' else '' end || '→ ' || after.name, 500);
  end if;
  if not new.active_flag then return new; end if;
  if after.project_id is distinct from new.project_id then
    raise exception 'the successor must belong to the project of the dependency' using errcode = 'check_violation', column = 'successor__task_id';
  end if;
  if current_setting('app.bulk_import', true) = 'on' then return new; end if;
  if tg_op = 'UPDATE' and (new.predecessor__task_id, new.successor__task_id, new.dl__dependency_type, new.active_flag)
     is not distinct from (old.predecessor__task_id, old.successor__task_id, old.dl__dependency_type, old.active_flag) then return new; end if;
  if exists (select from app.task_dependency d
             where d.predecessor__task_id = new.predecessor__task_id and d.successor__task_id = new.successor__task_id
               and d.dl__dependency_type = new.dl__dependency_type and d.active_flag and d.id <> new.id) then
    raise exception 'a dependency of this type already connects the two tasks' using errcode = 'check_violation', column = 'successor__task_id';
  end if;
  -- Follows starts and finishes: from the start of a task to its finish and to the starts of its
  -- subtasks, from its finish to that of its summary and to the starts of its successors.
  if exists (with recursive ahead (id, finished) as (
               select new.successor__task_id, false
               union
               select n.id, n.finished from ahead a cross join lateral (
                 select a.id, true where not a.finished
                 union all
                 select t.id, false from app.task t where not a.finished and t.parent__task_id = a.id
                 union all
                 select t.parent__task_id, true from app.task t where a.finished and t.id = a.id and t.parent__task_id is not null
                 union all
                 select d.successor__task_id, false from app.task_dependency d
                 where a.finished and d.predecessor__task_id = a.id and d.active_flag and d.id <> new.id) n (id, finished))
             select from ahead where id = new.predecessor__task_id and finished) then
    raise exception 'dependency cycle' using errcode = 'check_violation', column = 'successor__task_id';
  end if;
  return new;
end $$;
