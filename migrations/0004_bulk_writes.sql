-- Writes by the hundred thousand: an import, demo data, a move of a large branch. Nothing here changes what is written.

-- In plpgsql because its plan is kept for the session; a function in sql is planned at every call, which was most of what a row cost.
create or replace function app.log(p_code text, p_id uuid, p_action smallint, p_version bigint, p_changed jsonb) returns void
language plpgsql volatile as $$
begin
  insert into app.system_logging
    (fname, lname, username, person_type, actor_person_id, entity_code, entity_id, action, epoch, entity_version, changed)
  values (
    nullif(left(current_setting('app.actor_first_name', true), 100), ''),
    nullif(left(current_setting('app.actor_last_name', true), 100), ''),
    coalesce(nullif(left(current_setting('app.actor_username', true), 255), ''), 'system'),
    coalesce(nullif(left(current_setting('app.actor_person_type', true), 50), ''), 'system'),
    nullif(current_setting('app.actor_person_id', true), '')::uuid,
    p_code, p_id, p_action, coalesce((select epoch from app.feed_epoch), 1), p_version, p_changed);
end $$;

-- The outline: a task lies in its parent's project, never below itself, and gets its place among its siblings. A new task has nothing
-- below it, so only a move can close a ring; the way up is walked a row at a time by primary key. A plan is kept for the session, and one
-- made while the table was small would scan all of it for each row of a large import: hence no sequential scans.
create or replace function app.place_task() returns trigger language plpgsql set enable_seqscan = off as $$
declare
  above app.task; last_rank text; place integer; step uuid;
begin
  if tg_op = 'UPDATE' and new.parent__task_id is not distinct from old.parent__task_id
     and new.project_id is not distinct from old.project_id then return new; end if;
  if new.parent__task_id is not null then
    select * into above from app.task where id = new.parent__task_id;
    if not found then
      raise exception 'There is no such parent task' using errcode = 'check_violation', column = 'parent__task_id';
    end if;
    if new.project_id is null then new.project_id := above.project_id; end if;
    if new.project_id is distinct from above.project_id then
      raise exception 'The parent task lies in another project' using errcode = 'check_violation', column = 'parent__task_id';
    end if;
    if tg_op = 'UPDATE' then
      step := new.parent__task_id;
      while step is not null loop
        if step = new.id then
          raise exception 'A task can''t lie below itself' using errcode = 'check_violation', column = 'parent__task_id';
        end if;
        select parent__task_id into step from app.task where id = step;
      end loop;
    end if;
  end if;
  if tg_op = 'INSERT' and new.rank is not null and new.wbs is not null then return new; end if;
  select max(rank), count(*) into last_rank, place from app.task
    where project_id is not distinct from new.project_id and parent__task_id is not distinct from new.parent__task_id
      and id <> new.id;
  -- Whoever moves it by hand says where to.
  if new.rank is null or (tg_op = 'UPDATE' and new.rank is not distinct from old.rank) then new.rank := app.rank_after(last_rank); end if;
  if tg_op = 'UPDATE' or new.wbs is null then
    new.wbs := coalesce(nullif(above.wbs, '') || '.', '') || (place + 1);
  end if;
  return new;
end $$;

alter function app.check_dependency() set enable_seqscan = off;
alter function app.maintain_links() set enable_seqscan = off;
