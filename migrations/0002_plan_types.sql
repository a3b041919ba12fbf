-- The types that a plan needs: who, where and for whom; projects, their tasks, links, milestones and sprints; messages.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('office', 'Office', 'Offices', 'map-pin', 'OFF', false, 80, '{}', '{"columns": ["code", "name", "city", "dl__office_level", "capacity_employees"]}'),
  ('business', 'Business', 'Businesses', 'building-2', 'BUS', true, 10, '{}', '{"columns": ["code", "name", "dl__business_status", "dl__business_type", "manager__employee_id", "office_id", "budget_allocated_amt"]}'),
  ('project', 'Project', 'Projects', 'folder-kanban', 'PRJ', true, 20,
    '{"completion_pct": {"label": "Progress"}, "budget_allocated_amt": {"label": "Budget"}, "budget_spent_amt": {"label": "Spent"}, "planned_start_date": {"label": "Start"}, "planned_end_date": {"label": "Due"}}',
    '{"columns": ["code", "name", "dl__project_health", "dl__project_stage", "completion_pct", "planned_start_date", "planned_end_date", "manager__employee_id", "budget_allocated_amt"]}'),
  ('task', 'Task', 'Tasks', 'list-checks', 'TSK', false, 30,
    '{"completion_pct": {"label": "Progress"}, "duration_days": {"label": "Length"}, "wbs": {"label": "WBS", "read_only": true}, "parent__task_id": {"label": "Parent task"}, "estimated_hours": {"label": "Estimate"}, "actual_hours": {"label": "Spent"}, "rank": {"hidden": true, "read_only": true}}',
    '{"columns": ["wbs", "name", "dl__task_stage", "dl__task_priority", "assignee__employee_ids", "start_date", "due_date", "duration_days", "completion_pct"]}'),
  ('task_dependency', 'Dependency', 'Dependencies', 'link', 'DEP', false, 40,
    '{"name": {"required": false}, "predecessor__task_id": {"required": true}, "successor__task_id": {"required": true}, "lag_days": {"label": "Lag"}}',
    '{"columns": ["name", "predecessor__task_id", "successor__task_id", "dl__dependency_type", "lag_days"]}'),
  ('milestone', 'Milestone', 'Milestones', 'diamond', 'MIL', false, 50, '{}', '{"columns": ["code", "name", "dl__milestone_status", "due_date", "reached_date", "owner__employee_id"]}'),
  ('sprint', 'Sprint', 'Sprints', 'timer', 'SPR', false, 60, '{}', '{"columns": ["code", "name", "dl__sprint_status", "start_date", "end_date", "capacity_hours"]}'),
  ('person', 'Person', 'People', 'user', 'PER', false, 90, '{"email": {"required": true}}', '{"columns": ["name", "email", "dl__person_type"]}'),
  ('employee', 'Employee', 'Employees', 'users', 'EMP', true, 70, '{"cost_rate_amt": {"label": "Cost rate"}}', '{"columns": ["code", "name", "title", "department", "dl__employment_type", "manager__employee_id", "office_id"]}'),
  ('role', 'Role', 'Roles', 'shield', 'ROL', false, 95, '{}', '{"columns": ["code", "name", "dl__role_category", "descr"]}'),
  ('customer', 'Customer', 'Customers', 'handshake', 'CUS', true, 75, '{}', '{"columns": ["code", "name", "company_name", "dl__customer_tier", "dl__customer_funnel", "contact_person"]}'),
  ('message', 'Message', 'Messages', 'message-square', 'MSG', false, 99, '{"name": {"required": false, "hidden": true}, "body": {"required": true}, "about_code": {"hidden": true}, "about_uuid": {"hidden": true}, "author__person_id": {"read_only": true}}', '{"columns": ["name", "body", "author__person_id", "resolved_flag"]}');

create table app.office (like app.entity_columns including defaults, primary key (id),
  address text, city text, capacity_employees integer, parent__office_id uuid references app.office,
  dl__office_type text, dl__office_level text);

create table app.person (like app.entity_columns including defaults, primary key (id),
  email text not null check (position('@' in email) > 1 and char_length(email) <= 254),
  first_name text, last_name text, locale text, timezone text,
  dl__person_type text not null default 'employee');
create unique index on app.person (lower(email));

create table app.employee (like app.entity_columns including defaults, primary key (id),
  person_id uuid references app.person, title text, department text, manager__employee_id uuid references app.employee,
  office_id uuid references app.office, hire_date date, cost_rate_amt numeric(17, 4), capacity_hours numeric(10, 2),
  dl__employment_type text not null default 'Full Time', dl__position_level text);
