-- A form: questions that people answer.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('form', 'Form', 'Forms', 'clipboard-list', 'FRM', false, 96, '{"schema": {"label": "Questions"}}',
   '{"columns": ["code", "name", "dl__form_status", "descr"]}');

create table app.form (like app.entity_columns including defaults, primary key (id),
  schema jsonb not null default '{}', dl__form_status text not null default 'Draft');

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('project', 'form', true, '', '', 6, 85),
  ('customer', 'form', true, '', '', 6, 60);

select app.add_datalabel('form_status', array['Draft', 'Published', 'Archived'], ends => array['Archived'], colors => array['grey', 'green', 'grey']);

select app.register_entity('form');
