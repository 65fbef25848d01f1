create view compat_rovertchat.chats as
select
  c.id,
  c.user_id,
  case when (select compat.reads_personal_data()) then c.title::varchar end as title,
  c.created_at at time zone 'UTC' as created_at,
  c.updated_at at time zone 'UTC' as updated_at,
  c.is_archived
from llm.chats c;

comment on view compat_rovertchat.chats is 'Chats. Grain: one row per chat.';
comment on column compat_rovertchat.chats.id is 'Id of the chat.';
comment on column compat_rovertchat.chats.user_id is 'The owner.';
comment on column compat_rovertchat.chats.title is 'Title; null for analysts.';
comment on column compat_rovertchat.chats.created_at is 'Time when the chat was created, in UTC.';
comment on column compat_rovertchat.chats.updated_at is
  'Time of the last activity, in UTC. A message or a change of the chat sets it; a user''s value is ignored.';
comment on column compat_rovertchat.chats.is_archived is 'Whether the chat is archived.';

create function compat_rovertchat.write_chats()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    delete from llm.chats c where c.id = old.id;
    return case when found then old end;
  end if;
  if tg_op = 'UPDATE' then
    update llm.chats c
    set title = new.title, is_archived = new.is_archived
    where c.id = old.id and (c.title, c.is_archived) is distinct from (new.title::text, new.is_archived);
    if new.updated_at is distinct from old.updated_at and compat.writes_all() then
      update llm.chats c set updated_at = new.updated_at at time zone 'UTC' where c.id = old.id;
    end if;
  elsif compat.is_application() then
    insert into llm.chats as c (id, user_id, title, is_archived, created_at, updated_at)
    values (
      coalesce(new.id, plinth.uuid_v7()), coalesce(new.user_id, plinth.current_user_id()), coalesce(new.title, 'New chat'),
      new.is_archived is true, compat_rovertchat.utc(new.created_at), compat_rovertchat.utc(coalesce(new.updated_at, new.created_at))
    )
    returning c.id into new.id;
  else
    perform compat.check_user(coalesce(new.user_id, plinth.current_user_id()));
    perform compat_rovertchat.check_defaults(new.id::text, new.created_at::text, new.updated_at::text);
    insert into llm.chats as c (title) values (coalesce(new.title, 'New chat')) returning c.id into new.id;
  end if;
  select v.* into new from compat_rovertchat.chats v where v.id = new.id;
  return new;
end
$$;

comment on function compat_rovertchat.write_chats() is 'Trigger: creates, renames, archives and deletes chats.';

call compat.write_through('rovertchat', 'chats', 'insert or update or delete');
