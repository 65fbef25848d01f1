--! Previous: sha1:7625b436fc10c7dbc0c54f290cfe308b5b2b5d63
--! Hash: sha1:a6c6c484b42f4a24d2556be0fa40baaaccbc12e3
--! Message: visible denials

--! Included identity/functions/logout.sql
-- Three ways to sign out. Definer rights: users may update sessions only through these functions. Repeating a call is harmless,
-- and the result reports it.

create or replace function identity.logout()
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.refuse_api_token();
  perform private.require_user_id();
  -- Account before session: the one lock order (see private.finish_login).
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'logout'
  where s.id = plinth.current_session_id()
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null;
  if found then
    perform private.record_security_event('logout', plinth.current_user_id());
  end if;
  return found;
end
$$;

comment on function identity.logout() is 'Ends the current session and its access and refresh tokens at once; returns false if it had already ended.';
grant execute on function identity.logout() to :PLINTH_USER;
--! EndIncluded identity/functions/logout.sql
--! Included llm/functions/label_prompt.sql
-- Points a label at a version, or deletes it. For the prompt's owner, or in the library for its editors.
create or replace function llm.label_prompt(prompt_id uuid, label text, version integer default null)
  returns llm.prompt_labels
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_owner uuid;
  v_label llm.prompt_labels;
begin
  perform private.require_user_id();
  select p.user_id into v_owner
  from llm.prompts p
  where p.id = label_prompt.prompt_id
    and (
      p.user_id = plinth.current_user_id()
      or p.user_id is null and access.has_permission('edit_content')
    )
  for key share;
  if not found then
    raise exception 'Prompt not found.' using errcode = 'PL404', column = 'prompt_id';
  end if;
  if label_prompt.version is null then
    delete from llm.prompt_labels l
    where l.prompt_id = label_prompt.prompt_id and l.label = label_prompt.label
    returning * into v_label;
    return case when found then v_label end;
  end if;
  if label_prompt.label ~ '^[a-z0-9][a-z0-9_.-]{0,49}$' is not true then
    raise exception 'A label must have 1 to 50 characters: lowercase letters, digits, _ . or -, starting with a letter or digit.' using errcode = 'PL422', column = 'label';
  end if;
  if not exists (
    select
    from llm.prompt_versions v
    where v.prompt_id = label_prompt.prompt_id and v.version = label_prompt.version
  ) then
    raise exception 'Version not found.' using errcode = 'PL404', column = 'version';
  end if;
  insert into llm.prompt_labels as l (prompt_id, label, version)
  values (label_prompt.prompt_id, label_prompt.label, label_prompt.version)
  on conflict on constraint prompt_labels_pkey do update set version = excluded.version
  returning * into v_label;
  return v_label;
end
$$;

comment on function llm.label_prompt(uuid, text, integer) is
  E'@resultFieldName promptLabel\n'
  'Points a label such as production at a version of a prompt. Without a version, deletes the label and returns it, or null if '
  'there was none. NOT_FOUND for a prompt the caller may not change.';
grant execute on function llm.label_prompt(uuid, text, integer) to :PLINTH_USER;
--! EndIncluded llm/functions/label_prompt.sql
--! Included llm/functions/rate_message.sql
-- Rates an answer up or down. The rating can be changed any number of times; a call without a rating deletes it.
create or replace function llm.rate_message(message_id uuid, rating text default null, comment text default '')
  returns llm.message_feedback
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_message record;
  v_feedback llm.message_feedback;
begin
  perform private.require_user_id();
  select m.user_id, m.chat_id, m.role into v_message
  from llm.messages m
  where m.id = rate_message.message_id and m.user_id = plinth.current_user_id();
  if not found then
    raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if v_message.role <> 'assistant' then
    raise exception 'Only answers can be rated.' using errcode = 'PL422', column = 'message_id';
  end if;
  if rate_message.rating is null then
    delete from llm.message_feedback f where f.message_id = rate_message.message_id returning * into v_feedback;
    return case when found then v_feedback end;
  end if;
  if rate_message.rating not in ('up', 'down') then
    raise exception 'A rating must be up or down.' using errcode = 'PL422', column = 'rating';
  end if;
  insert into llm.message_feedback as f (message_id, user_id, chat_id, rating, comment)
  values (
    rate_message.message_id, v_message.user_id, v_message.chat_id, rate_message.rating, coalesce(rate_message.comment, '')
  )
  on conflict on constraint message_feedback_pkey
  do update set rating = excluded.rating, comment = excluded.comment
  returning * into v_feedback;
  return v_feedback;
