-- Demo data. Deterministic: every id and value is derived from a running number, so two runs with the same scale create the same rows.
-- The scale is given by the settings seed.businesses, seed.projects, seed.tasks and seed.people. Runs in one transaction.

create function pg_temp.demo_id(kind text, n bigint) returns uuid language sql immutable as $$
  select md5('pmo demo ' || kind || ' ' || n)::uuid
$$;
-- Returns a pseudorandom number from 0 to `below` - 1, always the same for the same arguments.
create function pg_temp.demo_random(kind text, n bigint, below integer) returns integer language sql immutable as $$
  select (('x' || substr(md5(kind || n), 1, 7))::bit(28)::integer % below)
$$;
create function pg_temp.scale(what text) returns bigint language sql stable as $$
  select current_setting('seed.' || what)::bigint
$$;

insert into app.role (id, name, descr, dl__role_category) values
  (pg_temp.demo_id('role', 1), 'Administrators', 'Full access to all types.', 'Administration'),
  (pg_temp.demo_id('role', 2), 'Staff', 'View colleagues, offices and customers.', 'Staff'),
  (pg_temp.demo_id('role', 3), 'Program managers', 'Create and run projects.', 'Management');

insert into app.office (id, name, city, capacity_employees, dl__office_level, dl__office_type, parent__office_id)
select pg_temp.demo_id('office', n), name, city, capacity, level, type, case when n > 1 then pg_temp.demo_id('office', case when n < 4 then 1 else 2 + n % 2 end) end
from (values (1, 'Head office', 'Hamburg', 400, 'Corporate', 'Headquarters'), (2, 'Region North', 'Aarhus', 180, 'Region', 'Engineering'),
             (3, 'Region South', 'Torino', 160, 'Region', 'Sales'), (4, 'Leipzig', 'Leipzig', 90, 'Branch', 'Engineering'),
             (5, 'Porto', 'Porto', 60, 'Branch', 'Engineering')) as o (n, name, city, capacity, level, type);

-- The four demo accounts come first, then all other people.
insert into app.person (id, name, email, first_name, last_name, locale, timezone, dl__person_type)
select pg_temp.demo_id('person', n), first_name || ' ' || last_name, email, first_name, last_name, 'en', 'Europe/Berlin', kind
from (values (1, 'admin@pmo.example', 'Ada', 'Admin', 'employee'), (2, 'editor@pmo.example', 'Edda', 'Editor', 'employee'),
             (3, 'viewer@pmo.example', 'Viktor', 'Viewer', 'employee'), (4, 'outsider@pmo.example', 'Olga', 'Outsider', 'guest'))
     as p (n, email, first_name, last_name, kind);

insert into app.person (id, name, email, first_name, last_name, locale, timezone)
select pg_temp.demo_id('person', n), first_name || ' ' || last_name, lower(first_name || '.' || last_name || n || '@pmo.example'), first_name, last_name, 'en', 'Europe/Berlin'
from (select n,
        (array['Amira','Ben','Clara','David','Elif','Farid','Greta','Hugo','Ines','Jonas','Katya','Liam','Mira','Noah','Olivia','Pavel','Quinn','Rosa','Sami','Tessa','Umar','Vera','Wim','Xenia','Yara','Zoe'])
          [1 + pg_temp.demo_random('first', n, 26)] as first_name,
        (array['Almeida','Berg','Costa','Dahl','Eriksen','Fischer','Garcia','Hansen','Ivanov','Jensen','Keller','Lindqvist','Moreau','Novak','Okafor','Petrov','Quist','Rossi','Sato','Tanaka','Ulrich','Virtanen','Weber','Young','Zhang'])
          [1 + pg_temp.demo_random('last', n, 25)] as last_name
      from generate_series(5, pg_temp.scale('people')) n) p;

