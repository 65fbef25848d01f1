-- Schema rooms as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema rooms;
comment on schema rooms is 'Rooms, their members, messages and invites, and the general chat.';
grant usage on schema rooms to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Types and sequences ---------------------------------------------------------------------------------

-- Kind of a room event.
create domain rooms.room_event_kind as text
  constraint room_event_kind_check check (value = any (array['message_posted'::text, 'message_edited'::text, 'message_deleted'::text, 'message_restored'::text, 'reactions_changed'::text, 'member_joined'::text, 'member_left'::text, 'member_changed'::text, 'room_changed'::text]));

comment on domain rooms.room_event_kind is 'Kind of a room event.';
comment on constraint room_event_kind_check on domain rooms.room_event_kind is E'message_posted: A message was posted.\nmessage_edited: A message was edited.\nmessage_deleted: A message was deleted.\nmessage_restored: A deleted message was restored.\nreactions_changed: The reactions to a message changed.\nmember_joined: A member joined.\nmember_left: A member left or was removed.\nmember_changed: A member''s role or settings changed.\nroom_changed: The room''s settings changed.';

-- Tables ----------------------------------------------------------------------------------------------

-- One row per room.
create table rooms.chat_rooms (
  id uuid not null default plinth.uuid_v7(),
  creator_id uuid default plinth.current_user_id(),
  name text not null default ''::text,
  description text not null default ''::text,
  room_type text not null default 'group'::text,
  is_public boolean not null default false,
  has_password boolean not null default false,
  ai_enabled boolean not null default false,
  history_is_shared boolean not null default true,
  last_sequence bigint not null default 0,
  last_event_sequence bigint not null default 0,
  audience_version bigint not null default 0,
  last_activity_at timestamp with time zone not null default now(),
  idempotency_key uuid,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  model_id uuid,
  constraint chat_rooms_pkey primary key (id),
  constraint chat_rooms_counters_are_not_negative check (last_sequence >= 0 and last_event_sequence >= last_sequence),
  constraint chat_rooms_description_check check (length(description) <= 2000),
  constraint chat_rooms_direct_ones_have_no_password check (not has_password or room_type <> 'direct'::text),
  constraint chat_rooms_name_check check (length(name) <= 200 and name !~ '[[:cntrl:]]'::text),
  constraint chat_rooms_only_groups_are_public check (not is_public or room_type = 'group'::text),
  constraint chat_rooms_room_type_check check (room_type = any (array['direct'::text, 'group'::text, 'private'::text])),
  constraint chat_rooms_creator_id_fkey foreign key (creator_id) references identity.users(id) on delete set null,
  constraint chat_rooms_model_id_fkey foreign key (model_id) references llm.models(id) on delete set null
) with (fillfactor=70);

alter table rooms.chat_rooms enable row level security;

create index chat_rooms_creator_id_idx on rooms.chat_rooms using btree (creator_id);
create unique index chat_rooms_idempotency_key_idx on rooms.chat_rooms using btree (creator_id, idempotency_key) where (idempotency_key is not null);
create index chat_rooms_is_public_idx on rooms.chat_rooms using btree (id) where is_public;
create index chat_rooms_model_id_idx on rooms.chat_rooms using btree (model_id);

create trigger _100_lock_account
  before update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each statement
  execute function private.lock_acting_account();
create trigger _100_lock_audience
  before delete on rooms.chat_rooms
  for each row
  execute function private.lock_audience_of_room();
create trigger _100_number
  before update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each row
  when (old.name is distinct from new.name or old.description is distinct from new.description or old.is_public is distinct from new.is_public or old.has_password is distinct from new.has_password or old.ai_enabled is distinct from new.ai_enabled or old.history_is_shared is distinct from new.history_is_shared)
  execute function private.number_room_change();
create trigger _100_room_models
  before update of model_id on rooms.chat_rooms
  for each row
  when (new.model_id is not null and new.model_id is distinct from old.model_id)
  execute function rooms.check_room_model();
create trigger _500_follow
  after update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each row
  when (old.name is distinct from new.name or old.description is distinct from new.description or old.is_public is distinct from new.is_public or old.has_password is distinct from new.has_password or old.ai_enabled is distinct from new.ai_enabled or old.history_is_shared is distinct from new.history_is_shared)
  execute function private.follow_room_change();
create trigger _900_touch_updated_at
  before update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each row
  execute function plinth.touch_updated_at();

comment on table rooms.chat_rooms is 'One row per room.';
comment on column rooms.chat_rooms.id is 'Id (UUIDv7).';
comment on column rooms.chat_rooms.creator_id is 'The creator; null for a deleted account.';
comment on column rooms.chat_rooms.name is 'Name shown to people, at most 200 characters; empty for most direct rooms.';
comment on column rooms.chat_rooms.description is 'Description of the room''s purpose.';
comment on column rooms.chat_rooms.room_type is 'Type: direct (two users, one room per pair), group, or private (only moderators can invite).';
comment on column rooms.chat_rooms.is_public is 'Whether the room is listed for all signed-in users, who may join; groups only.';
comment on column rooms.chat_rooms.has_password is 'Whether joining without an invite needs a password.';
comment on column rooms.chat_rooms.ai_enabled is 'Whether an AI is a member.';
comment on column rooms.chat_rooms.history_is_shared is 'Whether new members see messages from before they joined.';
comment on column rooms.chat_rooms.last_sequence is 'Number of messages ever posted; the sequence of the latest message.';
comment on column rooms.chat_rooms.last_event_sequence is 'Number of events; the sequence of the latest event.';
comment on column rooms.chat_rooms.audience_version is E'@behavior -*\nVersion of the audience; it rises when a user joins or blocks another. An answer generated for an earlier audience is not posted to a later one.';
comment on column rooms.chat_rooms.last_activity_at is 'Time of the latest message, or of the creation of the room.';
comment on column rooms.chat_rooms.idempotency_key is E'@behavior -*\nIdempotency key of the request that created the room; a repeated request creates no second room.';
comment on column rooms.chat_rooms.created_at is 'Time when the room was created.';
comment on column rooms.chat_rooms.updated_at is 'Time of the last change of name or settings.';
comment on column rooms.chat_rooms.model_id is 'Model with which the server answers as the room''s AI; null if the application answers, or the AI stays silent.';
comment on constraint chat_rooms_room_type_check on rooms.chat_rooms is E'@name room_type\nType of a room.\ndirect: Two users; each pair has one such room.\ngroup: Members can invite others.\nprivate: Only moderators can invite others.';
comment on constraint chat_rooms_creator_id_fkey on rooms.chat_rooms is '@behavior -*';

create policy delete_creator on rooms.chat_rooms
  for delete to :PLINTH_USER
  using ((id in (select rooms.own_room_ids())));
comment on policy delete_creator on rooms.chat_rooms is 'Creators delete their rooms with all contents.';
create policy select_visible on rooms.chat_rooms
  for select to :PLINTH_USER
  using ((id = any ((array(select rooms.my_room_ids())))) or is_public or (id = any ((array(select rooms.invited_room_ids())))));
comment on policy select_visible on rooms.chat_rooms is 'Users see their rooms, public ones, and those they are invited to.';
create policy update_moderator on rooms.chat_rooms
  for update to :PLINTH_USER
  using ((id in (select rooms.moderated_room_ids())))
  with check ((id in (select rooms.moderated_room_ids())));
comment on policy update_moderator on rooms.chat_rooms is 'Moderators change the name and settings of their rooms.';

grant
  select,
  update (name, description, is_public, ai_enabled, history_is_shared, model_id),
  delete
  on rooms.chat_rooms to :PLINTH_USER;

-- One row per message of the chat shared by all signed-in users.
create table rooms.general_chat_messages (
  id uuid not null default plinth.uuid_v7(),
  sender_id uuid default plinth.current_user_id(),
  content text not null,
  is_deleted boolean not null default false,
  idempotency_key uuid,
  edited_at timestamp with time zone,
  deleted_at timestamp with time zone,
  created_at timestamp with time zone not null default clock_timestamp(),
  constraint general_chat_messages_pkey primary key (id),
  constraint general_chat_messages_content_check check (octet_length(content) <= 4000),
  constraint general_chat_messages_deleted_at_tells_is_deleted check ((deleted_at is not null) = is_deleted),
  constraint general_chat_messages_have_content_until_deleted check ((content = ''::text) = is_deleted),
  constraint general_chat_messages_sender_id_fkey foreign key (sender_id) references identity.users(id) on delete set null
);

alter table rooms.general_chat_messages enable row level security;

create index general_chat_messages_created_at_idx on rooms.general_chat_messages using btree (created_at);
create unique index general_chat_messages_idempotency_key_idx on rooms.general_chat_messages using btree (sender_id, idempotency_key) where (idempotency_key is not null);
create index general_chat_messages_sender_id_created_at_idx on rooms.general_chat_messages using btree (sender_id, created_at);

comment on table rooms.general_chat_messages is E'@foreignKey (sender_id) references identity.profiles (id)|@fieldName senderProfile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nOne row per message of the chat shared by all signed-in users.';
comment on column rooms.general_chat_messages.id is 'Id (UUIDv7).';
comment on column rooms.general_chat_messages.sender_id is 'The sender; null for a deleted account.';
comment on column rooms.general_chat_messages.content is 'Text of the message, at most 4,000 bytes; empty if deleted.';
comment on column rooms.general_chat_messages.is_deleted is 'Whether the message was deleted; its content is then in general_chat_revisions.';
comment on column rooms.general_chat_messages.idempotency_key is E'@behavior -*\nIdempotency key of the request; a repeated request posts no second message.';
comment on column rooms.general_chat_messages.edited_at is 'Time of the last edit, or null.';
comment on column rooms.general_chat_messages.deleted_at is 'Time of deletion, or null.';
comment on column rooms.general_chat_messages.created_at is 'Time when the message was posted.';
comment on constraint general_chat_messages_sender_id_fkey on rooms.general_chat_messages is '@behavior -*';

