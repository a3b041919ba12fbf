-- Numbers the outline that a thing lies in anew, by rank, where the numbers have become others. For types with rank, wbs, project_id and
-- a column that names the parent of their own type.
create function app.renumber_outline(p_code text, p_id uuid) returns integer language plpgsql as $$
declare
  above text := 'parent__' || p_code || '_id'; n integer;
begin
  execute format($f$
    with recursive root as (select project_id from app.%1$I where id = $1),
    tree (id, wbs) as (
      select t.id, (row_number() over (order by t.rank, t.id))::text
      from app.%1$I t join root on t.project_id is not distinct from root.project_id where t.%2$I is null and t.active_flag
      union all
      select t.id, tree.wbs || '.' || row_number() over (partition by t.%2$I order by t.rank, t.id)
      from tree join app.%1$I t on t.%2$I = tree.id where t.active_flag
    )
    update app.%1$I t set wbs = tree.wbs from tree where t.id = tree.id and t.wbs is distinct from tree.wbs
  $f$, p_code, above) using p_id;
  get diagnostics n = row_count;
  return n;
end $$;
