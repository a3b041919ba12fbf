-- Entity types of content: forms and answers, wiki pages, artifacts, events, messages.

-- Form --------------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('form', 'Form', 'Forms', 'clipboard-list', 'FRM', false, 96, '{"schema": {"label": "Questions"}}',
   '{"columns": ["code", "name", "dl__form_status", "descr"], "empty_text": "Forms ask questions; their answers are stored below them."}');

create table app.form (like app.entity_columns including defaults, primary key (id),
  schema jsonb not null default '{}', dl__form_status text not null default 'Draft');

insert into app.entity_child (parent_code, child_code, owned, display_order) values
  ('project', 'form', true, 85),
  ('customer', 'form', true, 60);

select app.add_datalabel('form_status', array['Draft', 'Published', 'Archived'],
  ends => array['Archived'], colors => array['grey', 'green', 'grey']);

select app.register_entity('form');

-- Answer to a form; answering requires CONTRIBUTE -------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('form_data', 'Answer', 'Answers', 'clipboard-check', 'FDT', false, 97, '{}',
   '{"columns": ["code", "name", "dl__form_data_status", "form_id", "submitted_ts"], "empty_text": "Answers to a form appear here."}');

create table app.form_data (like app.entity_columns including defaults, primary key (id),
  form_id uuid references app.form, answers jsonb not null default '{}', submitted_ts timestamptz,
  dl__form_data_status text not null default 'Draft');
create index on app.form_data (form_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, create_permission, display_order) values
  ('form', 'form_data', true, 'form_id', 2, 10);

select app.add_datalabel('form_data_status', array['Draft', 'Submitted', 'Approved', 'Rejected'],
  ends => array['Approved'], colors => array['grey', 'amber', 'green', 'red']);

select app.register_entity('form_data');

-- Wiki page: Markdown -----------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('wiki', 'Wiki page', 'Wiki', 'book-open', 'WIK', true, 92, '{"content": {"kind": "text"}}',
   '{"columns": ["name", "path", "dl__wiki_status", "descr"], "empty_text": "Wiki pages hold shared knowledge."}');

create table app.wiki (like app.entity_columns including defaults, primary key (id),
  parent__wiki_id uuid references app.wiki, path text, content text, dl__wiki_status text not null default 'Draft');
create index on app.wiki (parent__wiki_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('office', 'wiki', true, '', 50),
  ('project', 'wiki', true, '', 82),
  ('wiki', 'wiki', true, 'parent__wiki_id', 10);

select app.add_datalabel('wiki_status', array['Draft', 'Published', 'Archived'],
  ends => array['Archived'], colors => array['grey', 'green', 'grey']);

select app.register_entity('wiki');

-- Artifact: a file attached to an entity; attaching requires CONTRIBUTE ---------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('artifact', 'Artifact', 'Artifacts', 'paperclip', 'ART', false, 94,
   '{"media_type": {"read_only": true}, "size_bytes": {"read_only": true, "label": "Size"}, "sha256": {"read_only": true, "hidden": true},
     "storage_key": {"read_only": true, "hidden": true}, "dl__security_classification": {"label": "Classification"}}',
   '{"columns": ["name", "dl__artifact_type", "dl__security_classification", "media_type", "size_bytes"],
     "empty_text": "Artifacts are files: documents, pictures, contracts."}');

create table app.artifact (like app.entity_columns including defaults, primary key (id),
  media_type text, size_bytes bigint check (size_bytes >= 0), sha256 text check (sha256 ~ '^[0-9a-f]{64}$'), storage_key text,
  supersedes__artifact_id uuid references app.artifact, dl__artifact_type text,
  dl__security_classification text not null default 'Internal');
create index on app.artifact (storage_key) where storage_key is not null; -- finds blobs without an artifact