create policy select_unblocked on rooms.general_chat_messages
  for select to :PLINTH_USER
  using ((select plinth.current_user_id()) is not null and not (exists ( select
   from rooms.user_blocks b
  where b.user_id = (select plinth.current_user_id()) and b.blocked_id = general_chat_messages.sender_id)));
comment on policy select_unblocked on rooms.general_chat_messages is 'Signed-in users read the general chat, except messages by users they have blocked.';

grant select on rooms.general_chat_messages to :PLINTH_USER;

-- One row per user who is muted in the general chat.
create table rooms.general_chat_mutes (
  user_id uuid not null,
  muted_by uuid default plinth.current_user_id(),
  reason text,
  muted_until timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  constraint general_chat_mutes_pkey primary key (user_id),
  constraint general_chat_mutes_reason_check check (length(reason) >= 1 and length(reason) <= 1000),
  constraint general_chat_mutes_muted_by_fkey foreign key (muted_by) references identity.users(id) on delete set null,
  constraint general_chat_mutes_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table rooms.general_chat_mutes enable row level security;

create index general_chat_mutes_muted_by_idx on rooms.general_chat_mutes using btree (muted_by);

comment on table rooms.general_chat_mutes is E'@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nOne row per user who is muted in the general chat.';
comment on column rooms.general_chat_mutes.user_id is 'The muted user.';
comment on column rooms.general_chat_mutes.muted_by is 'The moderator who muted the user; null for a deleted account.';
comment on column rooms.general_chat_mutes.reason is 'Reason for the mute, shown to the user, or null.';
comment on column rooms.general_chat_mutes.muted_until is 'End of the mute; null if permanent.';
comment on column rooms.general_chat_mutes.created_at is 'Time when the user was muted.';
comment on constraint general_chat_mutes_muted_by_fkey on rooms.general_chat_mutes is '@behavior -*';
comment on constraint general_chat_mutes_user_id_fkey on rooms.general_chat_mutes is '@behavior -*';

create policy all_moderator on rooms.general_chat_mutes
  for all to :PLINTH_USER
  using ((select access.has_permission('moderate_general_chat'::text)) and user_id <> (select plinth.current_user_id()))
  with check ((select access.has_permission('moderate_general_chat'::text)) and user_id <> (select plinth.current_user_id()) and access.may_administer(user_id));
comment on policy all_moderator on rooms.general_chat_mutes is 'Users with moderate_general_chat mute and unmute others, but not users with more permissions.';
create policy select_own on rooms.general_chat_mutes
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on rooms.general_chat_mutes is 'Users see whether they are muted, and why.';

grant
  select,
  insert (user_id, reason, muted_until),
  update (reason, muted_until),
  delete
  on rooms.general_chat_mutes to :PLINTH_USER;

-- One row per earlier text of a general chat message, from before it was edited or deleted.
create table rooms.general_chat_revisions (
  message_id uuid not null,
  revision integer not null,
  author_id uuid,
  actor_id uuid,
  change text not null,
  content text not null,
  created_at timestamp with time zone not null default now(),
  constraint general_chat_revisions_pkey primary key (message_id, revision),
  constraint general_chat_revisions_change_check check (change = any (array['edited'::text, 'deleted'::text])),
  constraint general_chat_revisions_revision_is_positive check (revision > 0),
  constraint general_chat_revisions_actor_id_fkey foreign key (actor_id) references identity.users(id) on delete set null,
  constraint general_chat_revisions_author_id_fkey foreign key (author_id) references identity.users(id) on delete cascade,
  constraint general_chat_revisions_message_id_fkey foreign key (message_id) references rooms.general_chat_messages(id) on delete cascade
);

alter table rooms.general_chat_revisions enable row level security;

create index general_chat_revisions_actor_id_idx on rooms.general_chat_revisions using btree (actor_id);
create index general_chat_revisions_author_id_idx on rooms.general_chat_revisions using btree (author_id);

comment on table rooms.general_chat_revisions is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\nOne row per earlier text of a general chat message, from before it was edited or deleted.';
comment on column rooms.general_chat_revisions.message_id is 'The message.';
comment on column rooms.general_chat_revisions.revision is 'Number of the revision: 1, 2, 3 in the order of the changes.';
comment on column rooms.general_chat_revisions.author_id is 'The author of the message.';
comment on column rooms.general_chat_revisions.actor_id is 'The account that edited or deleted it; null for a deleted account.';
comment on column rooms.general_chat_revisions.change is 'Kind of change: edited or deleted.';
comment on column rooms.general_chat_revisions.content is 'Text before the change.';
comment on column rooms.general_chat_revisions.created_at is 'Time of the change.';
comment on constraint general_chat_revisions_change_check on rooms.general_chat_revisions is E'@name revision_change\nChange that replaced an earlier text of a message.\nedited: The message was edited.\ndeleted: The message was deleted.';
comment on constraint general_chat_revisions_actor_id_fkey on rooms.general_chat_revisions is '@behavior -*';
comment on constraint general_chat_revisions_author_id_fkey on rooms.general_chat_revisions is '@behavior -*';
comment on constraint general_chat_revisions_message_id_fkey on rooms.general_chat_revisions is '@foreignFieldName revisions';

create policy select_concerned on rooms.general_chat_revisions
  for select to :PLINTH_USER
  using (author_id = (select plinth.current_user_id()) or (select access.has_permission('moderate_general_chat'::text)));
comment on policy select_concerned on rooms.general_chat_revisions is 'Authors read the earlier texts of their own messages, moderators of the general chat read all.';

grant select on rooms.general_chat_revisions to :PLINTH_USER;

-- One row: settings of the general chat.
create table rooms.general_chat_settings (
  id boolean not null default true,
  is_open boolean not null default true,
  slow_mode_seconds integer not null default 2,
  updated_at timestamp with time zone not null default now(),
  constraint general_chat_settings_pkey primary key (id),
  constraint general_chat_settings_are_one_row check (id),
  constraint general_chat_settings_slow_mode_seconds_check check (slow_mode_seconds >= 0 and slow_mode_seconds <= 86400)
);

alter table rooms.general_chat_settings enable row level security;

create trigger _900_touch_updated_at
  before update on rooms.general_chat_settings
  for each row
  execute function plinth.touch_updated_at();

comment on table rooms.general_chat_settings is 'One row: settings of the general chat.';
comment on column rooms.general_chat_settings.id is 'Always true: the table has one row.';
comment on column rooms.general_chat_settings.is_open is 'Whether all users may write; if false, only moderators can.';
comment on column rooms.general_chat_settings.slow_mode_seconds is 'Minimum time between two messages of a user, in seconds; 0 disables slow mode. Moderators are exempt.';
comment on column rooms.general_chat_settings.updated_at is 'Time of the last change.';

create policy select_all on rooms.general_chat_settings
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on rooms.general_chat_settings is 'Signed-in users read the settings of the general chat.';
create policy update_moderator on rooms.general_chat_settings
  for update to :PLINTH_USER
  using ((select access.has_permission('moderate_general_chat'::text)))
  with check ((select access.has_permission('moderate_general_chat'::text)));
comment on policy update_moderator on rooms.general_chat_settings is 'Users with moderate_general_chat change the settings of the general chat.';

grant select, update (is_open, slow_mode_seconds) on rooms.general_chat_settings to :PLINTH_USER;

-- One row per user who announced presence. Unlogged.
create unlogged table rooms.presence (
  user_id uuid not null,
  status text not null,
  expires_at timestamp with time zone not null,
  constraint presence_pkey primary key (user_id),
  constraint presence_status_check check (status = any (array['online'::text, 'away'::text, 'offline'::text])),
  constraint presence_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
) with (fillfactor=50);

alter table rooms.presence enable row level security;

comment on table rooms.presence is E'@behavior -query:resource:list -query:resource:connection -query:resource:single -manyRelation:resource:list -manyRelation:resource:connection -singularRelation:resource:single\n@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior +singularRelation:resource:single -manyRelation:resource:list -manyRelation:resource:connection\nOne row per user who announced presence. Unlogged.';
comment on column rooms.presence.user_id is 'The user.';
comment on column rooms.presence.status is 'Status: online or away. Users without a row are offline.';
comment on column rooms.presence.expires_at is 'Time when the announcement expires.';
comment on constraint presence_status_check on rooms.presence is E'Status of a member''s presence.\nonline: Present.\naway: Signed in, but not active.\noffline: Not present.';

create policy select_fellow_member on rooms.presence
  for select to :PLINTH_USER
  using (expires_at > statement_timestamp() and (user_id = (select plinth.current_user_id()) or (exists ( select
   from rooms.room_members m
  where m.user_id = presence.user_id and (m.room_id in (select rooms.my_room_ids()))))) and not (user_id = any ((( select array( select b.blocked_id
           from rooms.user_blocks b
          where b.user_id = (select plinth.current_user_id())) as "array"))::uuid[])));
comment on policy select_fellow_member on rooms.presence is 'Users see who of the people in their rooms is present, except users they have blocked.';

grant select on rooms.presence to :PLINTH_USER;

-- One row per room whose AI answers with a model: the answer being written, or the last one.
create table rooms.room_answers (
  room_id uuid not null,
  reply_to_id uuid not null,
  message_id uuid,
  audience_version bigint not null,
  state text not null default 'streaming'::text,
  error_code text,
  pieces text[] not null default '{}'::text[],
  first_sequence bigint not null,
  last_sequence bigint not null,
  started_at timestamp with time zone not null default clock_timestamp(),
  ended_at timestamp with time zone,
  constraint room_answers_pkey primary key (room_id),
  constraint room_answers_end_with_a_time check ((ended_at is not null) = (state <> 'streaming'::text)),
  constraint room_answers_error_code_check check (length(error_code) >= 1 and length(error_code) <= 100),
  constraint room_answers_only_broken_off_ones_have_an_error check ((error_code is not null) = (state = 'broken_off'::text)),
  constraint room_answers_only_complete_ones_have_a_message check ((message_id is not null) = (state = 'complete'::text)),
  constraint room_answers_sequences_grow check (first_sequence >= 1 and last_sequence >= first_sequence),
  constraint room_answers_state_check check (state = any (array['streaming'::text, 'complete'::text, 'broken_off'::text])),
  constraint room_answers_message_id_fkey foreign key (message_id) references rooms.room_messages(id) on delete cascade,
  constraint room_answers_reply_to_id_fkey foreign key (reply_to_id) references rooms.room_messages(id) on delete cascade,
  constraint room_answers_room_id_fkey foreign key (room_id) references rooms.chat_rooms(id) on delete cascade
) with (fillfactor=50);

alter table rooms.room_answers enable row level security;

create index room_answers_message_id_idx on rooms.room_answers using btree (message_id);
create index room_answers_reply_to_id_idx on rooms.room_answers using btree (reply_to_id);

comment on table rooms.room_answers is E'@behavior -*\nOne row per room whose AI answers with a model: the answer being written, or the last one.';
comment on column rooms.room_answers.room_id is 'The room.';
comment on column rooms.room_answers.reply_to_id is 'The message that is answered.';
comment on column rooms.room_answers.message_id is 'The answer as a message; null until it is complete.';
comment on column rooms.room_answers.audience_version is 'Audience of the room when the model read its context.';
comment on column rooms.room_answers.state is 'State: streaming, complete or broken_off.';
comment on column rooms.room_answers.error_code is 'Reason for a broken-off answer, or null.';
comment on column rooms.room_answers.pieces is 'Text so far, in pieces as they arrived.';
comment on column rooms.room_answers.first_sequence is 'Sequence number before the first piece; increases with each answer of the room.';
comment on column rooms.room_answers.last_sequence is 'Sequence number of the last piece or of the end.';
comment on column rooms.room_answers.started_at is 'Time when the answer started.';
comment on column rooms.room_answers.ended_at is 'Time when the answer ended; null while it is being written.';
comment on constraint room_answers_state_check on rooms.room_answers is E'State of an answer of a room''s AI.\nstreaming: The model is writing it.\ncomplete: It is a message of the room.\nbroken_off: It ended early; errorCode says why.';

create policy select_member on rooms.room_answers
  for select to :PLINTH_USER
  using ((room_id = any ((array(select rooms.my_room_ids())))) and audience_version = (( select r.audience_version
   from rooms.chat_rooms r
  where r.id = room_answers.room_id)));
comment on policy select_member on rooms.room_answers is 'Members read the answer that their room''s AI is writing, until its audience changes.';

grant select on rooms.room_answers to :PLINTH_USER;

-- One row per room and user banned from it.
create table rooms.room_bans (
  room_id uuid not null,
  user_id uuid not null,
  banned_by uuid,
  reason text,
  created_at timestamp with time zone not null default now(),
  constraint room_bans_pkey primary key (room_id, user_id),
  constraint room_bans_reason_check check (length(reason) >= 1 and length(reason) <= 1000),
  constraint room_bans_banned_by_fkey foreign key (banned_by) references identity.users(id) on delete set null,
  constraint room_bans_room_id_fkey foreign key (room_id) references rooms.chat_rooms(id) on delete cascade,
  constraint room_bans_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table rooms.room_bans enable row level security;

create index room_bans_banned_by_idx on rooms.room_bans using btree (banned_by);
create index room_bans_user_id_idx on rooms.room_bans using btree (user_id);

comment on table rooms.room_bans is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nOne row per room and user banned from it.';
comment on column rooms.room_bans.room_id is 'The room.';
comment on column rooms.room_bans.user_id is 'The user who cannot join or be invited.';
comment on column rooms.room_bans.banned_by is 'The moderator who banned the user; null for a deleted account.';
comment on column rooms.room_bans.reason is 'Reason for the ban, or null.';
comment on column rooms.room_bans.created_at is 'Time of the ban.';
comment on constraint room_bans_banned_by_fkey on rooms.room_bans is '@behavior -*';
comment on constraint room_bans_room_id_fkey on rooms.room_bans is '@foreignFieldName bans';
comment on constraint room_bans_user_id_fkey on rooms.room_bans is '@behavior -*';

create policy all_moderator on rooms.room_bans
  for all to :PLINTH_USER
  using ((room_id in (select rooms.moderated_room_ids())))
  with check ((room_id in (select rooms.moderated_room_ids())));
comment on policy all_moderator on rooms.room_bans is 'Moderators see and lift the bans of their rooms.';

grant select, delete on rooms.room_bans to :PLINTH_USER;

-- One row per event of a room other than a posted message; see the view room_events.
create table rooms.room_changes (
  room_id uuid not null,
  sequence bigint not null,
  kind text not null,
  message_id uuid,
  user_id uuid,
  created_at timestamp with time zone not null default now(),
  constraint room_changes_pkey primary key (room_id, sequence),
  constraint room_changes_kind_check check (kind = any (array['message_edited'::text, 'message_deleted'::text, 'message_restored'::text, 'reactions_changed'::text, 'member_joined'::text, 'member_left'::text, 'member_changed'::text, 'room_changed'::text])),
  constraint room_changes_name_the_message_of_message_events check ((message_id is not null) = (kind ~~ 'message\_%'::text or kind = 'reactions_changed'::text)),
  constraint room_changes_sequence_is_positive check (sequence > 0),
  constraint room_changes_message_id_fkey foreign key (message_id) references rooms.room_messages(id) on delete cascade,
  constraint room_changes_room_id_fkey foreign key (room_id) references rooms.chat_rooms(id) on delete cascade,
  constraint room_changes_user_id_fkey foreign key (user_id) references identity.users(id) on delete set null
);

alter table rooms.room_changes enable row level security;

create index room_changes_created_at_idx on rooms.room_changes using brin (created_at);
create index room_changes_message_id_idx on rooms.room_changes using btree (message_id);
create index room_changes_user_id_idx on rooms.room_changes using btree (user_id);

comment on table rooms.room_changes is E'@behavior -*\nOne row per event of a room other than a posted message; see the view room_events.';
comment on column rooms.room_changes.room_id is 'The room.';
comment on column rooms.room_changes.sequence is 'Number of the event in the room.';
comment on column rooms.room_changes.kind is 'Kind of event.';
comment on column rooms.room_changes.message_id is 'The message concerned, or null.';
comment on column rooms.room_changes.user_id is 'The member concerned, or the user who acted; null for the AI and deleted accounts.';
comment on column rooms.room_changes.created_at is 'Time of the event.';
comment on constraint room_changes_user_id_fkey on rooms.room_changes is '@behavior -*';

create policy select_member on rooms.room_changes
  for select to :PLINTH_USER
  using ((exists ( select
   from rooms.room_members m
  where m.room_id = room_changes.room_id and m.user_id = (select plinth.current_user_id()) and m.visible_after < room_changes.sequence)) and (message_id is null or rooms.can_see_message(message_id)));
comment on policy select_member on rooms.room_changes is 'Members read the events of their rooms that concern messages they may see.';

grant select on rooms.room_changes to :PLINTH_USER;

-- One row per room and user invited to it; a new invite replaces a declined one.
create table rooms.room_invites (
  id uuid not null default plinth.uuid_v7(),
  room_id uuid not null,
  inviter_id uuid not null default plinth.current_user_id(),
  invitee_id uuid not null,
  message_id uuid,
  message text,
  status text not null default 'pending'::text,
  responded_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  constraint room_invites_pkey primary key (id),
  constraint room_invites_room_id_invitee_id_key unique (room_id, invitee_id),
  constraint room_invites_answered_ones_say_when check ((responded_at is null) = (status = 'pending'::text)),
  constraint room_invites_message_check check (length(message) >= 1 and length(message) <= 1000),
  constraint room_invites_nobody_invites_themselves check (inviter_id <> invitee_id),
  constraint room_invites_status_check check (status = any (array['pending'::text, 'accepted'::text, 'declined'::text])),
  constraint room_invites_invitee_id_fkey foreign key (invitee_id) references identity.users(id) on delete cascade,
  constraint room_invites_inviter_id_fkey foreign key (inviter_id) references identity.users(id) on delete cascade,
  constraint room_invites_message_id_fkey foreign key (message_id) references rooms.room_messages(id) on delete set null,
  constraint room_invites_room_id_fkey foreign key (room_id) references rooms.chat_rooms(id) on delete cascade
);

alter table rooms.room_invites enable row level security;

create index room_invites_invitee_id_status_idx on rooms.room_invites using btree (invitee_id, status);
create index room_invites_inviter_id_idx on rooms.room_invites using btree (inviter_id);
create index room_invites_message_id_idx on rooms.room_invites using btree (message_id);

create trigger _500_follow
  after insert or delete or update of status on rooms.room_invites
  for each row
  execute function private.follow_room_invite();

comment on table rooms.room_invites is E'@foreignKey (inviter_id) references identity.profiles (id)|@fieldName inviterProfile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\n@foreignKey (invitee_id) references identity.profiles (id)|@fieldName inviteeProfile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nOne row per room and user invited to it; a new invite replaces a declined one.';
comment on column rooms.room_invites.id is 'Id (UUIDv7).';
comment on column rooms.room_invites.room_id is 'The room of the invite.';
comment on column rooms.room_invites.inviter_id is 'The user who invites.';
comment on column rooms.room_invites.invitee_id is 'The user who is invited.';
comment on column rooms.room_invites.message_id is 'The message of type invite that announced it in another room, or null.';
comment on column rooms.room_invites.message is 'Note from the inviter, at most 1,000 characters, or null.';
comment on column rooms.room_invites.status is 'State: pending, accepted or declined.';
comment on column rooms.room_invites.responded_at is 'Time of the answer, or null.';
comment on column rooms.room_invites.created_at is 'Time when the invite was created.';
comment on constraint room_invites_status_check on rooms.room_invites is E'Status of an invite.\npending: Not yet answered.\naccepted: The user joined the room.\ndeclined: The user declined.';
comment on constraint room_invites_invitee_id_fkey on rooms.room_invites is '@behavior -*';
comment on constraint room_invites_inviter_id_fkey on rooms.room_invites is '@behavior -*';
comment on constraint room_invites_message_id_fkey on rooms.room_invites is E'@fieldName roomMessage\n@foreignFieldName roomInvites';
comment on constraint room_invites_room_id_fkey on rooms.room_invites is '@foreignFieldName invites';

create policy select_moderator on rooms.room_invites
  for select to :PLINTH_USER
  using (room_id = any ((array(select rooms.moderated_room_ids()))));
comment on policy select_moderator on rooms.room_invites is 'Moderators see the invites to their rooms.';
create policy select_own on rooms.room_invites
  for select to :PLINTH_USER
  using (invitee_id = (select plinth.current_user_id()) or inviter_id = (select plinth.current_user_id()));
comment on policy select_own on rooms.room_invites is 'Users see the invites they received and sent.';

grant select on rooms.room_invites to :PLINTH_USER;

-- One row per member of a room; deleted when the member leaves.
create table rooms.room_members (
  id uuid not null default plinth.uuid_v7(),
  room_id uuid not null,
  user_id uuid,
  role text not null default 'member'::text,
  is_muted boolean not null default false,
  is_archived boolean not null default false,
  visible_after bigint not null default 0,
  last_read_sequence bigint not null default 0,
  last_read_at timestamp with time zone,
  joined_at timestamp with time zone not null default now(),
  constraint room_members_pkey primary key (id),
  constraint room_members_room_id_user_id_key unique nulls not distinct (room_id, user_id),
  constraint room_members_only_the_ai_has_no_account check ((role = 'ai'::text) = (user_id is null)),
  constraint room_members_role_check check (role = any (array['creator'::text, 'moderator'::text, 'member'::text, 'ai'::text])),
  constraint room_members_watermarks_are_not_negative check (visible_after >= 0 and last_read_sequence >= 0),
  constraint room_members_room_id_fkey foreign key (room_id) references rooms.chat_rooms(id) on delete cascade,
  constraint room_members_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
) with (fillfactor=80);

alter table rooms.room_members enable row level security;

create index room_members_user_id_room_id_idx on rooms.room_members using btree (user_id, room_id);

create trigger _100_place
  before insert on rooms.room_members
  for each row
  execute function private.place_room_member();
create trigger _500_follow
  after insert or delete or update on rooms.room_members
  for each row
  execute function private.follow_room_member();

comment on table rooms.room_members is E'@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nOne row per member of a room; deleted when the member leaves.';
comment on column rooms.room_members.id is 'Id (UUIDv7).';
comment on column rooms.room_members.room_id is 'The room.';
comment on column rooms.room_members.user_id is 'The member; null for the AI.';
comment on column rooms.room_members.role is 'Role: creator, moderator, member or ai.';
comment on column rooms.room_members.is_muted is 'Whether the member has muted notifications; enforced by clients.';
comment on column rooms.room_members.is_archived is 'Whether the member has archived the room; enforced by clients.';
comment on column rooms.room_members.visible_after is 'Number of a room event; the member sees only what came after it.';
comment on column rooms.room_members.last_read_sequence is 'Sequence of the last message the member has read; messages up to it are not unread.';
comment on column rooms.room_members.last_read_at is 'Time when the member last marked messages as read or unread.';
comment on column rooms.room_members.joined_at is 'Time when the member joined.';
comment on constraint room_members_role_check on rooms.room_members is E'Role of a room''s member.\ncreator: Creator: manages the room and its roles.\nmoderator: Moderator: removes members and messages.\nmember: Member.\nai: An AI.';
comment on constraint room_members_room_id_fkey on rooms.room_members is '@foreignFieldName members';
comment on constraint room_members_user_id_fkey on rooms.room_members is '@behavior -*';

create policy select_own on rooms.room_members
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()) or (room_id = any ((array(select rooms.my_room_ids())))));
comment on policy select_own on rooms.room_members is 'Users see their memberships and those of the others in their rooms.';
create policy update_own on rooms.room_members
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on rooms.room_members is 'Users mute and archive their own rooms.';

