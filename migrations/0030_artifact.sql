-- An artifact: a file that belongs to something. Attaching one asks for CONTRIBUTE.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('artifact', 'Artifact', 'Artifacts', 'paperclip', 'ART', false, 94, '{"media_type": {"read_only": true}, "size_bytes": {"read_only": true, "label": "Size"}, "sha256": {"read_only": true, "hidden": true}, "storage_key": {"read_only": true, "hidden": true}}',
   '{"columns": ["name", "dl__artifact_type", "dl__security_classification", "media_type", "size_bytes"]}');

create table app.artifact (like app.entity_columns including defaults, primary key (id),
  media_type text, size_bytes bigint check (size_bytes >= 0), sha256 text check (sha256 ~ '^[0-9a-f]{64}$'), storage_key text,
  supersedes__artifact_id uuid references app.artifact, dl__artifact_type text,
  dl__security_classification text not null default 'Internal');

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('office', 'artifact', true, '', '', 2, 60),
  ('project', 'artifact', true, '', '', 2, 84),
  ('task', 'artifact', true, '', '', 2, 40),
  ('customer', 'artifact', true, '', '', 2, 70),
  ('cost', 'artifact', true, '', '', 2, 10),
  ('invoice', 'artifact', true, '', '', 2, 10),
  ('wiki', 'artifact', true, '', '', 2, 20);

select app.add_datalabel('artifact_type', array['Document', 'Drawing', 'Picture', 'Contract', 'Other']);
select app.add_datalabel('security_classification', array['Public', 'Internal', 'Confidential', 'Restricted'], colors => array['green', 'grey', 'amber', 'red']);

select app.register_entity('artifact');