insert into app.employee (id, name, person_id, title, department, manager__employee_id, office_id, hire_date, cost_rate_amt, capacity_hours, dl__employment_type, dl__position_level)
select pg_temp.demo_id('employee', n), p.name, p.id,
  (array['Project manager','Engineer','Designer','Analyst','Test engineer','Technical writer','Release manager','Architect'])[1 + (n % 8)],
  (array['Delivery','Engineering','Design','Quality','Documentation'])[1 + (n % 5)],
  case when n > 8 then pg_temp.demo_id('employee', 1 + case when 1 + n % 7 >= 4 then n % 7 + 1 else n % 7 end) end,
  pg_temp.demo_id('office', 1 + n % 5), date '2018-01-08' + pg_temp.demo_random('hire', n, 2800),
  45 + pg_temp.demo_random('rate', n, 80), case n % 9 when 0 then 20 else 40 end,
  case n % 9 when 0 then 'Part Time' when 4 then 'Contractor' else 'Full Time' end,
  (array['Junior','Senior','Senior','Lead'])[1 + pg_temp.demo_random('level', n, 4)]
from generate_series(1, pg_temp.scale('people')) n join app.person p on p.id = pg_temp.demo_id('person', n)
where n <> 4 order by n;

insert into app.customer (id, name, company_name, contact_person, email, dl__customer_tier, dl__customer_funnel)
select pg_temp.demo_id('customer', n), company, company, 'Contact ' || n, 'contact' || n || '@customer.example',
  (array['Bronze','Silver','Gold','Platinum'])[1 + pg_temp.demo_random('tier', n, 4)], (array['Qualified','Proposal','Won','Won'])[1 + pg_temp.demo_random('funnel', n, 4)]
from (select n, (array['Northwind','Blue Harbour','Alder & Sons','Meridian','Kestrel','Granite','Lumen','Orchard'])[1 + n % 8] || ' ' ||
               (array['Foods','Logistics','Energy','Health','Retail','Bank'])[1 + (n / 8) % 6] || case when n > 48 then ' ' || n else '' end as company
      from generate_series(1, greatest(8, pg_temp.scale('businesses'))) n) c;

insert into app.business (id, name, office_id, manager__employee_id, budget_allocated_amt, dl__business_type, dl__business_status)
select pg_temp.demo_id('business', n),
  (array['Platform','Mobile','Payments','Logistics','Energy','Public sector','Research','Field service'])[1 + (n - 1) % 8] || case when n > 8 then ' ' || ((n - 1) / 8 + 1) else '' end,
  pg_temp.demo_id('office', 1 + n % 5), pg_temp.demo_id('employee', 5 + n % (pg_temp.scale('people') - 4)), 100000 * (5 + pg_temp.demo_random('budget', n, 40)),
  (array['Product','Services','Internal'])[1 + n % 3], case when n % 11 = 0 then 'Restructuring' else 'Active' end
from generate_series(1, pg_temp.scale('businesses')) n;

insert into app.project (id, name, descr, business_id, manager__employee_id, sponsor__employee_id, stakeholder__employee_ids, customer_id,
  planned_start_date, planned_end_date, actual_start_date, budget_allocated_amt, budget_spent_amt, completion_pct,
  dl__project_stage, dl__project_type, dl__project_health)
select pg_temp.demo_id('project', n),
  (array['Website relaunch','Data platform','Mobile checkout','Warehouse move','ERP upgrade','Customer portal','Solar roll-out','Security audit','Release 4.0','Design system','Field app','Billing migration'])[1 + (n - 1) % 12]
    || case when n > 12 then ' ' || ((n - 1) / 12 + 1) else '' end,
  'What it is for, what is in and what is out, and how we will know that it is done.',
  pg_temp.demo_id('business', 1 + (n - 1) % pg_temp.scale('businesses')), pg_temp.demo_id('employee', 5 + n % (pg_temp.scale('people') - 4)),
  pg_temp.demo_id('employee', 1), array[pg_temp.demo_id('employee', 2), pg_temp.demo_id('employee', 3)],
  pg_temp.demo_id('customer', 1 + n % greatest(8, pg_temp.scale('businesses'))),
  date '2026-06-01' + (n % 23)::integer * 7, date '2026-12-11' + (n % 17)::integer * 10, date '2026-06-01' + (n % 23)::integer * 7,
  20000 * (2 + pg_temp.demo_random('pbudget', n, 60)), 9000 * (1 + pg_temp.demo_random('pspent', n, 60)), pg_temp.demo_random('pct', n, 90),
  (array['Planning','Execution','Execution','Execution','Monitoring','Initiation'])[1 + pg_temp.demo_random('stage', n, 6)],
  (array['Release','Delivery','Internal','Research'])[1 + n % 4], (array['Green','Green','Green','Amber','Red'])[1 + pg_temp.demo_random('health', n, 5)]