insert into app.entity_child (parent_code, child_code, owned, create_permission, display_order) values
  ('office', 'artifact', true, 2, 60),
  ('project', 'artifact', true, 2, 84),
  ('task', 'artifact', true, 2, 40),
  ('customer', 'artifact', true, 2, 70),
  ('cost', 'artifact', true, 2, 10),
  ('invoice', 'artifact', true, 2, 10),
  ('wiki', 'artifact', true, 2, 20);

select app.add_datalabel('artifact_type', array['Document', 'Drawing', 'Picture', 'Contract', 'Other']);
select app.add_datalabel('security_classification', array['Public', 'Internal', 'Confidential', 'Restricted'],
  colors => array['green', 'grey', 'amber', 'red']);

select app.register_entity('artifact');

-- Event -------------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('event', 'Event', 'Events', 'calendar', 'EVT', true, 78, '{"video_url": {"label": "Video"}}',
   '{"columns": ["name", "dl__event_type", "dl__event_status", "starts_ts", "ends_ts", "venue", "organizer__employee_id"],
     "empty_text": "Events are meetings with a time, a place and attendees."}');

create table app.event (like app.entity_columns including defaults, primary key (id),
  starts_ts timestamptz, ends_ts timestamptz, venue text, video_url text, organizer__employee_id uuid references app.employee,
  attendee__employee_ids uuid[] not null default '{}', dl__event_type text, dl__event_status text not null default 'Planned');
select app.create_list_index('event', 'starts_ts');

insert into app.entity_child (parent_code, child_code, owned, display_order) values
  ('project', 'event', true, 86),
  ('event', 'task', false, 10);

select app.add_datalabel('event_type', array['Meeting', 'Workshop', 'Review', 'Release']);
select app.add_datalabel('event_status', array['Planned', 'Confirmed', 'Held', 'Cancelled'],
  ends => array['Held', 'Cancelled'], colors => array['grey', 'blue', 'green', 'grey']);

select app.register_entity('event');

-- Message: a comment on an entity; commenting requires COMMENT ------------------------------------

-- Each person writes their own reactions; a mentioned person must be able to view the entity.
insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('message', 'Message', 'Messages', 'message-square', 'MSG', false, 99,
   '{"name": {"required": false, "hidden": true}, "body": {"required": true},
     "target_code": {"hidden": true, "formerly": "about_code"}, "target_id": {"hidden": true, "formerly": "about_uuid"},
     "author__person_id": {"read_only": true}, "reactions": {"contributor_column": "self", "hidden": true},
     "mentions": {"kind": "references", "entity": "person", "label": "Mentions", "must_see_parent": true}}',
   '{"columns": ["name", "body", "author__person_id", "resolved_flag"], "empty_text": "Comments appear here."}');

create table app.message (like app.entity_columns including defaults, primary key (id),
  target_code text, target_id uuid, author__person_id uuid references app.person, reply_to__message_id uuid references app.message,
  body text not null default '', mentions uuid[] not null default '{}', reactions jsonb not null default '{}',
  resolved_flag boolean not null default false, dl__message_type text not null default 'Comment');
create index on app.message (target_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, parent_type_column, create_permission, display_order) values
  ('project', 'message', true, 'target_id', 'target_code', 1, 90),
  ('task', 'message', true, 'target_id', 'target_code', 1, 90),
  ('risk', 'message', true, 'target_id', 'target_code', 1, 90),
  ('issue', 'message', true, 'target_id', 'target_code', 1, 90),
  ('decision', 'message', true, 'target_id', 'target_code', 1, 90),
  ('change_request', 'message', true, 'target_id', 'target_code', 1, 90),
  ('work_order', 'message', true, 'target_id', 'target_code', 1, 90),
  ('wiki', 'message', true, 'target_id', 'target_code', 1, 90),
  ('event', 'message', true, 'target_id', 'target_code', 1, 90);

select app.add_datalabel('message_type', array['Comment', 'Note', 'System']);

select app.register_entity('message');

create trigger t10_set_message_author before insert or update on app.message for each row execute function app.set_message_author();
