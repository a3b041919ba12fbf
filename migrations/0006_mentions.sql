-- The people whom a message names, as references: checked, shown by name, written as a list.
update app.entity set column_metadata = column_metadata || '{"mentions": {"kind": "references", "entity": "person", "label": "Mentions"}}' where code = 'message';
