create view compat_socializer.general_chat_messages as
select
  x.number as id,
  u.number as sender_id,
  case when (select compat.reads_personal_data()) then m.content end as content,
  m.created_at
from rooms.general_chat_messages m
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'general_chat_messages' and x.row_id = m.id
left join plinth.external_ids u on u.system = 'socializer' and u.relation = 'users' and u.row_id = m.sender_id
where not m.is_deleted;

comment on view compat_socializer.general_chat_messages is 'Messages of the public chat. Grain: one row per message that is not deleted.';
comment on column compat_socializer.general_chat_messages.id is 'Number of the message.';
comment on column compat_socializer.general_chat_messages.sender_id is 'Number of the sender; null for a deleted account.';
comment on column compat_socializer.general_chat_messages.content is 'Text; null for analysts.';
comment on column compat_socializer.general_chat_messages.created_at is 'Time when the message was posted.';

create function compat_socializer.write_general_chat_messages()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('socializer', 'general_chat_messages', old.id) end;
  v_before text;
begin
  if tg_op = 'INSERT' then
    v_before := compat.act_as(compat.row_id('socializer', 'users', new.sender_id));
    select m.id, m.created_at into v_id, new.created_at from rooms.post_general_chat_message(new.content) m;
    perform compat.act_as_before(v_before);
    new.id := compat.number_of('socializer', 'general_chat_messages', v_id);
    return new;
  end if;
  v_before := compat.act_for(compat.row_id('socializer', 'users', old.sender_id));
  if tg_op = 'DELETE' then
    perform rooms.delete_general_chat_message(v_id);
  else
    perform rooms.edit_general_chat_message(v_id, new.content);
  end if;
  perform compat.act_as_before(v_before);
  return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function compat_socializer.write_general_chat_messages() is 'Trigger: posts, edits and deletes a message of the public chat as its sender.';

call compat.write_through('socializer', 'general_chat_messages', 'insert or update or delete');

grant insert, update (content), delete on compat_socializer.general_chat_messages to :PLINTH_APPLICATION, :PLINTH_USER;
