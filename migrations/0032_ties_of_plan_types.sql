-- What the types of the first plan have below them besides each other, now that all types are there.

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('portfolio', 'project', true, '', '', 6, 20),
  ('program', 'project', true, '', '', 6, 10),
  ('risk', 'task', true, '', '', 6, 10),
  ('issue', 'task', true, '', '', 6, 10),
  ('event', 'task', false, '', '', 6, 10),
  ('risk', 'message', true, 'about_uuid', 'about_code', 1, 90),
  ('issue', 'message', true, 'about_uuid', 'about_code', 1, 90),
  ('decision', 'message', true, 'about_uuid', 'about_code', 1, 90),
  ('change_request', 'message', true, 'about_uuid', 'about_code', 1, 90),
  ('work_order', 'message', true, 'about_uuid', 'about_code', 1, 90),
  ('wiki', 'message', true, 'about_uuid', 'about_code', 1, 90),
  ('event', 'message', true, 'about_uuid', 'about_code', 1, 90)
on conflict do nothing;