grant select, update (is_muted, is_archived) on rooms.room_members to :PLINTH_USER;

-- One row per message and member mentioned in it.
create table rooms.room_message_mentions (
  message_id uuid not null,
  user_id uuid not null,
  constraint room_message_mentions_pkey primary key (message_id, user_id),
  constraint room_message_mentions_message_id_fkey foreign key (message_id) references rooms.room_messages(id) on delete cascade,
  constraint room_message_mentions_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table rooms.room_message_mentions enable row level security;

create index room_message_mentions_user_id_message_id_idx on rooms.room_message_mentions using btree (user_id, message_id);

comment on table rooms.room_message_mentions is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nOne row per message and member mentioned in it.';
comment on column rooms.room_message_mentions.message_id is 'The message.';
comment on column rooms.room_message_mentions.user_id is 'The mentioned member; never the sender.';
comment on constraint room_message_mentions_message_id_fkey on rooms.room_message_mentions is '@foreignFieldName mentions';
comment on constraint room_message_mentions_user_id_fkey on rooms.room_message_mentions is '@behavior -*';

create policy select_with_message on rooms.room_message_mentions
  for select to :PLINTH_USER
  using ((exists ( select
   from rooms.room_messages m
  where m.id = room_message_mentions.message_id)));
comment on policy select_with_message on rooms.room_message_mentions is 'Users who see a message see its mentions.';

grant select on rooms.room_message_mentions to :PLINTH_USER;

-- One row per message, member and emoji of a reaction.
create table rooms.room_message_reactions (
  message_id uuid not null,
  user_id uuid not null,
  emoji text not null,
  created_at timestamp with time zone not null default now(),
  constraint room_message_reactions_pkey primary key (message_id, user_id, emoji),
  constraint room_message_reactions_emoji_check check (length(emoji) >= 1 and length(emoji) <= 16 and emoji !~ '[[:cntrl:][:space:]]'::text),
  constraint room_message_reactions_message_id_fkey foreign key (message_id) references rooms.room_messages(id) on delete cascade,
  constraint room_message_reactions_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table rooms.room_message_reactions enable row level security;

create index room_message_reactions_user_id_idx on rooms.room_message_reactions using btree (user_id);

comment on table rooms.room_message_reactions is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nOne row per message, member and emoji of a reaction.';
comment on column rooms.room_message_reactions.message_id is 'The message.';
comment on column rooms.room_message_reactions.user_id is 'The member who reacted.';
comment on column rooms.room_message_reactions.emoji is 'Reaction: an emoji or a short word, at most 16 characters.';
comment on column rooms.room_message_reactions.created_at is 'Time of the reaction.';
comment on constraint room_message_reactions_message_id_fkey on rooms.room_message_reactions is '@foreignFieldName reactions';
comment on constraint room_message_reactions_user_id_fkey on rooms.room_message_reactions is '@behavior -*';

create policy select_with_message on rooms.room_message_reactions
  for select to :PLINTH_USER
  using ((exists ( select
   from rooms.room_messages m
  where m.id = room_message_reactions.message_id)));
comment on policy select_with_message on rooms.room_message_reactions is 'Users who see a message see its reactions.';

grant select on rooms.room_message_reactions to :PLINTH_USER;

-- One row per private message and member who may read it, besides its sender.
create table rooms.room_message_recipients (
  message_id uuid not null,
  user_id uuid not null,
  constraint room_message_recipients_pkey primary key (message_id, user_id),
  constraint room_message_recipients_message_id_fkey foreign key (message_id) references rooms.room_messages(id) on delete cascade,
  constraint room_message_recipients_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table rooms.room_message_recipients enable row level security;

create index room_message_recipients_user_id_idx on rooms.room_message_recipients using btree (user_id);

comment on table rooms.room_message_recipients is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nOne row per private message and member who may read it, besides its sender.';
comment on column rooms.room_message_recipients.message_id is 'The message.';
comment on column rooms.room_message_recipients.user_id is 'The member who may read the message.';
comment on constraint room_message_recipients_message_id_fkey on rooms.room_message_recipients is '@foreignFieldName recipients';
comment on constraint room_message_recipients_user_id_fkey on rooms.room_message_recipients is '@behavior -*';

create policy select_concerned on rooms.room_message_recipients
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()) or rooms.can_see_message(message_id));
comment on policy select_concerned on rooms.room_message_recipients is 'Users see the recipients of the private messages they see.';

grant select on rooms.room_message_recipients to :PLINTH_USER;

-- One row per earlier text of a room message, from before it was edited or deleted.
create table rooms.room_message_revisions (
  message_id uuid not null,
  revision integer not null,
  author_id uuid,
  actor_id uuid,
  change text not null,
  content text not null,
  created_at timestamp with time zone not null default now(),
  constraint room_message_revisions_pkey primary key (message_id, revision),
  constraint room_message_revisions_change_check check (change = any (array['edited'::text, 'deleted'::text])),
  constraint room_message_revisions_revision_is_positive check (revision > 0),
  constraint room_message_revisions_actor_id_fkey foreign key (actor_id) references identity.users(id) on delete set null,
  constraint room_message_revisions_author_id_fkey foreign key (author_id) references identity.users(id) on delete cascade,
  constraint room_message_revisions_message_id_fkey foreign key (message_id) references rooms.room_messages(id) on delete cascade
);

alter table rooms.room_message_revisions enable row level security;

create index room_message_revisions_actor_id_idx on rooms.room_message_revisions using btree (actor_id);
create index room_message_revisions_author_id_idx on rooms.room_message_revisions using btree (author_id);

comment on table rooms.room_message_revisions is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\nOne row per earlier text of a room message, from before it was edited or deleted.';
comment on column rooms.room_message_revisions.message_id is 'The message.';
comment on column rooms.room_message_revisions.revision is 'Number of the revision: 1, 2, 3 in the order of the changes.';
comment on column rooms.room_message_revisions.author_id is 'The author of the message; null for the AI and the system.';
comment on column rooms.room_message_revisions.actor_id is 'The account that edited or deleted it; null for a deleted account.';
comment on column rooms.room_message_revisions.change is 'Kind of change: edited or deleted.';
comment on column rooms.room_message_revisions.content is 'Text before the change.';
comment on column rooms.room_message_revisions.created_at is 'Time of the change.';
comment on constraint room_message_revisions_change_check on rooms.room_message_revisions is E'@name revision_change\nChange that replaced an earlier text of a message.\nedited: The message was edited.\ndeleted: The message was deleted.';
comment on constraint room_message_revisions_actor_id_fkey on rooms.room_message_revisions is '@behavior -*';
comment on constraint room_message_revisions_author_id_fkey on rooms.room_message_revisions is '@behavior -*';
comment on constraint room_message_revisions_message_id_fkey on rooms.room_message_revisions is '@foreignFieldName revisions';

create policy select_author on rooms.room_message_revisions
  for select to :PLINTH_USER
  using (author_id = (select plinth.current_user_id()));
comment on policy select_author on rooms.room_message_revisions is 'Users read the earlier texts of their own messages.';
create policy select_moderator on rooms.room_message_revisions
  for select to :PLINTH_USER
  using ((exists ( select
   from rooms.room_messages m
  where m.id = room_message_revisions.message_id and (m.room_id in (select rooms.moderated_room_ids())))));
comment on policy select_moderator on rooms.room_message_revisions is 'Moderators read the earlier texts of the messages they see in their rooms.';

grant select on rooms.room_message_revisions to :PLINTH_USER;

-- One row per message of a room. Deleted messages stay without their content, so that numbers have no gaps.
create table rooms.room_messages (
  id uuid not null default plinth.uuid_v7(),
  room_id uuid not null,
  sender_id uuid default plinth.current_user_id(),
  reply_to_id uuid,
  sender_type text not null default 'user'::text,
  message_type text not null default 'text'::text,
  content text not null,
  metadata jsonb not null default '{}'::jsonb,
  is_private boolean not null default false,
  is_deleted boolean not null default false,
  sequence bigint not null default 0,
  event_sequence bigint not null default 0,
  sender_sequence bigint not null default 0,
  idempotency_key uuid,
  edited_at timestamp with time zone,
  deleted_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  constraint room_messages_pkey primary key (id),
  constraint room_messages_room_id_event_sequence_key unique (room_id, event_sequence),
  constraint room_messages_content_check check (octet_length(content) <= 40000),
  constraint room_messages_deleted_at_tells_is_deleted check ((deleted_at is not null) = is_deleted),
  constraint room_messages_have_content_until_deleted check ((content = ''::text) = is_deleted),
  constraint room_messages_message_type_check check (message_type = any (array['text'::text, 'invite'::text, 'system'::text])),
  constraint room_messages_metadata_is_a_small_object check (jsonb_typeof(metadata) = 'object'::text and octet_length(metadata::text) <= 20000),
  constraint room_messages_only_users_have_accounts check (sender_id is null or sender_type = 'user'::text),
  constraint room_messages_sender_type_check check (sender_type = any (array['user'::text, 'ai'::text, 'system'::text])),
  constraint room_messages_reply_to_id_fkey foreign key (reply_to_id) references rooms.room_messages(id) on delete set null,
  constraint room_messages_room_id_fkey foreign key (room_id) references rooms.chat_rooms(id) on delete cascade,
  constraint room_messages_sender_id_fkey foreign key (sender_id) references identity.users(id) on delete set null
);

alter table rooms.room_messages enable row level security;

create index room_messages_ai_answers_idx on rooms.room_messages using btree (room_id, event_sequence) where (sender_type = 'ai'::text);
create index room_messages_content_idx on rooms.room_messages using gin (room_id, plinth.search_document('en'::text, content)) where (not is_deleted);
create index room_messages_created_at_idx on rooms.room_messages using brin ((created_at at time zone 'UTC'::text));
create unique index room_messages_idempotency_key_idx on rooms.room_messages using btree (room_id, sender_id, idempotency_key) where (idempotency_key is not null);
create index room_messages_reply_to_id_idx on rooms.room_messages using btree (reply_to_id);
create index room_messages_room_id_created_at_idx on rooms.room_messages using btree (room_id, created_at) where (not is_deleted);
create index room_messages_sender_id_room_id_sequence_idx on rooms.room_messages using btree (sender_id, room_id, sequence);

create trigger _100_number
  before insert on rooms.room_messages
  for each row
  when (new.sequence = 0)
  execute function private.number_room_message();
create trigger _200_count_private
  before insert on rooms.room_messages
  for each row
  when (new.is_private)
  execute function private.count_private_message();
create trigger _500_follow
  after update of content, is_deleted on rooms.room_messages
  for each row
  when (new.is_deleted is distinct from old.is_deleted or new.content is distinct from old.content)
  execute function private.follow_room_message();

comment on table rooms.room_messages is E'@foreignKey (sender_id) references identity.profiles (id)|@fieldName senderProfile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nOne row per message of a room. Deleted messages stay without their content, so that numbers have no gaps.';
comment on column rooms.room_messages.id is 'Id (UUIDv7).';
comment on column rooms.room_messages.room_id is 'The room.';
comment on column rooms.room_messages.sender_id is 'The sender; null for the AI, the system and deleted accounts.';
comment on column rooms.room_messages.reply_to_id is 'The message it replies to, or null.';
comment on column rooms.room_messages.sender_type is 'Type of sender: user, ai or system.';
comment on column rooms.room_messages.message_type is 'Type of message: text, invite or system.';
comment on column rooms.room_messages.content is 'Text of the message, at most 40,000 bytes; empty if deleted.';
comment on column rooms.room_messages.metadata is 'Data added by the application (JSON object, at most 20,000 bytes).';
comment on column rooms.room_messages.is_private is 'Whether only the sender and the recipients see the message.';
comment on column rooms.room_messages.is_deleted is 'Whether the message was deleted; its content is then in room_message_revisions.';
comment on column rooms.room_messages.sequence is 'Number of the message in the room: 1, 2, 3 without gaps.';
comment on column rooms.room_messages.event_sequence is 'Number of the event that posted the message.';
comment on column rooms.room_messages.sender_sequence is E'@behavior -*\nNumber of messages to all members that the sender had posted in the room, including this one.';
comment on column rooms.room_messages.idempotency_key is E'@behavior -*\nIdempotency key of the request; a repeated request posts no second message.';
comment on column rooms.room_messages.edited_at is 'Time of the last edit, or null.';
comment on column rooms.room_messages.deleted_at is 'Time of deletion, or null.';
comment on column rooms.room_messages.created_at is 'Time when the message was posted; rises with the sequence.';
comment on constraint room_messages_message_type_check on rooms.room_messages is E'Type of a room''s message.\ntext: A text.\ninvite: An invite to another room.\nsystem: A notice of the system.';
comment on constraint room_messages_sender_type_check on rooms.room_messages is E'Type of a message''s sender.\nuser: A user, or a deleted account.\nai: An AI.\nsystem: The system.';
comment on constraint room_messages_reply_to_id_fkey on rooms.room_messages is '@foreignFieldName replies';
comment on constraint room_messages_room_id_fkey on rooms.room_messages is '@foreignFieldName messages';
comment on constraint room_messages_sender_id_fkey on rooms.room_messages is '@behavior -*';

create policy select_member on rooms.room_messages
  for select to :PLINTH_USER
  using ((exists ( select
   from rooms.room_members m
  where m.room_id = room_messages.room_id and m.user_id = (select plinth.current_user_id()) and m.visible_after < room_messages.event_sequence)) and (not is_private or sender_id = (select plinth.current_user_id()) or rooms.can_see_message(id)) and not (exists ( select
   from rooms.user_blocks b
  where b.user_id = (select plinth.current_user_id()) and b.blocked_id = room_messages.sender_id
 offset 0)));
comment on policy select_member on rooms.room_messages is 'Members read the messages from the start of their history, except private messages of others and messages by users they have blocked.';

grant select on rooms.room_messages to :PLINTH_USER;

-- One row per member who is typing in a room. Unlogged.
create unlogged table rooms.typing (
  room_id uuid not null,
  user_id uuid not null,
  expires_at timestamp with time zone not null,
  constraint typing_pkey primary key (room_id, user_id),
  constraint typing_room_id_user_id_fkey foreign key (room_id, user_id) references rooms.room_members(room_id, user_id) on delete cascade,
  constraint typing_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
) with (fillfactor=50);

alter table rooms.typing enable row level security;

create index typing_user_id_idx on rooms.typing using btree (user_id);

comment on table rooms.typing is E'@behavior -query:resource:list -query:resource:connection -query:resource:single -manyRelation:resource:list -manyRelation:resource:connection -singularRelation:resource:single\n@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior +singularRelation:resource:single -manyRelation:resource:list -manyRelation:resource:connection\nOne row per member who is typing in a room. Unlogged.';
comment on column rooms.typing.room_id is 'The room.';
comment on column rooms.typing.user_id is 'The member who is typing.';
comment on column rooms.typing.expires_at is 'Time when the indicator expires.';
comment on constraint typing_room_id_user_id_fkey on rooms.typing is '@fieldName member';

create policy select_member on rooms.typing
  for select to :PLINTH_USER
  using (expires_at > statement_timestamp() and (room_id in (select rooms.my_room_ids())) and not (user_id = any ((( select array( select b.blocked_id
           from rooms.user_blocks b
          where b.user_id = (select plinth.current_user_id())) as "array"))::uuid[])));
comment on policy select_member on rooms.typing is 'Members see who is writing in their rooms, except users they have blocked.';

grant select on rooms.typing to :PLINTH_USER;

-- One row per user and user they have blocked.
create table rooms.user_blocks (
  user_id uuid not null,
  blocked_id uuid not null,
  created_at timestamp with time zone not null default now(),
  constraint user_blocks_pkey primary key (user_id, blocked_id),
  constraint user_blocks_nobody_blocks_themselves check (user_id <> blocked_id),
  constraint user_blocks_blocked_id_fkey foreign key (blocked_id) references identity.users(id) on delete cascade,
  constraint user_blocks_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table rooms.user_blocks enable row level security;

create index user_blocks_blocked_id_idx on rooms.user_blocks using btree (blocked_id);

create trigger _500_follow
  after insert on rooms.user_blocks
  for each row
  execute function private.follow_user_block();

comment on table rooms.user_blocks is E'@foreignKey (blocked_id) references identity.profiles (id)|@fieldName blockedProfile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nOne row per user and user they have blocked.';
comment on column rooms.user_blocks.user_id is 'The user who blocks.';
comment on column rooms.user_blocks.blocked_id is 'The blocked user, whose messages are hidden from the user and who cannot write to them directly or invite them.';
comment on column rooms.user_blocks.created_at is 'Time of the block.';
comment on constraint user_blocks_blocked_id_fkey on rooms.user_blocks is '@behavior -*';
comment on constraint user_blocks_user_id_fkey on rooms.user_blocks is '@behavior -*';

create policy select_own on rooms.user_blocks
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on rooms.user_blocks is 'Users see their own blocks.';

grant select on rooms.user_blocks to :PLINTH_USER;

-- One row per user: number of changes of their memberships, read marks and invites, which subscribers of user:<id> compare.
create table rooms.user_event_counters (
  user_id uuid not null,
  sequence bigint not null default 0,
  constraint user_event_counters_pkey primary key (user_id),
  constraint user_event_counters_sequence_is_not_negative check (sequence >= 0),
  constraint user_event_counters_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
) with (fillfactor=50);

alter table rooms.user_event_counters enable row level security;

comment on table rooms.user_event_counters is E'@behavior -*\nOne row per user: number of changes of their memberships, read marks and invites, which subscribers of user:<id> compare.';
comment on column rooms.user_event_counters.user_id is 'The user.';
comment on column rooms.user_event_counters.sequence is 'Number of changes.';
comment on constraint user_event_counters_user_id_fkey on rooms.user_event_counters is '@behavior -*';

create policy select_own on rooms.user_event_counters
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on rooms.user_event_counters is 'Users read their own counter.';

grant select on rooms.user_event_counters to :PLINTH_USER;

-- Views -----------------------------------------------------------------------------------------------

-- Grain: one row per event of a room that the reader may see. Numbers have no gaps in the room; a reader's numbers may, where an event is hidden from them.
create view rooms.room_events with (security_invoker=true) as
 select m.room_id,
    m.event_sequence as sequence,
    'message_posted'::text as kind,
    m.id as message_id,
    m.sender_id as user_id,
    m.created_at
   from rooms.room_messages m
union all
 select c.room_id,
    c.sequence,
    c.kind,
    c.message_id,
    c.user_id,
    c.created_at
   from rooms.room_changes c;

comment on view rooms.room_events is E'@primaryKey room_id,sequence\n@behavior -query:resource:list -query:resource:connection -query:resource:single\n@foreignKey (message_id) references rooms.room_messages (id)|@fieldName message|@behavior -manyRelation:resource:list -manyRelation:resource:connection\n@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nGrain: one row per event of a room that the reader may see. Numbers have no gaps in the room; a reader''s numbers may, where an event is hidden from them.';
comment on column rooms.room_events.room_id is E'@notNull\nThe room.';
comment on column rooms.room_events.sequence is E'@notNull\nNumber of the event in the room.';
comment on column rooms.room_events.kind is E'@notNull\nKind of event: message_posted, message_edited, message_deleted, message_restored, reactions_changed, member_joined, member_left, member_changed or room_changed.';
comment on column rooms.room_events.message_id is 'The message concerned, or null.';
comment on column rooms.room_events.user_id is 'The sender, the member concerned, or the actor; null for the AI and deleted accounts.';
comment on column rooms.room_events.created_at is E'@notNull\nTime of the event.';

grant select on rooms.room_events to :PLINTH_USER;

-- Exact counts of unread messages and mentions of the signed-in user. Grain: one row per room.
create view rooms.unread_counts with (security_invoker=true) as
 select m.room_id,
    c.unread_count,
    c.mention_count,
    m.last_read_sequence,
    r.last_sequence
   from rooms.room_members m
     join rooms.chat_rooms r on r.id = m.room_id
     cross join lateral rooms.count_unread(m.room_id) c(unread_count, mention_count)
  where m.user_id = (( select plinth.current_user_id() as current_user_id));

comment on view rooms.unread_counts is E'@primaryKey room_id\n@foreignKey (room_id) references rooms.chat_rooms (id)|@foreignFieldName unread\nExact counts of unread messages and mentions of the signed-in user. Grain: one row per room.';
comment on column rooms.unread_counts.room_id is E'@notNull\nThe room.';
comment on column rooms.unread_counts.unread_count is E'@notNull\nNumber of messages by others that the user may see, after the read mark, not deleted.';
comment on column rooms.unread_counts.mention_count is E'@notNull\nNumber of those messages that mention the user.';
comment on column rooms.unread_counts.last_read_sequence is E'@notNull\nRead mark: the number of the last message read.';
comment on column rooms.unread_counts.last_sequence is E'@notNull\nNumber of the room''s last message.';

grant select on rooms.unread_counts to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Blocks a user: the signed-in user no longer sees their messages, and they can neither write to nor invite the signed-in user. Blocking again changes nothing. PL402 above 1000, PL404, PL422.
create or replace function rooms.block_user(user_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/block_user.sql

comment on function rooms.block_user(user_id uuid) is 'Blocks a user: the signed-in user no longer sees their messages, and they can neither write to nor invite the signed-in user. Blocking again changes nothing. PL402 above 1000, PL404, PL422.';
revoke execute on function rooms.block_user(user_id uuid) from public;
grant execute on function rooms.block_user(user_id uuid) to :PLINTH_USER;

-- Returns whether the caller may see a message of a room.
create or replace function rooms.can_see_message(message_id uuid)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/can_see_message.sql

comment on function rooms.can_see_message(message_id uuid) is E'@behavior -*\nReturns whether the caller may see a message of a room.';
revoke execute on function rooms.can_see_message(message_id uuid) from public;
grant execute on function rooms.can_see_message(message_id uuid) to :PLINTH_USER;

-- Returns the last message that the signed-in user may see, or null.
create or replace function rooms.chat_rooms_last_message(room rooms.chat_rooms)
  returns rooms.room_messages
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/chat_rooms_last_message.sql

comment on function rooms.chat_rooms_last_message(room rooms.chat_rooms) is 'Returns the last message that the signed-in user may see, or null.';
revoke execute on function rooms.chat_rooms_last_message(room rooms.chat_rooms) from public;
grant execute on function rooms.chat_rooms_last_message(room rooms.chat_rooms) to :PLINTH_USER;

-- Returns the signed-in user's membership, with role and read mark; null for a user who is not a member.
create or replace function rooms.chat_rooms_my_membership(room rooms.chat_rooms)
  returns rooms.room_members
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/chat_rooms_my_membership.sql

comment on function rooms.chat_rooms_my_membership(room rooms.chat_rooms) is 'Returns the signed-in user''s membership, with role and read mark; null for a user who is not a member.';
revoke execute on function rooms.chat_rooms_my_membership(room rooms.chat_rooms) from public;
grant execute on function rooms.chat_rooms_my_membership(room rooms.chat_rooms) to :PLINTH_USER;

-- Trigger: the model of a room must be one that its moderator may use. PL404 otherwise.
create or replace function rooms.check_room_model()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/rooms/triggers/room_models.sql

comment on function rooms.check_room_model() is 'Trigger: the model of a room must be one that its moderator may use. PL404 otherwise.';
revoke execute on function rooms.check_room_model() from public;

-- Returns the number of unread messages and mentions of the signed-in user in a room; no row for a caller who is not a member.
create or replace function rooms.count_unread(room_id uuid)
  returns table(unread_count bigint, mention_count bigint)
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/count_unread.sql

comment on function rooms.count_unread(room_id uuid) is E'@behavior -*\nReturns the number of unread messages and mentions of the signed-in user in a room; no row for a caller who is not a member.';
revoke execute on function rooms.count_unread(room_id uuid) from public;
grant execute on function rooms.count_unread(room_id uuid) to :PLINTH_USER;

-- Returns the direct room of the signed-in user and another one, and creates it if needed; there is never a second. PL404 for a user who cannot be written to.
create or replace function rooms.create_direct_room(user_id uuid)
  returns rooms.chat_rooms
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/create_direct_room.sql

comment on function rooms.create_direct_room(user_id uuid) is 'Returns the direct room of the signed-in user and another one, and creates it if needed; there is never a second. PL404 for a user who cannot be written to.';
revoke execute on function rooms.create_direct_room(user_id uuid) from public;
grant execute on function rooms.create_direct_room(user_id uuid) to :PLINTH_USER;

-- Creates a group or private room with the signed-in user as its creator and, where enabled, an AI as a member. The same idempotency key again returns the same room. PL409 for a key that was used for another room, PL422 for a bad type or no name, PL429 for too many.
create or replace function rooms.create_room(name text, room_type text default 'group'::text, description text default ''::text, is_public boolean default false, ai_enabled boolean default false, history_is_shared boolean default true, idempotency_key uuid default null::uuid)
  returns rooms.chat_rooms
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/create_room.sql

comment on function rooms.create_room(name text, room_type text, description text, is_public boolean, ai_enabled boolean, history_is_shared boolean, idempotency_key uuid) is 'Creates a group or private room with the signed-in user as its creator and, where enabled, an AI as a member. The same idempotency key again returns the same room. PL409 for a key that was used for another room, PL422 for a bad type or no name, PL429 for too many.';
revoke execute on function rooms.create_room(name text, room_type text, description text, is_public boolean, ai_enabled boolean, history_is_shared boolean, idempotency_key uuid) from public;
grant execute on function rooms.create_room(name text, room_type text, description text, is_public boolean, ai_enabled boolean, history_is_shared boolean, idempotency_key uuid) to :PLINTH_USER;

-- Deletes the signed-in user's own message in the general chat, or with the permission moderate_general_chat any message; the text is kept for its moderators. PL403, PL404.
create or replace function rooms.delete_general_chat_message(message_id uuid)
  returns rooms.general_chat_messages
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/delete_general_chat_message.sql

comment on function rooms.delete_general_chat_message(message_id uuid) is 'Deletes the signed-in user''s own message in the general chat, or with the permission moderate_general_chat any message; the text is kept for its moderators. PL403, PL404.';
revoke execute on function rooms.delete_general_chat_message(message_id uuid) from public;
grant execute on function rooms.delete_general_chat_message(message_id uuid) to :PLINTH_USER;

-- Deletes the signed-in user's own message, or as a moderator of the room any message: its row stays without the text, which its author and the moderators can still read. Deleting it again changes nothing. PL403, PL404.
create or replace function rooms.delete_room_message(message_id uuid)
  returns rooms.room_messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/delete_room_message.sql

comment on function rooms.delete_room_message(message_id uuid) is 'Deletes the signed-in user''s own message, or as a moderator of the room any message: its row stays without the text, which its author and the moderators can still read. Deleting it again changes nothing. PL403, PL404.';
revoke execute on function rooms.delete_room_message(message_id uuid) from public;
grant execute on function rooms.delete_room_message(message_id uuid) to :PLINTH_USER;

-- Changes the signed-in user's own message in the general chat; the previous text is kept for its moderators. PL403, PL404, PL409 when deleted, PL422.
create or replace function rooms.edit_general_chat_message(message_id uuid, content text)
  returns rooms.general_chat_messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/edit_general_chat_message.sql

comment on function rooms.edit_general_chat_message(message_id uuid, content text) is 'Changes the signed-in user''s own message in the general chat; the previous text is kept for its moderators. PL403, PL404, PL409 when deleted, PL422.';
revoke execute on function rooms.edit_general_chat_message(message_id uuid, content text) from public;
grant execute on function rooms.edit_general_chat_message(message_id uuid, content text) to :PLINTH_USER;

-- Changes the text and mentions of the signed-in user's own message; the previous text is kept for its author and the room's moderators. PL403, PL404, PL409 for a deleted or non-text message, PL422.
create or replace function rooms.edit_room_message(message_id uuid, content text, mentions uuid[] default null::uuid[])
  returns rooms.room_messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/edit_room_message.sql

comment on function rooms.edit_room_message(message_id uuid, content text, mentions uuid[]) is 'Changes the text and mentions of the signed-in user''s own message; the previous text is kept for its author and the room''s moderators. PL403, PL404, PL409 for a deleted or non-text message, PL422.';
revoke execute on function rooms.edit_room_message(message_id uuid, content text, mentions uuid[]) from public;
grant execute on function rooms.edit_room_message(message_id uuid, content text, mentions uuid[]) to :PLINTH_USER;

-- Invites a user, with an optional note and, in announceIn (a room that both may be in), as a message of type invite. An open invite is returned unchanged. Members invite to groups, moderators to private rooms. PL403, PL404 for a user who cannot be invited, PL409, PL429.
create or replace function rooms.invite_to_room(room_id uuid, invitee_id uuid, message text default null::text, announce_in uuid default null::uuid)
  returns rooms.room_invites
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/invite_to_room.sql

comment on function rooms.invite_to_room(room_id uuid, invitee_id uuid, message text, announce_in uuid) is 'Invites a user, with an optional note and, in announceIn (a room that both may be in), as a message of type invite. An open invite is returned unchanged. Members invite to groups, moderators to private rooms. PL403, PL404 for a user who cannot be invited, PL409, PL429.';
revoke execute on function rooms.invite_to_room(room_id uuid, invitee_id uuid, message text, announce_in uuid) from public;
grant execute on function rooms.invite_to_room(room_id uuid, invitee_id uuid, message text, announce_in uuid) to :PLINTH_USER;

-- Returns the ids of the rooms that the caller is invited to.
create or replace function rooms.invited_room_ids()
  returns setof uuid
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/invited_room_ids.sql

comment on function rooms.invited_room_ids() is E'@behavior -*\nReturns the ids of the rooms that the caller is invited to.';
revoke execute on function rooms.invited_room_ids() from public;
grant execute on function rooms.invited_room_ids() to :PLINTH_USER;

-- Joins a public room, or one the signed-in user is invited to; a member stays one. PL403 for banned users and where a password is needed, PL404 for rooms the caller cannot see.
create or replace function rooms.join_room(room_id uuid)
  returns rooms.room_members
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/join_room.sql

comment on function rooms.join_room(room_id uuid) is 'Joins a public room, or one the signed-in user is invited to; a member stays one. PL403 for banned users and where a password is needed, PL404 for rooms the caller cannot see.';
revoke execute on function rooms.join_room(room_id uuid) from public;
grant execute on function rooms.join_room(room_id uuid) to :PLINTH_USER;

-- Ends the signed-in user's membership. A creator is succeeded by the longest-standing member, moderators first; a room without members is deleted. PL404 for a caller who is not a member.
create or replace function rooms.leave_room(room_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/leave_room.sql

comment on function rooms.leave_room(room_id uuid) is 'Ends the signed-in user''s membership. A creator is succeeded by the longest-standing member, moderators first; a room without members is deleted. PL404 for a caller who is not a member.';
revoke execute on function rooms.leave_room(room_id uuid) from public;
grant execute on function rooms.leave_room(room_id uuid) to :PLINTH_USER;

-- Moves the signed-in user's read mark of a room forward to a message, or to the last one; never back. Returns the new counts. PL404.
create or replace function rooms.mark_room_read(room_id uuid, message_id uuid default null::uuid)
  returns rooms.unread_counts
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/mark_room_read.sql

comment on function rooms.mark_room_read(room_id uuid, message_id uuid) is 'Moves the signed-in user''s read mark of a room forward to a message, or to the last one; never back. Returns the new counts. PL404.';
revoke execute on function rooms.mark_room_read(room_id uuid, message_id uuid) from public;
grant execute on function rooms.mark_room_read(room_id uuid, message_id uuid) to :PLINTH_USER;

-- Moves the signed-in user's read mark to before a message, so that it and later messages are unread. Returns the new counts. PL404.
create or replace function rooms.mark_room_unread(room_id uuid, message_id uuid)
  returns rooms.unread_counts
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/mark_room_unread.sql

comment on function rooms.mark_room_unread(room_id uuid, message_id uuid) is 'Moves the signed-in user''s read mark to before a message, so that it and later messages are unread. Returns the new counts. PL404.';
revoke execute on function rooms.mark_room_unread(room_id uuid, message_id uuid) from public;
grant execute on function rooms.mark_room_unread(room_id uuid, message_id uuid) to :PLINTH_USER;

-- Returns the ids of the rooms that the caller moderates.
create or replace function rooms.moderated_room_ids()
  returns setof uuid
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/moderated_room_ids.sql

comment on function rooms.moderated_room_ids() is E'@behavior -*\nReturns the ids of the rooms that the caller moderates.';
revoke execute on function rooms.moderated_room_ids() from public;
grant execute on function rooms.moderated_room_ids() to :PLINTH_USER;

-- Returns the ids of the invites that the caller sees: received, sent, or to a room that the caller moderates.
create or replace function rooms.my_invite_ids()
  returns setof uuid
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/my_invite_ids.sql

comment on function rooms.my_invite_ids() is E'@behavior -*\nReturns the ids of the invites that the caller sees: received, sent, or to a room that the caller moderates.';
revoke execute on function rooms.my_invite_ids() from public;
grant execute on function rooms.my_invite_ids() to :PLINTH_USER;

-- Returns the ids of the rooms that the caller is a member of.
create or replace function rooms.my_room_ids()
  returns setof uuid
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/my_room_ids.sql

comment on function rooms.my_room_ids() is E'@behavior -*\nReturns the ids of the rooms that the caller is a member of.';
revoke execute on function rooms.my_room_ids() from public;
grant execute on function rooms.my_room_ids() to :PLINTH_USER;

-- Returns the rooms of the signed-in user, latest message first.
create or replace function rooms.my_rooms(include_archived boolean default false)
  returns setof rooms.chat_rooms
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/my_rooms.sql

comment on function rooms.my_rooms(include_archived boolean) is 'Returns the rooms of the signed-in user, latest message first.';
revoke execute on function rooms.my_rooms(include_archived boolean) from public;
grant execute on function rooms.my_rooms(include_archived boolean) to :PLINTH_USER;

-- Returns the ids of the rooms that the caller created.
create or replace function rooms.own_room_ids()
  returns setof uuid
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/own_room_ids.sql

comment on function rooms.own_room_ids() is E'@behavior -*\nReturns the ids of the rooms that the caller created.';
revoke execute on function rooms.own_room_ids() from public;
grant execute on function rooms.own_room_ids() to :PLINTH_USER;

-- Posts in the general chat, which all users share. The same idempotency key again returns the same message. PL403 for muted users and when the chat is closed, PL409 for a key that was used for another message, PL422, PL429 in slow mode.
create or replace function rooms.post_general_chat_message(content text, idempotency_key uuid default null::uuid)
  returns rooms.general_chat_messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/post_general_chat_message.sql

comment on function rooms.post_general_chat_message(content text, idempotency_key uuid) is 'Posts in the general chat, which all users share. The same idempotency key again returns the same message. PL403 for muted users and when the chat is closed, PL409 for a key that was used for another message, PL422, PL429 in slow mode.';
revoke execute on function rooms.post_general_chat_message(content text, idempotency_key uuid) from public;
grant execute on function rooms.post_general_chat_message(content text, idempotency_key uuid) to :PLINTH_USER;

-- Posts a message in a room of the signed-in user. Members named as @username or in mentions are mentioned; with recipients, only they and the sender see it. The same idempotency key again returns the same message. PL403 if blocked in a direct room, PL404, PL409 for a key that was used for another message, PL422.
create or replace function rooms.post_room_message(room_id uuid, content text, reply_to_id uuid default null::uuid, mentions uuid[] default null::uuid[], recipients uuid[] default null::uuid[], metadata jsonb default null::jsonb, idempotency_key uuid default null::uuid)
  returns rooms.room_messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/post_room_message.sql

comment on function rooms.post_room_message(room_id uuid, content text, reply_to_id uuid, mentions uuid[], recipients uuid[], metadata jsonb, idempotency_key uuid) is 'Posts a message in a room of the signed-in user. Members named as @username or in mentions are mentioned; with recipients, only they and the sender see it. The same idempotency key again returns the same message. PL403 if blocked in a direct room, PL404, PL409 for a key that was used for another message, PL422.';
revoke execute on function rooms.post_room_message(room_id uuid, content text, reply_to_id uuid, mentions uuid[], recipients uuid[], metadata jsonb, idempotency_key uuid) from public;
grant execute on function rooms.post_room_message(room_id uuid, content text, reply_to_id uuid, mentions uuid[], recipients uuid[], metadata jsonb, idempotency_key uuid) to :PLINTH_USER;

-- Adds an emoji reaction to a message, or removes it; repeating it changes nothing. PL402 above 20, PL404, PL409 for a deleted message.
create or replace function rooms.react(message_id uuid, emoji text, remove boolean default false)
  returns rooms.room_messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/react.sql

comment on function rooms.react(message_id uuid, emoji text, remove boolean) is 'Adds an emoji reaction to a message, or removes it; repeating it changes nothing. PL402 above 20, PL404, PL409 for a deleted message.';
revoke execute on function rooms.react(message_id uuid, emoji text, remove boolean) from public;
grant execute on function rooms.react(message_id uuid, emoji text, remove boolean) to :PLINTH_USER;

-- Returns the last messages of a room, or the last before a given one, newest first and without deleted ones; at most 200.
create or replace function rooms.recent_room_messages(room_id uuid, before_id uuid default null::uuid, max_count integer default 50)
  returns setof rooms.room_messages
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/recent_room_messages.sql

comment on function rooms.recent_room_messages(room_id uuid, before_id uuid, max_count integer) is 'Returns the last messages of a room, or the last before a given one, newest first and without deleted ones; at most 200.';
revoke execute on function rooms.recent_room_messages(room_id uuid, before_id uuid, max_count integer) from public;
grant execute on function rooms.recent_room_messages(room_id uuid, before_id uuid, max_count integer) to :PLINTH_USER;

-- Removes a member from a room; with ban permanently (also a user who is not a member yet). Moderators remove members, the creator removes moderators too. PL403, PL404.
create or replace function rooms.remove_room_member(room_id uuid, user_id uuid, ban boolean default false, reason text default null::text)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/remove_room_member.sql

comment on function rooms.remove_room_member(room_id uuid, user_id uuid, ban boolean, reason text) is 'Removes a member from a room; with ban permanently (also a user who is not a member yet). Moderators remove members, the creator removes moderators too. PL403, PL404.';
revoke execute on function rooms.remove_room_member(room_id uuid, user_id uuid, ban boolean, reason text) from public;
grant execute on function rooms.remove_room_member(room_id uuid, user_id uuid, ban boolean, reason text) to :PLINTH_USER;

-- Accepts an invite, which makes the signed-in user a member even if the room has a password, or declines it. The same answer again changes nothing. PL404, PL409 if the invite was answered differently.
create or replace function rooms.respond_to_invite(invite_id uuid, accept boolean)
  returns rooms.room_invites
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/respond_to_invite.sql

comment on function rooms.respond_to_invite(invite_id uuid, accept boolean) is 'Accepts an invite, which makes the signed-in user a member even if the room has a password, or declines it. The same answer again changes nothing. PL404, PL409 if the invite was answered differently.';
revoke execute on function rooms.respond_to_invite(invite_id uuid, accept boolean) from public;
grant execute on function rooms.respond_to_invite(invite_id uuid, accept boolean) to :PLINTH_USER;

-- Restores a deleted message: authors those they deleted themselves, moderators any. PL403, PL404, PL409 for a message of a deleted account.
create or replace function rooms.restore_room_message(message_id uuid)
  returns rooms.room_messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/restore_room_message.sql

comment on function rooms.restore_room_message(message_id uuid) is 'Restores a deleted message: authors those they deleted themselves, moderators any. PL403, PL404, PL409 for a message of a deleted account.';
revoke execute on function rooms.restore_room_message(message_id uuid) from public;
grant execute on function rooms.restore_room_message(message_id uuid) to :PLINTH_USER;

-- Revokes an open invite, as its inviter or a moderator of the room. PL404, PL409 if it was answered.
create or replace function rooms.revoke_invite(invite_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/revoke_invite.sql

comment on function rooms.revoke_invite(invite_id uuid) is 'Revokes an open invite, as its inviter or a moderator of the room. PL404, PL409 if it was answered.';
revoke execute on function rooms.revoke_invite(invite_id uuid) from public;
grant execute on function rooms.revoke_invite(invite_id uuid) to :PLINTH_USER;

-- Returns the last messages of a room that every member may see, or those that the signed-in user may see if they are the audience: the context for an AI's answer. Oldest first, at most 500. Post the answer with the audience_version. PL403, PL404 for a caller who is not a member.
create or replace function rooms.room_context(room_id uuid, max_count integer default 50, audience_id uuid default null::uuid)
  returns table(message_id uuid, sequence bigint, sender_id uuid, sender_type text, sender_name text, reply_to_id uuid, content text, created_at timestamp with time zone, audience_version bigint)
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/room_context.sql

comment on function rooms.room_context(room_id uuid, max_count integer, audience_id uuid) is 'Returns the last messages of a room that every member may see, or those that the signed-in user may see if they are the audience: the context for an AI''s answer. Oldest first, at most 500. Post the answer with the audience_version. PL403, PL404 for a caller who is not a member.';
revoke execute on function rooms.room_context(room_id uuid, max_count integer, audience_id uuid) from public;
grant execute on function rooms.room_context(room_id uuid, max_count integer, audience_id uuid) to :PLINTH_USER;

-- Returns the next events of a room after a number that the caller may see, in order; at most 1000.
create or replace function rooms.room_events_after(room_id uuid, after bigint, max_count integer default 100)
  returns setof rooms.room_events
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/room_events_after.sql

comment on function rooms.room_events_after(room_id uuid, after bigint, max_count integer) is E'@behavior -*\nReturns the next events of a room after a number that the caller may see, in order; at most 1000.';
revoke execute on function rooms.room_events_after(room_id uuid, after bigint, max_count integer) from public;
grant execute on function rooms.room_events_after(room_id uuid, after bigint, max_count integer) to :PLINTH_USER;

-- Returns the read receipts of a message: the other members who have read up to it.
create or replace function rooms.room_messages_read_by(message rooms.room_messages)
  returns setof rooms.room_members
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/room_messages_read_by.sql

comment on function rooms.room_messages_read_by(message rooms.room_messages) is 'Returns the read receipts of a message: the other members who have read up to it.';
revoke execute on function rooms.room_messages_read_by(message rooms.room_messages) from public;
grant execute on function rooms.room_messages_read_by(message rooms.room_messages) to :PLINTH_USER;

-- Returns the messages with all of these words (or "a phrase", or -without) in the rooms of the signed-in user, or in one of them, newest first; at most 200.
create or replace function rooms.search_room_messages(query text, room_id uuid default null::uuid, max_count integer default 50)
  returns setof rooms.room_messages
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/search_room_messages.sql

comment on function rooms.search_room_messages(query text, room_id uuid, max_count integer) is 'Returns the messages with all of these words (or "a phrase", or -without) in the rooms of the signed-in user, or in one of them, newest first; at most 200.';
revoke execute on function rooms.search_room_messages(query text, room_id uuid, max_count integer) from public;
grant execute on function rooms.search_room_messages(query text, room_id uuid, max_count integer) to :PLINTH_USER;

-- Announces to the members of the signed-in user's rooms that the user is present (online or away) for a minute: repeat it every 30 seconds, or send offline when leaving. Returns the time it expires. A user who never calls this is never shown as present.
create or replace function rooms.set_presence(status text default 'online'::text)
  returns timestamp with time zone
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/set_presence.sql

comment on function rooms.set_presence(status text) is E'@resultFieldName expiresAt\nAnnounces to the members of the signed-in user''s rooms that the user is present (online or away) for a minute: repeat it every 30 seconds, or send offline when leaving. Returns the time it expires. A user who never calls this is never shown as present.';
revoke execute on function rooms.set_presence(status text) from public;
grant execute on function rooms.set_presence(status text) to :PLINTH_USER;

-- Changes a member's role; a creator who names a new creator becomes a moderator. For the creator only. PL403, PL404, PL422.
create or replace function rooms.set_room_role(room_id uuid, user_id uuid, role text)
  returns rooms.room_members
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/set_room_role.sql

comment on function rooms.set_room_role(room_id uuid, user_id uuid, role text) is 'Changes a member''s role; a creator who names a new creator becomes a moderator. For the creator only. PL403, PL404, PL422.';
revoke execute on function rooms.set_room_role(room_id uuid, user_id uuid, role text) from public;
grant execute on function rooms.set_room_role(room_id uuid, user_id uuid, role text) to :PLINTH_USER;

-- Announces to the other members of a room that the signed-in user is writing, for six seconds: repeat it every few seconds, or send false when done. Returns the time it expires. NOT_FOUND for a caller who is not a member.
create or replace function rooms.set_typing(room_id uuid, is_typing boolean default true)
  returns timestamp with time zone
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/set_typing.sql

comment on function rooms.set_typing(room_id uuid, is_typing boolean) is E'@resultFieldName expiresAt\nAnnounces to the other members of a room that the signed-in user is writing, for six seconds: repeat it every few seconds, or send false when done. Returns the time it expires. NOT_FOUND for a caller who is not a member.';
revoke execute on function rooms.set_typing(room_id uuid, is_typing boolean) from public;
grant execute on function rooms.set_typing(room_id uuid, is_typing boolean) to :PLINTH_USER;

-- Unblocks a user; returns whether there was a block.
create or replace function rooms.unblock_user(user_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/rooms/functions/unblock_user.sql

comment on function rooms.unblock_user(user_id uuid) is 'Unblocks a user; returns whether there was a block.';
revoke execute on function rooms.unblock_user(user_id uuid) from public;
grant execute on function rooms.unblock_user(user_id uuid) to :PLINTH_USER;
