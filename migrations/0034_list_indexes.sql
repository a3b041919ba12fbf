-- Indexes that a list walks in its sort order and by which it knows, without looking at the rows, which of them their reader sees and which have
-- the marks that lists are filtered by. An entry has some 2,700 bytes of room: three marks beside a date, none beside a name.

create function app.index_list(p_code text, p_column text) returns void language plpgsql as $$
declare
  old text; also text;
begin
  for old in
    select i.indexrelid::regclass from pg_index i
    where i.indrelid = format('app.%I', p_code)::regclass and i.indnatts = 1 and not i.indisunique
      and pg_get_indexdef(i.indexrelid, 1, true) = quote_ident(p_column)
  loop
    execute format('drop index %s', old);
  end loop;
  select string_agg(quote_ident(n.attname), ', ' order by n.attnum) into also
  from (select a.attname, a.attnum, a.atttypid,
               case when a.attname like 'dl\_\_%' then row_number() over (partition by a.attname like 'dl\_\_%' order by a.attnum) end as mark
        from pg_attribute a
        where a.attrelid = format('app.%I', p_code)::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> p_column) n
  where n.attname in ('reach', 'active_flag') or (n.mark <= 3 and p_column <> 'name') or (p_column = 'reach' and n.atttypid = 'date'::regtype);
  execute format('create index on app.%I (%I, id) include (%s)', p_code, p_column, also);
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