create index on app.employee (person_id);

create table app.role (like app.entity_columns including defaults, primary key (id), dl__role_category text);

create table app.customer (like app.entity_columns including defaults, primary key (id),
  company_name text, contact_person text, email text, phone text, address text,
  dl__customer_tier text, dl__customer_funnel text);

create table app.business (like app.entity_columns including defaults, primary key (id),
  office_id uuid references app.office, manager__employee_id uuid references app.employee,
  budget_allocated_amt numeric(17, 4), parent__business_id uuid references app.business,
  dl__business_type text, dl__business_status text not null default 'Active');

create table app.project (like app.entity_columns including defaults, primary key (id),
  business_id uuid references app.business, manager__employee_id uuid references app.employee,
  sponsor__employee_id uuid references app.employee, stakeholder__employee_ids uuid[] not null default '{}',
  customer_id uuid references app.customer,
  planned_start_date date, planned_end_date date, actual_start_date date, actual_end_date date,
  budget_allocated_amt numeric(17, 4), budget_spent_amt numeric(17, 4),
  completion_pct numeric(5, 2) not null default 0 check (completion_pct between 0 and 100),
  dl__project_stage text not null default 'Initiation', dl__project_type text,
  dl__project_health text not null default 'Green');
create index on app.project (business_id);

create table app.sprint (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, start_date date, end_date date, goal text, capacity_hours numeric(10, 2),
  dl__sprint_status text not null default 'Planned');

create table app.task (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, parent__task_id uuid references app.task, wbs text, start_date date, due_date date,
  duration_days numeric(10, 3) check (duration_days >= 0), actual_start_date date, actual_end_date date,
  completion_pct numeric(5, 2) not null default 0 check (completion_pct between 0 and 100),
  estimated_hours numeric(10, 2), actual_hours numeric(10, 2), story_points numeric(8, 2),
  assignee__employee_ids uuid[] not null default '{}', sprint_id uuid references app.sprint,
  rank text collate "C", milestone_flag boolean not null default false,
  dl__task_stage text not null default 'To Do', dl__task_priority text not null default 'Medium', dl__task_type text);
create index on app.task (project_id);
create index on app.task (parent__task_id);
create index on app.task (due_date);

create table app.task_dependency (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, predecessor__task_id uuid not null references app.task,
  successor__task_id uuid not null references app.task, lag_days numeric(10, 3) not null default 0,
  dl__dependency_type text not null default 'FS',
  check (predecessor__task_id <> successor__task_id));
create index on app.task_dependency (project_id);
create index on app.task_dependency (predecessor__task_id);
create index on app.task_dependency (successor__task_id);

create table app.milestone (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, due_date date, reached_date date, owner__employee_id uuid references app.employee,
  dl__milestone_status text not null default 'Planned');

create table app.message (like app.entity_columns including defaults, primary key (id),
  about_code text, about_uuid uuid, author__person_id uuid references app.person, reply_to__message_id uuid references app.message,
  body text not null default '', mentions uuid[] not null default '{}', reactions jsonb not null default '{}',
  resolved_flag boolean not null default false, dl__message_type text not null default 'Comment');
create index on app.message (about_uuid);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('office', 'business', true, 'office_id', '', 6, 10),
  ('office', 'office', true, 'parent__office_id', '', 6, 20),
  ('business', 'project', true, 'business_id', '', 6, 10),
  ('business', 'business', true, 'parent__business_id', '', 6, 20),
  ('project', 'task', true, 'project_id', '', 6, 10),
  ('project', 'task_dependency', true, 'project_id', '', 6, 20),
  ('project', 'milestone', true, 'project_id', '', 6, 30),
  ('project', 'sprint', true, 'project_id', '', 6, 40),
  ('project', 'message', true, 'about_uuid', 'about_code', 1, 90),
  ('task', 'task', true, 'parent__task_id', '', 6, 10),
  ('task', 'message', true, 'about_uuid', 'about_code', 1, 90),
  ('sprint', 'task', false, 'sprint_id', '', 6, 10),
  ('role', 'person', false, '', '', 6, 10),
  ('customer', 'project', false, 'customer_id', '', 6, 10);

