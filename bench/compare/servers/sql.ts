// The SQL that an experienced developer writes by hand for each operation; used by the Mercurius server and by pgbench.

export const DEEP_PAGE = `select c.id, c.title, c.updated_at as "updatedAt", m.messages
from llm.chats c
cross join lateral (
  select coalesce(json_agg(m), '[]') as messages
  from (
    select m.id, m.role, m.content, m.created_at as "createdAt",
      case when o.id is not null then json_build_object('id', o.id, 'displayName', o.display_name) end as model
    from llm.messages m
    left join llm.models o on o.id = m.model_id
    where m.chat_id = c.id and m.user_id = c.user_id
    order by m.created_at desc, m.id desc
    limit 10
  ) m
) m
where c.user_id = plinth.current_user_id()
order by c.updated_at desc, c.id desc
limit 20`;

export const ONE_ROW = `select id, title, updated_at as "updatedAt" from llm.chats where id = $1`;

export const CREATE_MESSAGE = `insert into llm.messages (chat_id, role, content) values ($1, 'user', $2)
returning id, chat_id as "chatId", role, content`;

export const CONTENT_PAGE = `select i.id, i.title, i.level, json_build_object('hasAccess', a.has_access, 'reason', a.reason) as access
from (select * from learning.content_items order by available_from desc, id limit 50) i
left join learning.my_content_access a on a.content_id = i.id
order by i.available_from desc, i.id`;

export const ROOM_PAGE = `select r.id, r.name,
  (select json_build_object('unreadCount', u.unread_count, 'mentionCount', u.mention_count)
    from rooms.unread_counts u where u.room_id = r.id) as unread,
  (select coalesce(json_agg(m), '[]') from (
    select m.id, m.sequence::text as sequence, m.content, m.created_at as "createdAt",
      (select json_build_object('username', p.username) from identity.profiles p where p.id = m.sender_id) as "senderProfile"
    from rooms.room_messages m where m.room_id = r.id order by m.sequence desc, m.id desc limit 50
  ) m) as messages
from rooms.chat_rooms r where r.id = $1`;
