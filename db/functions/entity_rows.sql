-- Columns that the database maintains in every entity table.

-- Before insert or update: maintains id, code, version, created_ts and updated_ts. An update that
-- changes no column creates no version. Arguments: entity code, code prefix.
create or replace function app.touch_row() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    new.version := 1;
    new.created_ts := now();
    new.updated_ts := now();
    if new.code is null or new.code = '' then
      new.code := tg_argv[1] || '-' || nextval(('app.' || tg_argv[0] || '_code_seq')::regclass);
    end if;
  elsif current_setting('app.reindexing', true) = 'on' then
    -- Only the ancestor set is rewritten: that is no new version.
    return new;
  else
    new.ancestor_set_id := old.ancestor_set_id;
    if new is distinct from old then
      new.id := old.id;
      new.created_ts := old.created_ts;
      new.version := old.version + 1;
      new.updated_ts := now();
    end if;
  end if;
  return new;
end $$;
