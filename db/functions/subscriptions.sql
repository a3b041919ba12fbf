-- The mirror of subscriptions in the database. The authoritative state is in the memory of each
-- pod.

-- Adds subscriptions of a connection and returns the number of new ones.
create or replace function app.bulk_subscribe(p_connection text, p_user uuid, p_codes text[], p_ids uuid[]) returns integer
language plpgsql as $$
declare
  n integer;
begin
  insert into app.system_cache_subscription (user_id, entity_code, entity_id, connection_id)
    select p_user, t.code, t.id, p_connection from unnest(p_codes, p_ids) t (code, id) order by 2, 3
    on conflict do nothing;
  get diagnostics n = row_count;
  return n;
end $$;

-- Returns the live subscriptions to entities of a type, including those to the whole type.
create or replace function app.get_batch_subscribers(p_code text, p_ids uuid[])
returns table (user_id uuid, connection_id varchar, entity_id uuid) language sql stable as $$
  select s.user_id, s.connection_id, s.entity_id from app.system_cache_subscription s
  join app.system_cache_connection c using (connection_id)
  where s.entity_code = p_code and c.lease_until > now()
    and (s.entity_id = any (p_ids) or s.entity_id = '11111111-1111-1111-1111-111111111111')
$$;
