-- A worksite: where work is done outside the offices.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('worksite', 'Worksite', 'Worksites', 'construction', 'WST', false, 82, '{}',
   '{"columns": ["code", "name", "address", "capacity_employees", "dl__worksite_safety_rating"]}');

create table app.worksite (like app.entity_columns including defaults, primary key (id),
  address text, latitude numeric(9, 6) check (latitude between -90 and 90),
  longitude numeric(9, 6) check (longitude between -180 and 180), capacity_employees integer check (capacity_employees >= 0),
  dl__worksite_safety_rating text);

select app.add_datalabel('worksite_safety_rating', array['Safe', 'Watched', 'Unsafe'], colors => array['green', 'amber', 'red']);

select app.register_entity('worksite');
