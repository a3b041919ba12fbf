-- What has changed in access, for the feed: all that transactions from `p_from` on and those of `p_finished` have told, if it is settled in `p_until`, as
-- columns side by side. A reach that is new is in nobody's way: it is read where a thing has it. `many`: there is more than `p_most`.
create function app.access_told(p_from xid8, p_finished xid8[], p_until text, p_most integer,
                                out many boolean, out persons uuid[], out reaches integer[], out origins integer[], out made boolean[])
language plpgsql stable set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
  select count(*) > p_most, array_agg(c.person_id), array_agg(c.reach), array_agg(c.was), array_agg(c.made) into many, persons, reaches, origins, made
  from (
    (select * from app.access_change a
     where a.xid >= p_from and (a.reach is null or a.was is not null) and (p_until is null or pg_visible_in_snapshot(a.xid, p_until::pg_snapshot))
     limit p_most + 1)
    union all
    (select * from app.access_change a
     where a.xid = any (p_finished) and (a.reach is null or a.was is not null) and (p_until is null or pg_visible_in_snapshot(a.xid, p_until::pg_snapshot))
     limit p_most + 1)
  ) c;
end $$;
