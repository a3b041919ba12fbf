-- Entity types of the portfolio: businesses, portfolios, programs, projects.

-- Business ----------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('business', 'Business', 'Businesses', 'building-2', 'BUS', true, 10, '{}',
   '{"columns": ["code", "name", "dl__business_status", "dl__business_type", "manager__employee_id", "office_id", "budget_allocated_amt"],
     "empty_text": "Businesses own portfolios and projects. Everything in a business inherits its grants."}');

create table app.business (like app.entity_columns including defaults, primary key (id),
  office_id uuid references app.office, manager__employee_id uuid references app.employee,
  budget_allocated_amt numeric(17, 4), parent__business_id uuid references app.business,
  dl__business_type text, dl__business_status text not null default 'Active');

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('office', 'business', true, 'office_id', 10),
  ('business', 'business', true, 'parent__business_id', 20);

select app.add_datalabel('business_type', array['Product', 'Services', 'Internal']);
select app.add_datalabel('business_status', array['Active', 'Restructuring', 'Closed'],
  ends => array['Closed'], colors => array['green', 'amber', 'grey']);

select app.register_entity('business');

-- Portfolio: programs and projects with one purpose and one budget --------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('portfolio', 'Portfolio', 'Portfolios', 'briefcase-business', 'PFO', true, 12, '{}',
   '{"columns": ["code", "name", "dl__portfolio_status", "owner__employee_id", "planned_start_date", "planned_end_date", "budget_allocated_amt"],
     "empty_text": "A portfolio groups programs and projects that are managed together."}');

create table app.portfolio (like app.entity_columns including defaults, primary key (id),
  owner__employee_id uuid references app.employee, budget_allocated_amt numeric(17, 4), planned_start_date date,
  planned_end_date date, dl__portfolio_status text not null default 'Proposed');

insert into app.entity_child (parent_code, child_code, owned, display_order) values
  ('business', 'portfolio', true, 15);

select app.add_datalabel('portfolio_status', array['Proposed', 'Active', 'On Hold', 'Closed'],
  ends => array['Closed'], colors => array['grey', 'amber', 'grey', 'green']);

select app.register_entity('portfolio');

-- Program: projects that deliver a benefit together -----------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('program', 'Program', 'Programs', 'layers', 'PGM', false, 14, '{}',
   '{"columns": ["code", "name", "dl__program_stage", "manager__employee_id", "planned_start_date", "planned_end_date", "benefit_amt"],
     "empty_text": "A program groups projects that deliver a benefit together."}');

create table app.program (like app.entity_columns including defaults, primary key (id),
  manager__employee_id uuid references app.employee, planned_start_date date, planned_end_date date, benefit_amt numeric(17, 4),
  dl__program_stage text not null default 'Defining');

insert into app.entity_child (parent_code, child_code, owned, display_order) values
  ('portfolio', 'program', true, 10);

select app.add_datalabel('program_stage', array['Defining', 'Delivering', 'Closing', 'Closed'],
  ends => array['Closed'], colors => array['grey', 'amber', 'blue', 'green']);

select app.register_entity('program');

-- Project: the type with which a new installation begins ------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('project', 'Project', 'Projects', 'folder-kanban', 'PRJ', true, 20,
   '{"completion_pct": {"label": "Progress"}, "budget_allocated_amt": {"label": "Budget"}, "budget_spent_amt": {"label": "Spent"},
     "planned_start_date": {"label": "Start"}, "planned_end_date": {"label": "Due"}}',
   '{"columns": ["code", "name", "dl__project_health", "dl__project_stage", "completion_pct", "planned_start_date", "planned_end_date",
                 "manager__employee_id", "budget_allocated_amt"],
     "start_type": true, "empty_text": "A project contains tasks, risks, decisions and costs."}');

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

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('business', 'project', true, 'business_id', 10),
  ('portfolio', 'project', true, '', 20),
  ('program', 'project', true, '', 10),
  ('customer', 'project', false, 'customer_id', 10);

select app.add_datalabel('project_stage', array['Initiation', 'Planning', 'Execution', 'Monitoring', 'Closure', 'On Hold', 'Cancelled'],
  ends => array['Closure', 'Cancelled'], colors => array['grey', 'purple', 'amber', 'blue', 'green', 'grey', 'grey']);
select app.add_datalabel('project_type', array['Release', 'Delivery', 'Internal', 'Research']);
select app.add_datalabel('project_health', array['Green', 'Amber', 'Red'], colors => array['green', 'amber', 'red']);

select app.register_entity('project');
