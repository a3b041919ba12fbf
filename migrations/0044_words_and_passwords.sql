-- That somebody was given a new password is a change of that person, told like any other: by whom and when, never what it is.
alter table app.person add column password_given_ts timestamptz;
update app.entity set column_metadata = column_metadata || '{"password_given_ts": {"read_only": true, "label": "Password given"}}' where code = 'person';
-- Short enough for the head of a column.
update app.entity set column_metadata = column_metadata || '{"dl__security_classification": {"label": "Classification"}}'
where code = 'artifact' and not column_metadata ? 'dl__security_classification';
