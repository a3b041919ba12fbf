-- A baseline: the plan as it was agreed at one moment.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('baseline', 'Baseline', 'Baselines', 'history', 'BSL', false, 62, '{"snapshot": {"hidden": true}}',
   '{"columns": ["code", "name", "captured_ts"]}');

create table app.baseline (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, captured_ts timestamptz not null default now(), snapshot jsonb not null default '{}');
create index on app.baseline (project_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('project', 'baseline', true, 'project_id', '', 6, 45);

select app.register_entity('baseline');
