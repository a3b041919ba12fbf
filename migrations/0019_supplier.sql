-- A supplier: who delivers, and on what terms.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('supplier', 'Supplier', 'Suppliers', 'truck', 'SUP', false, 76, '{}',
   '{"columns": ["code", "name", "contact_person", "email", "payment_terms_days", "lead_time_days", "dl__supplier_rating"]}');

create table app.supplier (like app.entity_columns including defaults, primary key (id),
  contact_person text, email text, payment_terms_days numeric(6, 1), lead_time_days numeric(6, 1), dl__supplier_rating text);

select app.add_datalabel('supplier_rating', array['A', 'B', 'C'], colors => array['green', 'amber', 'red']);

select app.register_entity('supplier');
