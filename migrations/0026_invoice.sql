-- An invoice to a customer.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('invoice', 'Invoice', 'Invoices', 'receipt', 'INV', false, 46, '{"total_amt": {"label": "Total"}, "paid_amt": {"label": "Paid"}}',
   '{"columns": ["code", "name", "dl__invoice_status", "customer_id", "issue_date", "due_date", "total_amt", "paid_amt", "currency"]}');

create table app.invoice (like app.entity_columns including defaults, primary key (id),
  customer_id uuid references app.customer, project_id uuid references app.project, issue_date date, due_date date,
  total_amt numeric(17, 4), paid_amt numeric(17, 4), currency text not null default 'EUR' check (currency ~ '^[A-Z]{3}$'),
  dl__invoice_status text not null default 'Draft');
create index on app.invoice (customer_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('customer', 'invoice', true, 'customer_id', '', 6, 50);

select app.add_datalabel('invoice_status', array['Draft', 'Sent', 'Paid', 'Overdue', 'Void'], ends => array['Paid', 'Void'], colors => array['grey', 'amber', 'green', 'red', 'grey']);

select app.register_entity('invoice');
