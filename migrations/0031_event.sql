-- An event: people at a place and time.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('event', 'Event', 'Events', 'calendar', 'EVT', true, 78, '{"video_url": {"label": "Video"}}',
   '{"columns": ["name", "dl__event_type", "dl__event_status", "starts_ts", "ends_ts", "venue", "organizer__employee_id"]}');

create table app.event (like app.entity_columns including defaults, primary key (id),
  starts_ts timestamptz, ends_ts timestamptz, venue text, video_url text, organizer__employee_id uuid references app.employee,
  attendee__employee_ids uuid[] not null default '{}', dl__event_type text, dl__event_status text not null default 'Planned');
create index on app.event (starts_ts);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('project', 'event', true, '', '', 6, 86);

select app.add_datalabel('event_type', array['Meeting', 'Workshop', 'Review', 'Release']);
select app.add_datalabel('event_status', array['Planned', 'Confirmed', 'Held', 'Cancelled'], ends => array['Held', 'Cancelled'], colors => array['grey', 'blue', 'green', 'grey']);

select app.register_entity('event');