from generate_series(1, pg_temp.scale('projects')) n order by n;

insert into app.sprint (id, name, project_id, start_date, end_date, goal, capacity_hours, dl__sprint_status)
select pg_temp.demo_id('sprint', p * 10 + s), 'Sprint ' || s, pg_temp.demo_id('project', p), date '2026-10-26' + (s * 14), date '2026-11-06' + (s * 14),
  'A part that works', 160, (array['Active','Planned','Planned'])[s]
from generate_series(1, pg_temp.scale('projects')) p, generate_series(1, 3) s order by p, s;

insert into app.milestone (id, name, project_id, due_date, owner__employee_id, dl__milestone_status)
select pg_temp.demo_id('milestone', p * 10 + m), (array['Scope agreed','First release','Hand-over'])[m], pg_temp.demo_id('project', p),
  date '2026-07-10' + ((p % 17) * 7 + m * 60)::integer, pg_temp.demo_id('employee', 5 + p % (pg_temp.scale('people') - 4)), (array['Reached','Planned','Planned'])[m]
from generate_series(1, pg_temp.scale('projects')) p, generate_series(1, 3) m order by p, m;

-- Tasks. Each project has groups of eight: a summary task and its seven children in sequence.
create temp table seed_task on commit drop as
select p, k, ((k - 1) / 8)::integer as phase, ((k - 1) % 8)::integer as place, (p * 1000 + k) as n,
       date '2026-06-01' + (p % 23)::integer * 7 + (((k - 1) / 8) * 28 + ((k - 1) % 8) * 4)::integer as starts,
       (1 + pg_temp.demo_random('days', p * 1000 + k, 6)) as days
from generate_series(1, pg_temp.scale('projects')) p,
     lateral generate_series(1, (pg_temp.scale('tasks') / pg_temp.scale('projects') + case when p <= pg_temp.scale('tasks') % pg_temp.scale('projects') then 1 else 0 end)) k;

insert into app.task (id, name, descr, project_id, parent__task_id, wbs, rank, start_date, due_date, duration_days, completion_pct,
  estimated_hours, actual_hours, story_points, assignee__employee_ids, sprint_id, milestone_flag, dl__constraint_type, constraint_ts, dl__task_stage, dl__task_priority, dl__task_type)
select pg_temp.demo_id('task', n),
  case when place = 0 then (array['Discovery','Design','Build','Integration','Quality','Roll-out','Training','Clean-up'])[1 + phase % 8]
  when place = 7 then (array['Review with the sponsor','Sign-off','Go or no-go','Release candidate'])[1 + pg_temp.demo_random('ms', n, 4)]
  else (array['Interview','Draft','Prototype','Implement','Test','Document','Review','Prepare','Measure','Migrate'])[1 + pg_temp.demo_random('verb', n, 10)] || ' ' ||
       (array['the sign-in','the price list','the import','the search','the reports','the offline mode','the invoices','the map view','the access rules','the notifications','the backup','the style guide'])[1 + pg_temp.demo_random('noun', n, 12)] end,
  case when place = 0 then null else 'Done when somebody else has tried it.' end,
  pg_temp.demo_id('project', p), case when place > 0 then pg_temp.demo_id('task', p * 1000 + phase * 8 + 1) end,
  case when place = 0 then (phase + 1)::text else (phase + 1) || '.' || place end,
  lpad(((case when place = 0 then phase + 1 else place end) * 1000)::text, 6, '0'),
  case when place = 7 then starts + days else starts end, case when place = 0 then starts + 34 else starts + days end,
  case place when 0 then 25 when 7 then 0 else days end,
  case when starts + days < date '2026-11-10' then 100 when starts < date '2026-11-20' then pg_temp.demo_random('done', n, 90) else 0 end,
  case when place between 1 and 6 then 4 * (1 + pg_temp.demo_random('est', n, 10)) end, case when place between 1 and 6 and starts < date '2026-11-20' then 3 * pg_temp.demo_random('act', n, 10) end,
  case when place between 1 and 6 then (array[1, 2, 3, 5, 8])[1 + pg_temp.demo_random('points', n, 5)] end,
  array[pg_temp.demo_id('employee', 5 + pg_temp.demo_random('who', n, (pg_temp.scale('people') - 4)::integer))],
  case when place between 1 and 6 and starts between date '2026-11-09' and date '2026-12-18' then pg_temp.demo_id('sprint', p * 10 + 1 + (starts - date '2026-11-09') / 14) end,
  place = 7,
  case when place > 0 then 'Start No Earlier Than' else 'As Soon As Possible' end, case when place > 0 then starts + time '08:00' end,
  case when starts + days < date '2026-11-10' then 'Completed' when starts < date '2026-11-20' then (array['In Progress','In Progress','In Review','Blocked'])[1 + pg_temp.demo_random('st', n, 4)]
       else (array['To Do','To Do','Planning','Backlog'])[1 + pg_temp.demo_random('st', n, 4)] end,
  (array['Low','Medium','Medium','High','Critical'])[1 + pg_temp.demo_random('prio', n, 5)], (array['Work','Work','Test run','Review','Meeting'])[1 + pg_temp.demo_random('type', n, 5)]
