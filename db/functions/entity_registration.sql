-- Registration of entity types. Only migrations call these functions.

-- Adds a set of options in the given order. `ends` lists the terminal options, `colors` the color
-- of each option by position.
create or replace function app.add_datalabel(set_name text, options text[], ends text[] default '{}', colors text[] default '{}')
returns void language sql as $$
  insert into app.datalabel (name, id, option_name, color_code, display_order, terminal_flag)
  select set_name, o.n, o.option, colors[o.n], o.n * 10, o.option = any (ends)
  from unnest(options) with ordinality o (option, n)
$$;

-- Creates an index for lists that are sorted by `p_column`, and drops the single-column index it
-- replaces. The included columns answer visibility and the common filters without reading the rows.
-- An index entry is limited to about 2,700 bytes: up to three option columns fit next to a date,
-- none next to a name.
create or replace function app.create_list_index(p_code text, p_column text) returns void language plpgsql as $$
declare
  old text; included text;
begin
  for old in
    select i.indexrelid::regclass from pg_index i
    where i.indrelid = format('app.%I', p_code)::regclass and i.indnatts = 1 and not i.indisunique
      and pg_get_indexdef(i.indexrelid, 1, true) = quote_ident(p_column)
  loop
    execute format('drop index %s', old);
  end loop;
  select string_agg(quote_ident(n.attname), ', ' order by n.attnum) into included
  from (select a.attname, a.attnum, a.atttypid,
               case when a.attname like 'dl\_\_%' then row_number() over (partition by a.attname like 'dl\_\_%' order by a.attnum) end as option_number
        from pg_attribute a
        where a.attrelid = format('app.%I', p_code)::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> p_column) n
  where n.attname in ('ancestor_set_id', 'active_flag') or (n.option_number <= 3 and p_column <> 'name') or (p_column = 'ancestor_set_id' and n.atttypid = 'date'::regtype);
  execute format('create index on app.%I (%I, id) include (%s)', p_code, p_column, included);
end $$;

-- Makes app.<p_code> an entity table: code sequence, triggers, indexes and checks. Each type is
-- registered once, after its table and its row of app.entity exist.
create or replace function app.register_entity(p_code text) returns void language plpgsql as $$
declare
  prefix text;
begin
  select code_prefix into strict prefix from app.entity where code = p_code;
  execute format('create sequence if not exists app.%I', p_code || '_code_seq');
  -- Triggers fire in the order of their names. Triggers of a single type that fill in columns are
  -- called t10_….
  execute format('create trigger t20_touch_row before insert or update on app.%I for each row
                  execute function app.touch_row(%L, %L)', p_code, p_code, prefix);
  execute format('create trigger t30_assign_ancestor_set before insert on app.%I for each row execute function app.assign_ancestor_set(%L)', p_code, p_code);
  execute format('create trigger t40_sync_entity_instance after update or delete on app.%I for each row execute function app.sync_entity_instance(%L)', p_code, p_code);
  execute format('create trigger t50_log_change after insert or update or delete on app.%I for each row
                  execute function app.log_change(%L)', p_code, p_code);
  execute format('create trigger t60_maintain_links after insert or update or delete on app.%I for each row
                  execute function app.maintain_links(%L)', p_code, p_code);
  execute format('create unique index on app.%I (code) where active_flag', p_code);
  perform app.create_list_index(p_code, 'name');
  -- Lists that are filtered by visibility first read this index.
  perform app.create_list_index(p_code, 'ancestor_set_id');
  -- A list passes thousands of ids at once; coarse statistics keep the planner from estimating each
  -- of them.
  execute format('alter table app.%I alter column ancestor_set_id set statistics 10', p_code);
  execute format('alter table app.%I add check (char_length(name) between 1 and 500)', p_code);
end $$;
