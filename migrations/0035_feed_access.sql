-- What has changed in access, for the feed: all that transactions from `p_from` on and those of `p_finished` have told, as columns side by side.
create function app.access_told(p_from xid8, p_finished xid8[], p_most integer, out persons uuid[], out reaches integer[], out origins integer[], out made boolean[])
language plpgsql stable set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
  select array_agg(c.person_id), array_agg(c.reach), array_agg(c.was), array_agg(c.made) into persons, reaches, origins, made
  from (
    (select * from app.access_change a where a.xid >= p_from limit p_most)
    union all
    (select * from app.access_change a where a.xid = any (p_finished) limit p_most)
    limit p_most
  ) c
  -- A reach that is new is in nobody's way: it is read where a thing has it.
  where c.reach is null or c.was is not null;
end $$;