end
$$;

comment on function llm.rate_message(uuid, text, text) is
  E'@resultFieldName feedback\n'
  'Rates an answer up or down, with a comment. Without a rating, deletes the rating and returns it, or null if there was none. '
  'NOT_FOUND for an unknown message.';
grant execute on function llm.rate_message(uuid, text, text) to :PLINTH_USER;
--! EndIncluded llm/functions/rate_message.sql
--! Included llm/triggers/prompt_shares.sql
-- Before the primary key, which does not contain the owner: otherwise a caller who shares the prompt of another user would learn
-- from a conflict with whom its owner shares it. The error is that of the foreign key, also for a prompt that does not exist.
create or replace function llm.require_own_prompt()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if not exists (select from llm.prompts p where p.id = new.prompt_id and p.user_id = new.owner_id) then
    raise exception 'The prompt does not exist, or the caller does not own it.'
      using errcode = '23503', schema = 'llm', table = 'prompt_shares', constraint = 'prompt_shares_prompt_id_owner_id_fkey';
  end if;
  return new;
end
$$;

comment on function llm.require_own_prompt() is 'Trigger: raises 23503 for a prompt that the owner of the share does not own.';

create or replace trigger _200_require_own_prompt
  before insert on llm.prompt_shares
  for each row
  execute function llm.require_own_prompt();
--! EndIncluded llm/triggers/prompt_shares.sql
--! Included rooms/private/change_general_chat_message.sql
-- Authors edit and delete their own messages; moderators delete any.
create or replace function private.change_general_chat_message(message_id uuid, content text)
  returns rooms.general_chat_messages
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
  v_message rooms.general_chat_messages;
  v_is_allowed boolean;
begin
  perform from identity.users u where u.id = v_user for key share;
  select m.* into v_message
  from rooms.general_chat_messages m
  where m.id = change_general_chat_message.message_id
  for no key update;
  v_is_allowed := v_message.sender_id is not distinct from v_user
    or content = '' and access.has_permission('moderate_general_chat');
  -- The same answer for a message that does not exist and for one by a user whom the caller has blocked.
  if v_message.id is null or not v_is_allowed and private.is_blocked(v_message.sender_id, v_user) then
    raise exception 'Message not found.' using errcode = 'PL404';
  elsif not v_is_allowed then
    raise exception 'This is not your message.' using errcode = 'PL403';
  elsif v_message.content = content then
    return v_message;
  elsif v_message.is_deleted then
    raise exception 'This message was deleted.' using errcode = 'PL409';
  end if;
  insert into rooms.general_chat_revisions (message_id, revision, author_id, actor_id, change, content)
  select
    v_message.id, count(*) + 1, v_message.sender_id, v_user,
    case when change_general_chat_message.content = '' then 'deleted' else 'edited' end, v_message.content
  from rooms.general_chat_revisions r
  where r.message_id = v_message.id;
  update rooms.general_chat_messages m
  set
    content = change_general_chat_message.content,
    is_deleted = change_general_chat_message.content = '',
    deleted_at = case when change_general_chat_message.content = '' then clock_timestamp() end,
    edited_at = case when change_general_chat_message.content = '' then m.edited_at else clock_timestamp() end
  where m.id = v_message.id
  returning m.* into v_message;
  return v_message;
end
$$;

comment on function private.change_general_chat_message(uuid, text) is
  'Replaces or deletes the text of a general chat message, and keeps the previous one. PL401, PL403, PL404, PL409.';
--! EndIncluded rooms/private/change_general_chat_message.sql
--! Included rooms/functions/invite_to_room.sql
create or replace function rooms.invite_to_room(
  room_id uuid,
  invitee_id uuid,
  message text default null,
  announce_in uuid default null
)
  returns rooms.room_invites
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_room rooms.chat_rooms;
  v_invite rooms.room_invites;
  v_message_id uuid;
