-- Demo data: roles, offices and the demo accounts. Deterministic: every id and value is derived from a running number, so two runs
-- with the same scale and day create the same rows. The api then inserts people, businesses and projects
-- (apps/api/src/seed), and runs demo/access.sql. The scale is given by the settings seed.businesses, seed.projects, seed.tasks and
-- seed.people. Runs in one transaction.

create or replace function pg_temp.demo_id(kind text, n bigint) returns uuid language sql immutable as $$
  select md5('pmo demo ' || kind || ' ' || n)::uuid
$$;
create or replace function pg_temp.scale(what text) returns bigint language sql stable as $$
  select current_setting('seed.' || what)::bigint
$$;

insert into app.role (id, name, descr, dl__role_category) values
  (pg_temp.demo_id('role', 1), 'Administrators', 'Full access to all types.', 'Administration'),
  (pg_temp.demo_id('role', 2), 'Staff', 'View colleagues, offices, customers and calendars.', 'Staff'),
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
