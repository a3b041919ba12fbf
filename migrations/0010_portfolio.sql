-- A portfolio: programs and projects that serve one purpose, with one purse.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('portfolio', 'Portfolio', 'Portfolios', 'briefcase-business', 'PFO', true, 12, '{}',
   '{"columns": ["code", "name", "dl__portfolio_status", "owner__employee_id", "planned_start_date", "planned_end_date", "budget_allocated_amt"]}');

create table app.portfolio (like app.entity_columns including defaults, primary key (id),
  owner__employee_id uuid references app.employee, budget_allocated_amt numeric(17, 4), planned_start_date date,
  planned_end_date date, dl__portfolio_status text not null default 'Proposed');

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('business', 'portfolio', true, '', '', 6, 15);

select app.add_datalabel('portfolio_status', array['Proposed', 'Active', 'On Hold', 'Closed'], ends => array['Closed'], colors => array['grey', 'amber', 'grey', 'green']);

select app.register_entity('portfolio');
