-- Access to demo data: members of the demo roles and grants. Runs after demo.sql, in the same transaction.

insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id)
select 'role', pg_temp.demo_id('role', r), 'person', pg_temp.demo_id('person', n) from (values (1, 1), (2, 1), (2, 2), (3, 2), (2, 3)) as m (r, n)
union all
select 'role', pg_temp.demo_id('role', 2), 'person', pg_temp.demo_id('person', n) from generate_series(5, pg_temp.scale('people')) n;

insert into app.entity_rbac (role_id, entity_code, permission, inheritance_mode)
select pg_temp.demo_id('role', 1), code, 7, 'cascade' from app.entity
union all
select pg_temp.demo_id('role', 2), code, 0, 'none' from unnest(array['employee', 'office', 'customer', 'role', 'person', 'calendar', 'calendar_exception']) code
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
