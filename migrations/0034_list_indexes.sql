-- Indexes that a list walks in its sort order and by which it knows, without looking at the rows, which of them their reader sees and which have
-- the marks that lists are filtered by.

create function app.index_list(p_code text, p_column text) returns void language plpgsql as $$
declare
  also text;
begin
  execute format('drop index if exists app.%I', left(p_code || '_' || p_column || '_idx', 63));
  select string_agg(quote_ident(a.attname), ', ' order by a.attnum) into also
  from pg_attribute a
  where a.attrelid = format('app.%I', p_code)::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> p_column
    and (a.attname in ('reach', 'active_flag') or a.attname like 'dl\_\_%' or p_column = 'reach' and a.atttypid = 'date'::regtype);
  execute format('create index %I on app.%I (%I, id) include (%s)', left(p_code || '_by_' || p_column, 63), p_code, p_column, also);
end $$;

create or replace function app.register_entity(p_code text) returns void language plpgsql as $$
declare
  prefix text;
begin
  select code_prefix into strict prefix from app.entity where code = p_code;
  execute format('create sequence if not exists app.%I', p_code || '_code_seq');
  execute format('create trigger stamp_row before insert or update on app.%I for each row
                  execute function app.stamp_row(%L, %L)', p_code, p_code, prefix);
  -- Triggers fire in the order of their names: this one after those that fill in columns.
  execute format('create trigger take_reach before insert on app.%I for each row execute function app.take_reach(%L)', p_code, p_code);
  execute format('create trigger keep_thing after update or delete on app.%I for each row execute function app.keep_thing(%L)', p_code, p_code);
  execute format('create trigger log_change after insert or update or delete on app.%I for each row
                  execute function app.log_change(%L)', p_code, p_code);
  execute format('create trigger maintain_links after insert or update or delete on app.%I for each row
                  execute function app.maintain_links(%L)', p_code, p_code);
  execute format('create unique index on app.%I (code) where active_flag', p_code);
  perform app.index_list(p_code, 'name');
  -- What somebody sees is gathered from here.
  perform app.index_list(p_code, 'reach');
  -- A list asks for thousands of reaches at once; the planner needn't weigh each.
  execute format('alter table app.%I alter column reach set statistics 10', p_code);
  execute format('alter table app.%I add check (char_length(name) between 1 and 500)', p_code);
end $$;

select app.index_list(code, 'name'), app.index_list(code, 'reach') from app.entity;
select app.index_list('task', 'due_date'), app.index_list('event', 'starts_ts');
