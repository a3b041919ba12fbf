-- Entity types of field service and sales: worksites, services, products, work orders.

-- Worksite ----------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('worksite', 'Worksite', 'Worksites', 'construction', 'WST', false, 82, '{}',
   '{"columns": ["code", "name", "address", "capacity_employees", "dl__worksite_safety_rating"],
     "empty_text": "Worksites are the locations of work orders."}');

create table app.worksite (like app.entity_columns including defaults, primary key (id),
  address text, latitude numeric(9, 6) check (latitude between -90 and 90),
  longitude numeric(9, 6) check (longitude between -180 and 180), capacity_employees integer check (capacity_employees >= 0),
  dl__worksite_safety_rating text);

select app.add_datalabel('worksite_safety_rating', array['Safe', 'Watched', 'Unsafe'], colors => array['green', 'amber', 'red']);

select app.register_entity('worksite');

-- Service: sold by the hour -----------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('service', 'Service', 'Services', 'wrench', 'SVC', false, 84, '{}',
   '{"columns": ["code", "name", "dl__service_category", "standard_rate_amt", "estimated_hours"],
     "empty_text": "Services are offered at a rate."}');

create table app.service (like app.entity_columns including defaults, primary key (id),
  standard_rate_amt numeric(17, 4), estimated_hours numeric(10, 2), dl__service_category text);

select app.add_datalabel('service_category', array['Consulting', 'Engineering', 'Support', 'Training']);

select app.register_entity('service');

-- Product: sold by the piece ----------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('product', 'Product', 'Products', 'package', 'PDT', false, 86, '{"sku": {"label": "SKU"}}',
   '{"columns": ["code", "name", "sku", "dl__product_category", "unit_price_amt", "unit"],
     "empty_text": "Products are sold at a price."}');

create table app.product (like app.entity_columns including defaults, primary key (id),
  sku text, unit_price_amt numeric(17, 4), unit text, dl__product_category text);

select app.add_datalabel('product_category', array['Hardware', 'Software', 'Licence', 'Material']);

select app.register_entity('product');

-- Work order --------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('work_order', 'Work order', 'Work orders', 'hard-hat', 'WOR', false, 88, '{}',
   '{"columns": ["code", "name", "dl__work_order_status", "worksite_id", "scheduled_date", "technician__employee_ids", "labor_cost_amt"],
     "empty_text": "Work orders schedule technicians at a worksite."}');

create table app.work_order (like app.entity_columns including defaults, primary key (id),
  worksite_id uuid references app.worksite, project_id uuid references app.project, scheduled_date date,
  technician__employee_ids uuid[] not null default '{}', labor_cost_amt numeric(17, 4), material_cost_amt numeric(17, 4),
  dl__work_order_status text not null default 'Draft');
create index on app.work_order (worksite_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('worksite', 'work_order', true, 'worksite_id', 10);

select app.add_datalabel('work_order_status', array['Draft', 'Scheduled', 'In Progress', 'Done', 'Cancelled'],
  ends => array['Done', 'Cancelled'], colors => array['grey', 'purple', 'amber', 'green', 'grey']);

select app.register_entity('work_order');
