-- A service that is sold by the hour.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('service', 'Service', 'Services', 'wrench', 'SVC', false, 84, '{}',
   '{"columns": ["code", "name", "dl__service_category", "standard_rate_amt", "estimated_hours"]}');

create table app.service (like app.entity_columns including defaults, primary key (id),
  standard_rate_amt numeric(17, 4), estimated_hours numeric(10, 2), dl__service_category text);

select app.add_datalabel('service_category', array['Consulting', 'Engineering', 'Support', 'Training']);

select app.register_entity('service');