begin
  perform private.current_room_role(invite_to_room.room_id);
  -- Before any other answer, which would differ for a room that does not exist, and before the room is locked.
  if invite_to_room.announce_in is not null then
    perform private.current_room_role(invite_to_room.announce_in);
  end if;
  perform private.lock_accounts(array[v_user, invite_to_room.invitee_id]);
  -- The room in which the invite is announced is locked too: the smaller id first, as everywhere.
  perform private.lock_room(r.id)
  from unnest(array[invite_to_room.room_id, invite_to_room.announce_in]) r (id)
  where r.id is not null
  order by r.id;
  v_room := private.lock_room(invite_to_room.room_id);
  if v_room.room_type = 'direct' then
    raise exception 'You cannot invite anyone to a direct room.' using errcode = 'PL409';
  elsif v_room.room_type = 'private' then
    perform private.require_room_moderator(v_room.id);
  end if;
  if not exists (select from identity.users u where u.id = invite_to_room.invitee_id and u.is_active)
    or private.is_blocked(v_user, invite_to_room.invitee_id)
    or exists (select from rooms.room_bans b where b.room_id = v_room.id and b.user_id = invite_to_room.invitee_id)
  then
    raise exception 'User not found, or you may not invite them.' using errcode = 'PL404', column = 'invitee_id';
  elsif exists (select from rooms.room_members m where m.room_id = v_room.id and m.user_id = invite_to_room.invitee_id) then
    raise exception 'This user is already a member.' using errcode = 'PL409', column = 'invitee_id';
  end if;
  select i.* into v_invite
  from rooms.room_invites i
  where i.room_id = v_room.id and i.invitee_id = invite_to_room.invitee_id
  for update;
  if v_invite.status = 'pending' then
    return v_invite;
  end if;
  perform private.enforce_rate_limit('room_invite_per_account', v_user::text);
  if invite_to_room.announce_in is not null then
    perform private.current_room_role(invite_to_room.announce_in);
    perform private.refuse_blocked_direct(invite_to_room.announce_in, v_user);
    insert into rooms.room_messages as m (room_id, sender_id, message_type, content, metadata)
    values (
      invite_to_room.announce_in, v_user, 'invite', coalesce(invite_to_room.message, v_room.name),
      jsonb_build_object('room_id', v_room.id)
    )
    returning m.id into v_message_id;
  end if;
  insert into rooms.room_invites as i (room_id, inviter_id, invitee_id, message, message_id)
  values (v_room.id, v_user, invite_to_room.invitee_id, invite_to_room.message, v_message_id)
  on conflict on constraint room_invites_room_id_invitee_id_key do update
  set
    inviter_id = excluded.inviter_id, message = excluded.message, message_id = excluded.message_id,
    status = 'pending', responded_at = null, created_at = excluded.created_at
  returning i.* into v_invite;
  return v_invite;
end
$$;

comment on function rooms.invite_to_room(uuid, uuid, text, uuid) is
  'Invites a user, with an optional note and, in announceIn (a room that both may be in), as a message of type invite. An open invite is returned unchanged. Members invite to groups, moderators to private rooms. PL403, PL404 for a user who cannot be invited, PL409, PL429.';
