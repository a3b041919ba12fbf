-- Talk about a thing: everybody writes their own reactions, and nobody is named in what they can't see.
update app.entity set column_metadata = column_metadata
  || '{"reactions": {"contribute": "self", "hidden": true}, "mentions": {"kind": "references", "entity": "person", "label": "Mentions", "sees_owner": true}}'
  where code = 'message';