from seed_task order by p, k;

select set_config('app.bulk_import', 'on', true); -- the links below only lead forward
insert into app.task_dependency (id, name, project_id, predecessor__task_id, successor__task_id, dl__dependency_type)
select pg_temp.demo_id('dependency', n), left(a.name || ' → ' || b.name, 500), pg_temp.demo_id('project', p), a.id, b.id, 'FS'
from seed_task s join app.task b on b.id = pg_temp.demo_id('task', s.n) join app.task a on a.id = pg_temp.demo_id('task', s.n - 1)
where s.place >= 2 order by s.p, s.k;
select set_config('app.bulk_import', '', true);

insert into app.message (id, target_code, target_id, author__person_id, body)
select pg_temp.demo_id('message', p), 'project', pg_temp.demo_id('project', p), pg_temp.demo_id('person', 1), 'Kick-off is done; the plan is open for comments.'
from generate_series(1, pg_temp.scale('projects')) p order by p;

-- Access -------------------------------------------------------------------------------------------------------------

insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id)
select 'role', pg_temp.demo_id('role', r), 'person', pg_temp.demo_id('person', n) from (values (1, 1), (2, 1), (2, 2), (3, 2), (2, 3)) as m (r, n)
union all
select 'role', pg_temp.demo_id('role', 2), 'person', pg_temp.demo_id('person', n) from generate_series(5, pg_temp.scale('people')) n;

insert into app.entity_rbac (role_id, entity_code, permission, inheritance_mode)
select pg_temp.demo_id('role', 1), code, 7, 'cascade' from app.entity
union all
select pg_temp.demo_id('role', 2), code, 0, 'none' from unnest(array['employee', 'office', 'customer', 'role', 'person']) code
union all
select pg_temp.demo_id('role', 3), 'project', 6, 'none';

-- Each person can edit their own row.
insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, inheritance_mode)
select pg_temp.demo_id('person', n), 'person', pg_temp.demo_id('person', n), 3, 'none' from generate_series(1, pg_temp.scale('people')) n;

-- The editor has CREATE on the first third of the businesses and VIEW on the next; the viewer has VIEW on the first business and
-- COMMENT on every tenth project.
insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission)
select pg_temp.demo_id('person', 2), 'business', pg_temp.demo_id('business', n), case when n <= (pg_temp.scale('businesses') + 2) / 3 then 6 else 0 end
from generate_series(1, (pg_temp.scale('businesses') + 2) / 3 + 1) n where n <= pg_temp.scale('businesses')
union all
select pg_temp.demo_id('person', 3), 'business', pg_temp.demo_id('business', 1), 0
union all
select pg_temp.demo_id('person', 3), 'project', pg_temp.demo_id('project', p), 1
from generate_series(2, pg_temp.scale('projects'), 10) p;

-- Managers own their projects; each employee has CONTRIBUTE on one business.
insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission)
select e.person_id, 'project', p.id, 7 from app.project p join app.employee e on e.id = p.manager__employee_id order by p.id;
insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission)
select pg_temp.demo_id('person', n), 'business', pg_temp.demo_id('business', 1 + n % pg_temp.scale('businesses')), 2
from generate_series(5, pg_temp.scale('people')) n;