grant execute on function rooms.invite_to_room(uuid, uuid, text, uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/invite_to_room.sql
--! Included learning/triggers/content_items.sql
create or replace function learning.record_changed_content()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_items uuid[];
  v_courses uuid[];
  v_durations uuid[];
  v_can_complete boolean;
begin
  if tg_op = 'UPDATE' then
    select
      array_agg(n.id),
      array_remove(array_agg(distinct o.course_id) || array_agg(distinct n.course_id), null),
      array_agg(n.id) filter (where o.duration_seconds is distinct from n.duration_seconds and n.duration_seconds is not null),
      -- Content that only grows completes nothing, unless a user had completed it before.
      bool_or(
        o.course_id is distinct from n.course_id
        or o.available_from is not null and (
          n.available_from is null
          or n.available_from > o.available_from
          or coalesce(n.available_until, 'infinity') < coalesce(o.available_until, 'infinity')
        )
        or exists (select from learning.content_progress p where p.item_id = n.id and p.completed_at is not null)
      )
    into v_items, v_courses, v_durations, v_can_complete
    from old_items o
    join new_items n on n.id = o.id
    where (o.course_id, o.available_from, o.available_until, o.duration_seconds)
      is distinct from (n.course_id, n.available_from, n.available_until, n.duration_seconds);
    if v_items is null then
      return null;
    end if;
    delete from private.completion_checks c where c.item_id = any (v_items);
    insert into private.completion_checks (item_id, due_at)
    select i.id, t.due_at
    from learning.content_items i
    cross join lateral (values (i.available_from), (i.available_until)) as t (due_at)
    where i.id = any (v_items) and i.available_from is not null and t.due_at > now() and isfinite(t.due_at)
    on conflict do nothing;
    if current_setting('plinth.settles_lessons', true) = 'on' then
      return null;
    end if;
    -- The parts that followed a course have had their own statement.
    v_items := v_items || array(select i.id from learning.content_items i where i.course_id = any (v_items));
    v_courses := v_courses || v_items;
  else
    select array_agg(o.id), array_remove(array_agg(distinct o.course_id), null), true
    into v_items, v_courses, v_can_complete
    from old_items o;
  end if;
  if v_durations is not null then
    perform private.complete_played_items(v_durations);
  end if;
  if v_can_complete then
    perform private.record_completions(
      v_courses,
      array(select distinct cs.skill_id from learning.content_skills cs where cs.item_id = any (v_items))
    );
  end if;
  return null;
end
$$;

comment on function learning.record_changed_content() is
  'Trigger: records which courses and trainings a change of content completed, and the next time that availability changes.';

create or replace trigger _050_record_content_before
  before insert or update or delete on learning.content_items
  for each statement
  execute function learning.record_content_before();

create or replace trigger _800_record_updated_content
  after update on learning.content_items
  referencing old table as old_items new table as new_items
  for each statement
  execute function learning.record_changed_content();

create or replace trigger _800_record_deleted_content
  after delete on learning.content_items
  referencing old table as old_items
  for each statement
  execute function learning.record_changed_content();

-- An item stores its effective window and level, including those of its course, so that a policy reads one row. The course is
-- locked against concurrent change, and its own changes reach its lessons by the trigger below.
create or replace function learning.settle_content_item()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_course learning.content_items;
begin
  new.tags := array(
    select distinct lower(btrim(t.tag)) from unnest(new.tags) as t (tag) where btrim(t.tag) <> '' order by 1
  );
  if exists (select from unnest(new.tags) as t (tag) where length(t.tag) > 60 or t.tag ~ '[[:cntrl:],]') then
    raise exception 'A tag must have at most 60 characters and no comma.'
      using errcode = 'PL422', schema = 'learning', table = 'content_items', column = 'tags';
  end if;

  new.effective_access_level := coalesce(new.required_access_level, 0);
  new.available_from := case when new.deleted_at is null and new.current_version is not null then new.publish_from end;
  new.available_until := new.publish_until;
  if new.course_id is not null then
    select * into v_course from learning.content_items c where c.id = new.course_id for share;
    new.effective_access_level := coalesce(new.required_access_level, v_course.effective_access_level, 0);
    -- greatest() would ignore the null of a course that does not exist.
    new.available_from := case when v_course.available_from is not null and new.available_from is not null
      then greatest(new.available_from, v_course.available_from) end;
    new.available_until := least(new.available_until, v_course.available_until);
  elsif tg_op = 'UPDATE' and new.content_type <> 'course' and old.content_type = 'course'
    and exists (select from learning.content_items i where i.course_id = new.id)
  then
    raise exception 'A course with parts must stay a course.'
      using errcode = 'PL409', schema = 'learning', table = 'content_items', column = 'content_type';
  end if;
  return new;
end
$$;

comment on function learning.settle_content_item() is
  'Trigger: normalizes the tags, and computes level and window from those of the item and its course.';

create or replace trigger _200_settle_content_item
  before insert or update of
    course_id, content_type, tags, required_access_level, current_version, publish_from, publish_until, deleted_at,
    effective_access_level, available_from, available_until
  on learning.content_items
  for each row
  execute function learning.settle_content_item();

-- After the policies: a caller who may not write items must not learn which of them are courses.
create or replace function learning.check_course()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if exists (select from learning.content_items c where c.id = new.course_id and c.content_type <> 'course') then
    raise exception 'Only a course can have parts.'
      using errcode = 'PL422', schema = 'learning', table = 'content_items', column = 'course_id';
  end if;
  return null;
end
$$;

comment on function learning.check_course() is 'Trigger: raises PL422 for a part of an item that is not a course.';

create or replace trigger _490_check_course
  after insert or update of course_id on learning.content_items
  for each row
  when (new.course_id is not null)
  execute function learning.check_course();

create or replace function learning.settle_lessons()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  -- For learning.record_changed_content, which runs at the end of the whole statement.
  perform set_config('plinth.settles_lessons', 'on', true);
  update learning.content_items i set available_from = i.available_from where i.course_id = new.id;
  perform set_config('plinth.settles_lessons', 'off', true);
  return null;
end
$$;

comment on function learning.settle_lessons() is 'Trigger: copies a course''s new window or level to its lessons.';

create or replace trigger _500_settle_lessons
  after update on learning.content_items
  for each row
  when (
    new.content_type = 'course'
    and (old.available_from, old.available_until, old.effective_access_level)
      is distinct from (new.available_from, new.available_until, new.effective_access_level)
  )
  execute function learning.settle_lessons();

create or replace trigger _110_lock_prerequisites
  before update of course_id on learning.content_items
  for each statement
  execute function learning.lock_prerequisites();

-- A lesson that moves to another course takes on that course's prerequisites.
create or replace function learning.check_moved_lesson()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if exists (
    select
    from learning.content_prerequisites p
    cross join lateral private.content_required_for(p.required_item_id) as r (id)
    where p.item_id in (new.id, new.course_id)
      and r.id in (new.id, new.course_id)
  ) then
    raise exception 'This would make the prerequisites circular.'
      using errcode = 'PL409', schema = 'learning', table = 'content_items', column = 'course_id';
  end if;
  return null;
end
$$;

comment on function learning.check_moved_lesson() is 'Trigger: raises PL409 when a move to another course makes prerequisites circular.';

create or replace trigger _510_check_moved_lesson
  after update of course_id on learning.content_items
  for each row
  when (old.course_id is distinct from new.course_id and new.course_id is not null)
  execute function learning.check_moved_lesson();
--! EndIncluded learning/triggers/content_items.sql
--! Included learning/triggers/content_skills.sql
create or replace function learning.record_changed_skills()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_skills uuid[];
begin
  if tg_op = 'INSERT' then
    v_skills := array(select distinct n.skill_id from new_skills n);
  elsif tg_op = 'DELETE' then
    v_skills := array(select distinct o.skill_id from old_skills o);
  else
    v_skills := array(select n.skill_id from new_skills n union select o.skill_id from old_skills o);
  end if;
  if v_skills <> '{}' then
    perform private.record_completions('{}', v_skills);
  end if;
  return null;
end
$$;

comment on function learning.record_changed_skills() is
  'Trigger: records which trainings a change of a skill''s items completed.';

create or replace trigger _050_record_content_before
  before insert or update or delete on learning.content_skills
  for each statement
  execute function learning.record_content_before();

create or replace trigger _800_record_added_skills
  after insert on learning.content_skills
  referencing new table as new_skills
  for each statement
  execute function learning.record_changed_skills();

create or replace trigger _800_record_updated_skills
  after update on learning.content_skills
  referencing old table as old_skills new table as new_skills
  for each statement
  execute function learning.record_changed_skills();

create or replace trigger _800_record_deleted_skills
  after delete on learning.content_skills
  referencing old table as old_skills
  for each statement
  execute function learning.record_changed_skills();

-- Invoker rights: the policies of learning.skills decide which skills the caller sees; the foreign key ignores them. The error is
-- that of the foreign key, so that a hidden skill and one that does not exist give the same answer.
create or replace function learning.require_visible_skill()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if not exists (select from learning.skills s where s.id = new.skill_id) then
    raise exception 'The skill does not exist, or the caller may not see it.'
      using errcode = '23503', schema = 'learning', table = 'content_skills', constraint = 'content_skills_skill_id_fkey';
  end if;
  return null;
end
$$;

comment on function learning.require_visible_skill() is
  'Trigger: raises 23503 for a skill that the caller cannot see.';

create or replace trigger _490_require_visible_skill
  after insert on learning.content_skills
  for each row
  execute function learning.require_visible_skill();
--! EndIncluded learning/triggers/content_skills.sql
