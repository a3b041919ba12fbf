-- An option set in one call, for the migrations that add types: options in order, those that end a thing's course, a colour each.
create function app.add_datalabel(set_name text, options text[], ends text[] default '{}', colors text[] default '{}') returns void
language sql as $$
  insert into app.datalabel (name, id, option_name, color_code, display_order, terminal_flag)
  select set_name, o.n, o.option, colors[o.n], o.n * 10, o.option = any (ends)
  from unnest(options) with ordinality o (option, n)
$$;
