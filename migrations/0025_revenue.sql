-- A revenue, wherever it belongs.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('revenue', 'Revenue', 'Revenues', 'trending-up', 'REV', false, 44, '{"amount_amt": {"label": "Amount"}}',
   '{"columns": ["code", "name", "dl__revenue_category", "revenue_date", "amount_amt", "currency"]}');

create table app.revenue (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, customer_id uuid references app.customer, revenue_date date, amount_amt numeric(17, 4),
  currency text not null default 'EUR' check (currency ~ '^[A-Z]{3}$'), dl__revenue_category text);
create index on app.revenue (project_id);
create index on app.revenue (customer_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('office', 'revenue', true, '', '', 6, 40),
  ('business', 'revenue', true, '', '', 6, 40),
  ('project', 'revenue', true, 'project_id', '', 6, 80),
  ('customer', 'revenue', true, 'customer_id', '', 6, 40);

select app.add_datalabel('revenue_category', array['Services', 'Products', 'Licence', 'Other']);

select app.register_entity('revenue');
