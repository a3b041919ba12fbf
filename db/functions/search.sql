-- Full-text search over all entities.

-- Builds the search document from the text columns of a row, excluding ids, dates, enums and
-- amounts. Weights: name and code A, description B, other text C. Written in plpgsql, because it
-- caches plans.
create or replace function app.search_document(p_row jsonb) returns tsvector language plpgsql immutable parallel safe as $$
declare
  rest text;
begin
  select left(string_agg(value #>> '{}', ' ' order by key), 100000) into rest from jsonb_each(p_row)
  where jsonb_typeof(value) = 'string'
    and key not in ('id', 'name', 'code', 'descr', 'wbs', 'rank', 'currency', 'unit', 'sha256', 'storage_key', 'media_type', 'locale', 'timezone')
    and not key like any ('{dl\\_\\_%,%\\_id,%\\_uuid,%\\_ts,%\\_date,%\\_amt,%\\_code,%\\_unit}'::text[]);
  return setweight(to_tsvector('simple', left(coalesce(p_row ->> 'name', ''), 500) || ' ' || left(coalesce(p_row ->> 'code', ''), 200)), 'A')
      || setweight(to_tsvector('simple', left(coalesce(p_row ->> 'descr', ''), 100000)), 'B')
      || setweight(to_tsvector('simple', coalesce(rest, '')), 'C');
end $$;

-- After update or delete of an entity row: maintains title and search document in
-- app.entity_instance, and removes the entry of a deleted row. Argument: entity code.
create or replace function app.sync_entity_instance() returns trigger language plpgsql set enable_seqscan = off as $$
declare
  new_document tsvector;
begin
  if tg_op = 'DELETE' then
    delete from app.entity_instance where id = old.id;
    return null;
  end if;
  if new.version = old.version then return null; end if;
  select case when new.active_flag and e.searchable_flag then app.search_document(to_jsonb(new)) end into new_document from app.entity e where e.code = tg_argv[0];
  update app.entity_instance set title = new.name, search_document = new_document
  where id = new.id and (title, search_document) is distinct from (new.name, new_document);
  return null;
end $$;
