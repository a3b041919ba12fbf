-- Entity types of the organization: offices, people, employees, roles, customers, suppliers.
--
-- Every entity type follows one form: its row of app.entity, its table, its relations to parents
-- (in the file of the later of the two types), its option sets, and app.register_entity.

-- Office ------------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('office', 'Office', 'Offices', 'map-pin', 'OFF', false, 80, '{}',
   '{"columns": ["code", "name", "city", "dl__office_level", "capacity_employees"],
     "empty_text": "Offices are work locations. They can be nested."}');

create table app.office (like app.entity_columns including defaults, primary key (id),
  address text, city text, capacity_employees integer, parent__office_id uuid references app.office,
  dl__office_type text, dl__office_level text);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('office', 'office', true, 'parent__office_id', 20);

select app.add_datalabel('office_type', array['Headquarters', 'Engineering', 'Sales']);
select app.add_datalabel('office_level', array['Corporate', 'Region', 'District', 'Branch']);

select app.register_entity('office');

-- Person ------------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('person', 'Person', 'People', 'user', 'PER', false, 90,
   '{"email": {"required": true}, "password_reset_ts": {"read_only": true, "label": "Password reset"}}',
   '{"columns": ["name", "email", "dl__person_type"], "empty_text": "People are the accounts that can sign in."}');

create table app.person (like app.entity_columns including defaults, primary key (id),
  email text not null check (position('@' in email) > 1 and char_length(email) <= 254),
  first_name text, last_name text, locale text, timezone text,
  dl__person_type text not null default 'employee',
  password_reset_ts timestamptz); -- when an administrator last set a new password; logged like any other change
create unique index on app.person (lower(email));

select app.add_datalabel('person_type', array['employee', 'customer', 'system', 'guest']);

select app.register_entity('person');

create trigger record_access_change after insert or update of active_flag or delete on app.person
  for each row execute function app.record_access_change();

-- Employee ----------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('employee', 'Employee', 'Employees', 'users', 'EMP', true, 70, '{"cost_rate_amt": {"label": "Cost rate"}}',
   '{"columns": ["code", "name", "title", "department", "dl__employment_type", "manager__employee_id", "office_id"],
     "empty_text": "Employees have a position, a cost rate and a capacity."}');

create table app.employee (like app.entity_columns including defaults, primary key (id),
  person_id uuid references app.person, title text, department text, manager__employee_id uuid references app.employee,
  office_id uuid references app.office, hire_date date, cost_rate_amt numeric(17, 4), capacity_hours numeric(10, 2),
  dl__employment_type text not null default 'Full Time', dl__position_level text);
create index on app.employee (person_id);

select app.add_datalabel('employment_type', array['Full Time', 'Part Time', 'Contractor', 'Intern']);
select app.add_datalabel('position_level', array['Junior', 'Senior', 'Lead', 'Director']);

select app.register_entity('employee');

-- Role --------------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('role', 'Role', 'Roles', 'shield', 'ROL', false, 95, '{}',
   '{"columns": ["code", "name", "dl__role_category", "descr"],
     "empty_text": "Roles grant access to all their members."}');

create table app.role (like app.entity_columns including defaults, primary key (id), dl__role_category text);

insert into app.entity_child (parent_code, child_code, owned, display_order) values
  ('role', 'person', false, 10);

select app.add_datalabel('role_category', array['Staff', 'Management', 'Administration', 'External']);

select app.register_entity('role');

create trigger record_access_change after insert or update of active_flag or delete on app.role
  for each row execute function app.record_access_change();

-- Customer ----------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('customer', 'Customer', 'Customers', 'handshake', 'CUS', true, 75, '{}',
   '{"columns": ["code", "name", "company_name", "dl__customer_tier", "dl__customer_funnel", "contact_person"],
     "empty_text": "Customers are the organizations that projects are delivered to."}');

create table app.customer (like app.entity_columns including defaults, primary key (id),
  company_name text, contact_person text, email text, phone text, address text,
  dl__customer_tier text, dl__customer_funnel text);

select app.add_datalabel('customer_tier', array['Bronze', 'Silver', 'Gold', 'Platinum']);
select app.add_datalabel('customer_funnel', array['Lead', 'Qualified', 'Proposal', 'Won', 'Lost'],
  ends => array['Won', 'Lost'], colors => array[null, null, null, 'green', 'red']);

select app.register_entity('customer');

-- Supplier ----------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('supplier', 'Supplier', 'Suppliers', 'truck', 'SUP', false, 76, '{}',
   '{"columns": ["code", "name", "contact_person", "email", "payment_terms_days", "lead_time_days", "dl__supplier_rating"],
     "empty_text": "Suppliers deliver goods and services, with payment terms and lead times."}');

create table app.supplier (like app.entity_columns including defaults, primary key (id),
  contact_person text, email text, payment_terms_days numeric(6, 1), lead_time_days numeric(6, 1), dl__supplier_rating text);

select app.add_datalabel('supplier_rating', array['A', 'B', 'C'], colors => array['green', 'amber', 'red']);

select app.register_entity('supplier');