insert into app.datalabel (name, id, option_name, color_code, display_order, terminal_flag)
select set_name, n, name, color, n * 10, terminal
from (values
  ('office_type', 1, 'Headquarters', null, false), ('office_type', 2, 'Engineering', null, false), ('office_type', 3, 'Sales', null, false),
  ('office_level', 1, 'Corporate', null, false), ('office_level', 2, 'Region', null, false), ('office_level', 3, 'District', null, false), ('office_level', 4, 'Branch', null, false),
  ('business_type', 1, 'Product', null, false), ('business_type', 2, 'Services', null, false), ('business_type', 3, 'Internal', null, false),
  ('business_status', 1, 'Active', 'green', false), ('business_status', 2, 'Restructuring', 'amber', false), ('business_status', 3, 'Closed', 'grey', true),
  ('project_stage', 1, 'Initiation', 'grey', false), ('project_stage', 2, 'Planning', 'purple', false), ('project_stage', 3, 'Execution', 'amber', false), ('project_stage', 4, 'Monitoring', 'blue', false), ('project_stage', 5, 'Closure', 'green', true), ('project_stage', 6, 'On Hold', 'grey', false), ('project_stage', 7, 'Cancelled', 'grey', true),
  ('project_type', 1, 'Release', null, false), ('project_type', 2, 'Delivery', null, false), ('project_type', 3, 'Internal', null, false), ('project_type', 4, 'Research', null, false),
  ('project_health', 1, 'Green', 'green', false), ('project_health', 2, 'Amber', 'amber', false), ('project_health', 3, 'Red', 'red', false),
  ('task_stage', 1, 'Backlog', 'grey', false), ('task_stage', 2, 'Planning', 'purple', false), ('task_stage', 3, 'To Do', 'grey', false), ('task_stage', 4, 'In Progress', 'amber', false), ('task_stage', 5, 'In Review', 'blue', false), ('task_stage', 6, 'Blocked', 'red', false), ('task_stage', 7, 'Completed', 'green', true), ('task_stage', 8, 'Cancelled', 'grey', true),
  ('task_priority', 1, 'Low', 'grey', false), ('task_priority', 2, 'Medium', 'grey', false), ('task_priority', 3, 'High', 'grey', false), ('task_priority', 4, 'Critical', 'red', false),
  ('task_type', 1, 'Work', null, false), ('task_type', 2, 'Test run', null, false), ('task_type', 3, 'Review', null, false), ('task_type', 4, 'Meeting', null, false), ('task_type', 5, 'Deadline', null, false),
  ('dependency_type', 1, 'FS', null, false), ('dependency_type', 2, 'SS', null, false), ('dependency_type', 3, 'FF', null, false), ('dependency_type', 4, 'SF', null, false),
  ('milestone_status', 1, 'Planned', 'grey', false), ('milestone_status', 2, 'At Risk', 'amber', false), ('milestone_status', 3, 'Reached', 'green', true), ('milestone_status', 4, 'Missed', 'red', true),
  ('sprint_status', 1, 'Planned', 'grey', false), ('sprint_status', 2, 'Active', 'amber', false), ('sprint_status', 3, 'Closed', 'green', true),
  ('person_type', 1, 'employee', null, false), ('person_type', 2, 'customer', null, false), ('person_type', 3, 'system', null, false), ('person_type', 4, 'guest', null, false),
  ('employment_type', 1, 'Full Time', null, false), ('employment_type', 2, 'Part Time', null, false), ('employment_type', 3, 'Contractor', null, false), ('employment_type', 4, 'Intern', null, false),
  ('position_level', 1, 'Junior', null, false), ('position_level', 2, 'Senior', null, false), ('position_level', 3, 'Lead', null, false), ('position_level', 4, 'Director', null, false),
  ('role_category', 1, 'Staff', null, false), ('role_category', 2, 'Management', null, false), ('role_category', 3, 'Administration', null, false), ('role_category', 4, 'External', null, false),
  ('customer_tier', 1, 'Bronze', null, false), ('customer_tier', 2, 'Silver', null, false), ('customer_tier', 3, 'Gold', null, false), ('customer_tier', 4, 'Platinum', null, false),
  ('customer_funnel', 1, 'Lead', null, false), ('customer_funnel', 2, 'Qualified', null, false), ('customer_funnel', 3, 'Proposal', null, false), ('customer_funnel', 4, 'Won', 'green', true), ('customer_funnel', 5, 'Lost', 'red', true),
  ('message_type', 1, 'Comment', null, false), ('message_type', 2, 'Note', null, false), ('message_type', 3, 'System', null, false)
) as t (set_name, n, name, color, terminal);

