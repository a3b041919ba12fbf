-- Comments: rows of app.message.

-- Before insert or update of a message: sets the author to the actor (unchanged by updates), and
-- the name to the first line.
create or replace function app.set_message_author() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    new.author__person_id := coalesce(nullif(current_setting('app.actor_person_id', true), '')::uuid, new.author__person_id);
  else
    new.author__person_id := old.author__person_id;
  end if;
  if new.name is null or new.name = '' then new.name := coalesce(nullif(left(split_part(new.body, E'\n', 1), 80), ''), 'Message'); end if;
  return new;
end $$;
