-- A wiki page: Markdown that lies below another page, an office or a project.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('wiki', 'Wiki page', 'Wiki', 'book-open', 'WIK', true, 92, '{"content": {"kind": "text"}}',
   '{"columns": ["name", "path", "dl__wiki_status", "descr"]}');

create table app.wiki (like app.entity_columns including defaults, primary key (id),
  parent__wiki_id uuid references app.wiki, path text, content text, dl__wiki_status text not null default 'Draft');
create index on app.wiki (parent__wiki_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('office', 'wiki', true, '', '', 6, 50),
  ('project', 'wiki', true, '', '', 6, 82),
  ('wiki', 'wiki', true, 'parent__wiki_id', '', 6, 10);

select app.add_datalabel('wiki_status', array['Draft', 'Published', 'Archived'], ends => array['Archived'], colors => array['grey', 'green', 'grey']);

select app.register_entity('wiki');
