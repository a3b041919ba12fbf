-- Entity types of finance: costs, revenues, invoices.

-- Cost --------------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('cost', 'Cost', 'Costs', 'circle-dollar-sign', 'CST', false, 42, '{"amount_amt": {"label": "Amount"}}',
   '{"columns": ["code", "name", "dl__cost_status", "dl__cost_category", "cost_date", "amount_amt", "currency"],
     "empty_text": "Costs are planned, committed or actual amounts."}');

create table app.cost (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, task_id uuid references app.task, supplier_id uuid references app.supplier,
  cost_date date, amount_amt numeric(17, 4), currency text not null default 'EUR' check (currency ~ '^[A-Z]{3}$'),
  dl__cost_category text, dl__cost_status text not null default 'Planned');
create index on app.cost (project_id);
create index on app.cost (task_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('office', 'cost', true, '', 30),
  ('business', 'cost', true, '', 30),
  ('project', 'cost', true, 'project_id', 75),
  ('task', 'cost', true, 'task_id', 30),
  ('customer', 'cost', true, '', 30),
  ('supplier', 'cost', false, 'supplier_id', 10);

select app.add_datalabel('cost_category', array['Labour', 'Material', 'Licence', 'Travel', 'Other']);
select app.add_datalabel('cost_status', array['Planned', 'Committed', 'Actual'], colors => array['grey', 'amber', 'green']);

select app.register_entity('cost');

-- Revenue -----------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('revenue', 'Revenue', 'Revenues', 'trending-up', 'REV', false, 44, '{"amount_amt": {"label": "Amount"}}',
   '{"columns": ["code", "name", "dl__revenue_category", "revenue_date", "amount_amt", "currency"],
     "empty_text": "Revenues are incoming amounts."}');

create table app.revenue (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, customer_id uuid references app.customer, revenue_date date, amount_amt numeric(17, 4),
  currency text not null default 'EUR' check (currency ~ '^[A-Z]{3}$'), dl__revenue_category text);
create index on app.revenue (project_id);
create index on app.revenue (customer_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('office', 'revenue', true, '', 40),
  ('business', 'revenue', true, '', 40),
  ('project', 'revenue', true, 'project_id', 80),
  ('customer', 'revenue', true, 'customer_id', 40);

select app.add_datalabel('revenue_category', array['Services', 'Products', 'Licence', 'Other']);

select app.register_entity('revenue');

-- Invoice -----------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('invoice', 'Invoice', 'Invoices', 'receipt', 'INV', false, 46, '{"total_amt": {"label": "Total"}, "paid_amt": {"label": "Paid"}}',
   '{"columns": ["code", "name", "dl__invoice_status", "customer_id", "issue_date", "due_date", "total_amt", "paid_amt", "currency"],
     "empty_text": "Invoices request payment from customers by a due date."}');

create table app.invoice (like app.entity_columns including defaults, primary key (id),
  customer_id uuid references app.customer, project_id uuid references app.project, issue_date date, due_date date,
  total_amt numeric(17, 4), paid_amt numeric(17, 4), currency text not null default 'EUR' check (currency ~ '^[A-Z]{3}$'),
  dl__invoice_status text not null default 'Draft');
create index on app.invoice (customer_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('customer', 'invoice', true, 'customer_id', 50);

select app.add_datalabel('invoice_status', array['Draft', 'Sent', 'Paid', 'Overdue', 'Void'],
  ends => array['Paid', 'Void'], colors => array['grey', 'amber', 'green', 'red', 'grey']);

select app.register_entity('invoice');