-- The outline: a task lies in its parent's project, never below itself, and gets its place among its siblings.
create function app.place_task() returns trigger language plpgsql as $$
declare
  above app.task; last_rank text; prefix text; place integer;
begin
  if tg_op = 'UPDATE' and new.parent__task_id is not distinct from old.parent__task_id
     and new.project_id is not distinct from old.project_id then return new; end if;
  if new.parent__task_id is not null then
    select * into above from app.task where id = new.parent__task_id;
    if new.project_id is null then new.project_id := above.project_id; end if;
    if new.project_id is distinct from above.project_id then
      raise exception 'The parent task lies in another project' using errcode = 'check_violation', column = 'parent__task_id';
    end if;
    if exists (with recursive up (id) as (
                 select new.parent__task_id
                 union select t.parent__task_id from up join app.task t on t.id = up.id where t.parent__task_id is not null)
               select from up where id = new.id) then
      raise exception 'A task can''t lie below itself' using errcode = 'check_violation', column = 'parent__task_id';
    end if;
  end if;
  if tg_op = 'INSERT' and new.rank is not null and new.wbs is not null then return new; end if;
  select max(rank), count(*) into last_rank, place from app.task
    where project_id is not distinct from new.project_id and parent__task_id is not distinct from new.parent__task_id
      and id <> new.id;
  if tg_op = 'UPDATE' or new.rank is null then new.rank := app.rank_after(last_rank); end if;
  if tg_op = 'UPDATE' or new.wbs is null then
    new.wbs := coalesce(nullif(above.wbs, '') || '.', '') || (place + 1);
  end if;
  return new;
end $$;
create trigger place_task before insert or update on app.task for each row execute function app.place_task();

-- The first key of base-36 ranks after `p_last`: six digits counted up, so that keys of appended rows stay short and even.
create function app.rank_after(p_last text) returns text language plpgsql immutable as $$
declare
  digits constant text := '0123456789abcdefghijklmnopqrstuvwxyz';
  n bigint := 0; answer text := '';
begin
  if p_last is not null then
    for i in 1..6 loop
      n := n * 36 + greatest(position(coalesce(nullif(substr(p_last, i, 1), ''), '0') in digits) - 1, 0);
    end loop;
  end if;
  n := n + 1296; -- room for 36² keys between neighbours
  for i in 1..6 loop
    answer := substr(digits, (n % 36)::integer + 1, 1) || answer;
    n := n / 36;
  end loop;
  return answer;
end $$;

-- A link between tasks lies in one project, and tasks may not wait for each other in a ring.
create function app.check_dependency() returns trigger language plpgsql as $$
declare
  before app.task; after app.task;
begin
  select * into before from app.task where id = new.predecessor__task_id;
  select * into after from app.task where id = new.successor__task_id;
  if new.project_id is null then new.project_id := after.project_id; end if;
  if new.name is null or new.name = '' then new.name := left(before.name || ' → ' || after.name, 500); end if;
  if before.project_id is distinct from new.project_id or after.project_id is distinct from new.project_id then
    raise exception 'Both tasks must lie in the project of the link' using errcode = 'check_violation', column = 'successor__task_id';
  end if;
  if current_setting('app.bulk_import', true) = 'on' then return new; end if; -- the importer has checked the whole graph
  if exists (with recursive ahead (id) as (
               select new.successor__task_id
               union select d.successor__task_id from ahead a join app.task_dependency d
                 on d.predecessor__task_id = a.id and d.active_flag and d.id <> new.id)
             select from ahead where id = new.predecessor__task_id) then
    raise exception 'These tasks would wait for each other' using errcode = 'check_violation', column = 'successor__task_id';
  end if;
  return new;
end $$;
create trigger check_dependency before insert or update on app.task_dependency for each row execute function app.check_dependency();

-- A message is written by whoever writes it, and named by its first line.
create function app.sign_message() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    new.author__person_id := coalesce(nullif(current_setting('app.actor_person_id', true), '')::uuid, new.author__person_id);
  else
    new.author__person_id := old.author__person_id;
  end if;
  if new.name is null or new.name = '' then new.name := coalesce(nullif(left(split_part(new.body, E'\n', 1), 80), ''), 'Message'); end if;
  return new;
end $$;
create trigger sign_message before insert or update on app.message for each row execute function app.sign_message();

select app.register_entity(code) from app.entity order by display_order;
