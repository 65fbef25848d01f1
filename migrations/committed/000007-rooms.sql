--! Previous: sha1:f3b609e3c3b99ac000843a250c71d4ff3bafd9e9
--! Hash: sha1:f5b62751a91d4588bcedaa0960f6c5f3d7ada9d8
--! Message: rooms

-- Rooms of users and the AI: members, messages, invites, presence, and the general chat.

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

-- The two counters and the time of last activity change with every message. No index contains them and each page has free space,
-- so that updates stay on the page (HOT).
create table rooms.chat_rooms (
  id uuid primary key default plinth.uuid_v7(),
  creator_id uuid default plinth.current_user_id() references identity.users on delete set null,
  name text not null default '',
  description text not null default '',
  room_type text not null default 'group',
  is_public boolean not null default false,
  has_password boolean not null default false,
  ai_enabled boolean not null default false,
  history_is_shared boolean not null default true,
  last_sequence bigint not null default 0,
  last_event_sequence bigint not null default 0,
  audience_version bigint not null default 0,
  last_activity_at timestamptz not null default now(),
  idempotency_key uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint chat_rooms_name_check check (length(name) <= 200 and name !~ '[[:cntrl:]]'),
  constraint chat_rooms_description_check check (length(description) <= 2000),
  constraint chat_rooms_room_type_check check (room_type in ('direct', 'group', 'private')),
  constraint chat_rooms_only_groups_are_public check (not is_public or room_type = 'group'),
  constraint chat_rooms_direct_ones_have_no_password check (not has_password or room_type <> 'direct'),
  constraint chat_rooms_counters_are_not_negative check (last_sequence >= 0 and last_event_sequence >= last_sequence)
) with (fillfactor = 70);

alter table rooms.chat_rooms enable row level security;

-- Serves the foreign key.
create index chat_rooms_creator_id_idx on rooms.chat_rooms (creator_id);
-- The list of rooms that any user may join.
create index chat_rooms_is_public_idx on rooms.chat_rooms (id) where is_public;
-- Finds the room of a repeated createRoom.
create unique index chat_rooms_idempotency_key_idx
  on rooms.chat_rooms (creator_id, idempotency_key) where idempotency_key is not null;

comment on table rooms.chat_rooms is 'One row per room.';
comment on column rooms.chat_rooms.id is 'Id (UUIDv7).';
comment on column rooms.chat_rooms.creator_id is 'The creator; null for a deleted account.';
comment on column rooms.chat_rooms.name is 'Name shown to people, at most 200 characters; empty for most direct rooms.';
comment on column rooms.chat_rooms.description is 'Description of the room''s purpose.';
comment on column rooms.chat_rooms.room_type is
  'Type: direct (two users, one room per pair), group, or private (only moderators can invite).';
comment on column rooms.chat_rooms.is_public is 'Whether the room is listed for all signed-in users, who may join; groups only.';
comment on column rooms.chat_rooms.has_password is 'Whether joining without an invite needs a password.';
comment on column rooms.chat_rooms.ai_enabled is 'Whether an AI is a member.';
comment on column rooms.chat_rooms.history_is_shared is 'Whether new members see messages from before they joined.';
comment on column rooms.chat_rooms.last_sequence is 'Number of messages ever posted; the sequence of the latest message.';
comment on column rooms.chat_rooms.last_event_sequence is 'Number of events; the sequence of the latest event.';
comment on column rooms.chat_rooms.audience_version is
  E'@behavior -*\n'
  'Version of the audience; it rises when a user joins or blocks another. An answer generated for an earlier audience '
  'is not posted to a later one.';
comment on column rooms.chat_rooms.last_activity_at is 'Time of the latest message, or of the creation of the room.';
comment on column rooms.chat_rooms.idempotency_key is
  E'@behavior -*\n'
  'Idempotency key of the request that created the room; a repeated request creates no second room.';
comment on column rooms.chat_rooms.created_at is 'Time when the room was created.';
comment on column rooms.chat_rooms.updated_at is 'Time of the last change of name or settings.';
comment on constraint chat_rooms_creator_id_fkey on rooms.chat_rooms is '@behavior -*';

create table rooms.room_members (
  id uuid primary key default plinth.uuid_v7(),
  room_id uuid not null references rooms.chat_rooms on delete cascade,
  user_id uuid references identity.users on delete cascade,
  role text not null default 'member',
  is_muted boolean not null default false,
  is_archived boolean not null default false,
  visible_after bigint not null default 0,
  last_read_sequence bigint not null default 0,
  last_read_at timestamptz,
  joined_at timestamptz not null default now(),
  -- One AI per room: its user_id is null, and nulls are not distinct.
  constraint room_members_room_id_user_id_key unique nulls not distinct (room_id, user_id),
  constraint room_members_role_check check (role in ('creator', 'moderator', 'member', 'ai')),
  constraint room_members_only_the_ai_has_no_account check ((role = 'ai') = (user_id is null)),
  constraint room_members_watermarks_are_not_negative check (visible_after >= 0 and last_read_sequence >= 0)
) with (fillfactor = 80);

alter table rooms.room_members enable row level security;

-- A user's rooms; also serves the foreign key. The unique key serves room_id.
create index room_members_user_id_room_id_idx on rooms.room_members (user_id, room_id);

comment on table rooms.room_members is
  E'@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list '
  '-manyRelation:resource:connection\n'
  'One row per member of a room; deleted when the member leaves.';
comment on column rooms.room_members.id is 'Id (UUIDv7).';
comment on column rooms.room_members.room_id is 'The room.';
comment on column rooms.room_members.user_id is 'The member; null for the AI.';
comment on column rooms.room_members.role is 'Role: creator, moderator, member or ai.';
comment on column rooms.room_members.is_muted is 'Whether the member has muted notifications; enforced by clients.';
comment on column rooms.room_members.is_archived is 'Whether the member has archived the room; enforced by clients.';
comment on column rooms.room_members.visible_after is 'Number of a room event; the member sees only what came after it.';
comment on column rooms.room_members.last_read_sequence is
  'Sequence of the last message the member has read; messages up to it are not unread.';
comment on column rooms.room_members.last_read_at is 'Time when the member last marked messages as read or unread.';
comment on column rooms.room_members.joined_at is 'Time when the member joined.';
comment on constraint room_members_room_id_fkey on rooms.room_members is '@foreignFieldName members';
comment on constraint room_members_user_id_fkey on rooms.room_members is '@behavior -*';

-- Few indexes, because each makes posting more expensive: numbers and times increase together, so queries use event_sequence.
create table rooms.room_messages (
  id uuid primary key default plinth.uuid_v7(),
  room_id uuid not null references rooms.chat_rooms on delete cascade,
  sender_id uuid default plinth.current_user_id() references identity.users on delete set null,
  reply_to_id uuid references rooms.room_messages on delete set null,
  sender_type text not null default 'user',
  message_type text not null default 'text',
  content text not null,
  metadata jsonb not null default '{}',
  is_private boolean not null default false,
  is_deleted boolean not null default false,
  sequence bigint not null default 0,
  event_sequence bigint not null default 0,
  sender_sequence bigint not null default 0,
  idempotency_key uuid,
  edited_at timestamptz,
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  constraint room_messages_room_id_event_sequence_key unique (room_id, event_sequence),
  constraint room_messages_sender_type_check check (sender_type in ('user', 'ai', 'system')),
  constraint room_messages_only_users_have_accounts check (sender_id is null or sender_type = 'user'),
  constraint room_messages_message_type_check check (message_type in ('text', 'invite', 'system')),
  constraint room_messages_content_check check (octet_length(content) <= 40000),
  constraint room_messages_have_content_until_deleted check ((content = '') = is_deleted),
  constraint room_messages_deleted_at_tells_is_deleted check ((deleted_at is not null) = is_deleted),
  constraint room_messages_metadata_is_a_small_object
    check (jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 20000)
);

alter table rooms.room_messages enable row level security;

-- A sender's messages in a room, in order: the number after a watermark is the difference of two sender_sequences. Also serves
-- the foreign key.
create index room_messages_sender_id_room_id_sequence_idx on rooms.room_messages (sender_id, room_id, sequence);
-- The latest messages of a room, for the documented query.
create index room_messages_room_id_created_at_idx on rooms.room_messages (room_id, created_at) where not is_deleted;
-- Serves the foreign key, and the list of replies to a message.
create index room_messages_reply_to_id_idx on rooms.room_messages (reply_to_id);
-- Finds the message of a repeated post.
create unique index room_messages_idempotency_key_idx on rooms.room_messages (room_id, sender_id, idempotency_key)
  where idempotency_key is not null;
-- AI workers look every few seconds for rooms that wait for an answer. The AI's last answer may be old or missing; without this
-- index, the query would read all messages of such a room.
create index room_messages_ai_answers_idx on rooms.room_messages (room_id, event_sequence) where sender_type = 'ai';
create index room_messages_content_idx on rooms.room_messages
  using gin (room_id, plinth.search_document('en', content)) where not is_deleted;

comment on table rooms.room_messages is
  E'@foreignKey (sender_id) references identity.profiles (id)|@fieldName senderProfile|@behavior '
  '-manyRelation:resource:list -manyRelation:resource:connection\n'
  'One row per message of a room. Deleted messages stay without their content, so that numbers have no gaps.';
comment on column rooms.room_messages.id is 'Id (UUIDv7).';
comment on column rooms.room_messages.room_id is 'The room.';
comment on column rooms.room_messages.sender_id is 'The sender; null for the AI, the system and deleted accounts.';
comment on column rooms.room_messages.reply_to_id is 'The message it replies to, or null.';
comment on column rooms.room_messages.sender_type is 'Type of sender: user, ai or system.';
comment on column rooms.room_messages.message_type is 'Type of message: text, invite or system.';
comment on column rooms.room_messages.content is 'Text of the message, at most 40,000 bytes; empty if deleted.';
comment on column rooms.room_messages.metadata is 'Data added by the application (JSON object, at most 20,000 bytes).';
comment on column rooms.room_messages.is_private is 'Whether only the sender and the recipients see the message.';
comment on column rooms.room_messages.is_deleted is
  'Whether the message was deleted; its content is then in room_message_revisions.';
comment on column rooms.room_messages.sequence is 'Number of the message in the room: 1, 2, 3 without gaps.';
comment on column rooms.room_messages.event_sequence is 'Number of the event that posted the message.';
comment on column rooms.room_messages.sender_sequence is
  E'@behavior -*\n'
  'Number of messages to all members that the sender had posted in the room, including this one.';
comment on column rooms.room_messages.idempotency_key is
  E'@behavior -*\n'
  'Idempotency key of the request; a repeated request posts no second message.';
comment on column rooms.room_messages.edited_at is 'Time of the last edit, or null.';
comment on column rooms.room_messages.deleted_at is 'Time of deletion, or null.';
comment on column rooms.room_messages.created_at is 'Time when the message was posted; rises with the sequence.';
comment on constraint room_messages_room_id_fkey on rooms.room_messages is '@foreignFieldName messages';
comment on constraint room_messages_sender_id_fkey on rooms.room_messages is '@behavior -*';
comment on constraint room_messages_reply_to_id_fkey on rooms.room_messages is '@foreignFieldName replies';

create table rooms.room_message_recipients (
  message_id uuid not null references rooms.room_messages on delete cascade,
  user_id uuid not null references identity.users on delete cascade,
  primary key (message_id, user_id)
);

alter table rooms.room_message_recipients enable row level security;

-- Serves the foreign key.
create index room_message_recipients_user_id_idx on rooms.room_message_recipients (user_id);

comment on table rooms.room_message_recipients is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  '@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list '
  '-manyRelation:resource:connection\n'
  'One row per private message and member who may read it, besides its sender.';
comment on column rooms.room_message_recipients.message_id is 'The message.';
comment on column rooms.room_message_recipients.user_id is 'The member who may read the message.';
comment on constraint room_message_recipients_message_id_fkey on rooms.room_message_recipients is '@foreignFieldName recipients';
comment on constraint room_message_recipients_user_id_fkey on rooms.room_message_recipients is '@behavior -*';

create table rooms.room_message_mentions (
  message_id uuid not null references rooms.room_messages on delete cascade,
  user_id uuid not null references identity.users on delete cascade,
  primary key (message_id, user_id)
);

alter table rooms.room_message_mentions enable row level security;

-- A user's mentions, newest last; also serves the foreign key.
create index room_message_mentions_user_id_message_id_idx on rooms.room_message_mentions (user_id, message_id);

comment on table rooms.room_message_mentions is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  '@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list '
  '-manyRelation:resource:connection\n'
  'One row per message and member mentioned in it.';
comment on column rooms.room_message_mentions.message_id is 'The message.';
comment on column rooms.room_message_mentions.user_id is 'The mentioned member; never the sender.';
comment on constraint room_message_mentions_message_id_fkey on rooms.room_message_mentions is '@foreignFieldName mentions';
comment on constraint room_message_mentions_user_id_fkey on rooms.room_message_mentions is '@behavior -*';

create table rooms.room_message_reactions (
  message_id uuid not null references rooms.room_messages on delete cascade,
  user_id uuid not null references identity.users on delete cascade,
  emoji text not null,
  created_at timestamptz not null default now(),
  primary key (message_id, user_id, emoji),
  constraint room_message_reactions_emoji_check check (length(emoji) between 1 and 16 and emoji !~ '[[:cntrl:][:space:]]')
);

alter table rooms.room_message_reactions enable row level security;

-- Serves the foreign key.
create index room_message_reactions_user_id_idx on rooms.room_message_reactions (user_id);

comment on table rooms.room_message_reactions is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  '@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list '
  '-manyRelation:resource:connection\n'
  'One row per message, member and emoji of a reaction.';
comment on column rooms.room_message_reactions.message_id is 'The message.';
comment on column rooms.room_message_reactions.user_id is 'The member who reacted.';
comment on column rooms.room_message_reactions.emoji is 'Reaction: an emoji or a short word, at most 16 characters.';
comment on column rooms.room_message_reactions.created_at is 'Time of the reaction.';
comment on constraint room_message_reactions_message_id_fkey on rooms.room_message_reactions is '@foreignFieldName reactions';
comment on constraint room_message_reactions_user_id_fkey on rooms.room_message_reactions is '@behavior -*';

create table rooms.room_message_revisions (
  message_id uuid not null references rooms.room_messages on delete cascade,
  revision integer not null,
  author_id uuid references identity.users on delete cascade,
  actor_id uuid references identity.users on delete set null,
  change text not null,
  content text not null,
  created_at timestamptz not null default now(),
  primary key (message_id, revision),
  constraint room_message_revisions_revision_is_positive check (revision > 0),
  constraint room_message_revisions_change_check check (change in ('edited', 'deleted'))
);

alter table rooms.room_message_revisions enable row level security;

-- Serve the foreign keys.
create index room_message_revisions_author_id_idx on rooms.room_message_revisions (author_id);
create index room_message_revisions_actor_id_idx on rooms.room_message_revisions (actor_id);

comment on table rooms.room_message_revisions is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  'One row per earlier text of a room message, from before it was edited or deleted.';
comment on column rooms.room_message_revisions.message_id is 'The message.';
comment on column rooms.room_message_revisions.revision is 'Number of the revision: 1, 2, 3 in the order of the changes.';
comment on column rooms.room_message_revisions.author_id is 'The author of the message; null for the AI and the system.';
comment on column rooms.room_message_revisions.actor_id is 'The account that edited or deleted it; null for a deleted account.';
comment on column rooms.room_message_revisions.change is 'Kind of change: edited or deleted.';
comment on column rooms.room_message_revisions.content is 'Text before the change.';
comment on column rooms.room_message_revisions.created_at is 'Time of the change.';
comment on constraint room_message_revisions_message_id_fkey on rooms.room_message_revisions is '@foreignFieldName revisions';
comment on constraint room_message_revisions_author_id_fkey on rooms.room_message_revisions is '@behavior -*';
comment on constraint room_message_revisions_actor_id_fkey on rooms.room_message_revisions is '@behavior -*';

-- A message is itself the event of its posting, so that no second row is needed; rooms.room_events shows both as one log. Not
-- partitioned: queries go by room and number, and rows are deleted with their room.
create table rooms.room_changes (
  room_id uuid not null references rooms.chat_rooms on delete cascade,
  sequence bigint not null,
  kind text not null,
  message_id uuid references rooms.room_messages on delete cascade,
  user_id uuid references identity.users on delete set null,
  created_at timestamptz not null default now(),
  primary key (room_id, sequence),
  constraint room_changes_sequence_is_positive check (sequence > 0),
  constraint room_changes_kind_check check (kind in (
    'message_edited', 'message_deleted', 'message_restored', 'reactions_changed',
    'member_joined', 'member_left', 'member_changed', 'room_changed'
  )),
  constraint room_changes_name_the_message_of_message_events
    check ((message_id is not null) = (kind like 'message\_%' or kind = 'reactions_changed'))
);

alter table rooms.room_changes enable row level security;

-- Serve the foreign keys.
create index room_changes_message_id_idx on rooms.room_changes (message_id);
create index room_changes_user_id_idx on rooms.room_changes (user_id);

comment on table rooms.room_changes is
  E'@behavior -*\n'
  'One row per event of a room other than a posted message; see the view room_events.';
comment on column rooms.room_changes.room_id is 'The room.';
comment on column rooms.room_changes.sequence is 'Number of the event in the room.';
comment on column rooms.room_changes.kind is 'Kind of event.';
comment on column rooms.room_changes.message_id is 'The message concerned, or null.';
comment on column rooms.room_changes.user_id is
  'The member concerned, or the user who acted; null for the AI and deleted accounts.';
comment on column rooms.room_changes.created_at is 'Time of the event.';
comment on constraint room_changes_user_id_fkey on rooms.room_changes is '@behavior -*';

create table rooms.room_invites (
  id uuid primary key default plinth.uuid_v7(),
  room_id uuid not null references rooms.chat_rooms on delete cascade,
  inviter_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
  invitee_id uuid not null references identity.users on delete cascade,
  message_id uuid references rooms.room_messages on delete set null,
  message text,
  status text not null default 'pending',
  responded_at timestamptz,
  created_at timestamptz not null default now(),
  constraint room_invites_room_id_invitee_id_key unique (room_id, invitee_id),
  constraint room_invites_nobody_invites_themselves check (inviter_id <> invitee_id),
  constraint room_invites_message_check check (length(message) between 1 and 1000),
  constraint room_invites_status_check check (status in ('pending', 'accepted', 'declined')),
  constraint room_invites_answered_ones_say_when check ((responded_at is null) = (status = 'pending'))
);

alter table rooms.room_invites enable row level security;

-- A user's open invites; also serves the foreign key. The unique key serves room_id.
create index room_invites_invitee_id_status_idx on rooms.room_invites (invitee_id, status);
-- Serve the foreign keys.
create index room_invites_inviter_id_idx on rooms.room_invites (inviter_id);
create index room_invites_message_id_idx on rooms.room_invites (message_id);

comment on table rooms.room_invites is
  E'@foreignKey (inviter_id) references identity.profiles (id)|@fieldName inviterProfile|@behavior '
  '-manyRelation:resource:list -manyRelation:resource:connection\n'
  '@foreignKey (invitee_id) references identity.profiles (id)|@fieldName inviteeProfile|@behavior '
  '-manyRelation:resource:list -manyRelation:resource:connection\n'
  'One row per room and user invited to it; a new invite replaces a declined one.';
comment on column rooms.room_invites.id is 'Id (UUIDv7).';
comment on column rooms.room_invites.room_id is 'The room of the invite.';
comment on column rooms.room_invites.inviter_id is 'The user who invites.';
comment on column rooms.room_invites.invitee_id is 'The user who is invited.';
comment on column rooms.room_invites.message_id is 'The message of type invite that announced it in another room, or null.';
comment on column rooms.room_invites.message is 'Note from the inviter, at most 1,000 characters, or null.';
comment on column rooms.room_invites.status is 'State: pending, accepted or declined.';
comment on column rooms.room_invites.responded_at is 'Time of the answer, or null.';
comment on column rooms.room_invites.created_at is 'Time when the invite was created.';
comment on constraint room_invites_room_id_fkey on rooms.room_invites is '@foreignFieldName invites';
comment on constraint room_invites_inviter_id_fkey on rooms.room_invites is '@behavior -*';
comment on constraint room_invites_invitee_id_fkey on rooms.room_invites is '@behavior -*';
comment on constraint room_invites_message_id_fkey on rooms.room_invites is
  E'@fieldName roomMessage\n'
  '@foreignFieldName roomInvites';

create table rooms.room_bans (
  room_id uuid not null references rooms.chat_rooms on delete cascade,
  user_id uuid not null references identity.users on delete cascade,
  banned_by uuid references identity.users on delete set null,
  reason text,
  created_at timestamptz not null default now(),
  primary key (room_id, user_id),
  constraint room_bans_reason_check check (length(reason) between 1 and 1000)
);

alter table rooms.room_bans enable row level security;

-- Serve the foreign keys.
create index room_bans_user_id_idx on rooms.room_bans (user_id);
create index room_bans_banned_by_idx on rooms.room_bans (banned_by);

comment on table rooms.room_bans is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  '@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list '
  '-manyRelation:resource:connection\n'
  'One row per room and user banned from it.';
comment on column rooms.room_bans.room_id is 'The room.';
comment on column rooms.room_bans.user_id is 'The user who cannot join or be invited.';
comment on column rooms.room_bans.banned_by is 'The moderator who banned the user; null for a deleted account.';
comment on column rooms.room_bans.reason is 'Reason for the ban, or null.';
comment on column rooms.room_bans.created_at is 'Time of the ban.';
comment on constraint room_bans_room_id_fkey on rooms.room_bans is '@foreignFieldName bans';
comment on constraint room_bans_user_id_fkey on rooms.room_bans is '@behavior -*';
comment on constraint room_bans_banned_by_fkey on rooms.room_bans is '@behavior -*';

create table rooms.user_blocks (
  user_id uuid not null references identity.users on delete cascade,
  blocked_id uuid not null references identity.users on delete cascade,
  created_at timestamptz not null default now(),
  primary key (user_id, blocked_id),
  constraint user_blocks_nobody_blocks_themselves check (user_id <> blocked_id)
);

alter table rooms.user_blocks enable row level security;

-- Serves the foreign key.
create index user_blocks_blocked_id_idx on rooms.user_blocks (blocked_id);

comment on table rooms.user_blocks is
  E'@foreignKey (blocked_id) references identity.profiles (id)|@fieldName blockedProfile|@behavior '
  '-manyRelation:resource:list -manyRelation:resource:connection\n'
  'One row per user and user they have blocked.';
comment on column rooms.user_blocks.user_id is 'The user who blocks.';
comment on column rooms.user_blocks.blocked_id is
  'The blocked user, whose messages are hidden from the user and who cannot write to them directly or invite them.';
comment on column rooms.user_blocks.created_at is 'Time of the block.';
comment on constraint user_blocks_user_id_fkey on rooms.user_blocks is '@behavior -*';
comment on constraint user_blocks_blocked_id_fkey on rooms.user_blocks is '@behavior -*';

create table rooms.user_event_counters (
  user_id uuid primary key references identity.users on delete cascade,
  sequence bigint not null default 0,
  constraint user_event_counters_sequence_is_not_negative check (sequence >= 0)
) with (fillfactor = 50);

alter table rooms.user_event_counters enable row level security;

comment on table rooms.user_event_counters is
  E'@behavior -*\n'
  'One row per user: number of changes of their memberships, read marks and invites, which subscribers of user:<id> '
  'compare.';
comment on column rooms.user_event_counters.user_id is 'The user.';
comment on column rooms.user_event_counters.sequence is 'Number of changes.';
comment on constraint user_event_counters_user_id_fkey on rooms.user_event_counters is '@behavior -*';

create table rooms.general_chat_messages (
  id uuid primary key default plinth.uuid_v7(),
  sender_id uuid default plinth.current_user_id() references identity.users on delete set null,
  content text not null,
  is_deleted boolean not null default false,
  idempotency_key uuid,
  edited_at timestamptz,
  deleted_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  constraint general_chat_messages_content_check check (octet_length(content) <= 4000),
  constraint general_chat_messages_have_content_until_deleted check ((content = '') = is_deleted),
  constraint general_chat_messages_deleted_at_tells_is_deleted check ((deleted_at is not null) = is_deleted)
);

alter table rooms.general_chat_messages enable row level security;

-- The latest messages.
create index general_chat_messages_created_at_idx on rooms.general_chat_messages (created_at);
-- A sender's latest message, for slow mode; also serves the foreign key.
create index general_chat_messages_sender_id_created_at_idx on rooms.general_chat_messages (sender_id, created_at);
-- Finds the message of a repeated post.
create unique index general_chat_messages_idempotency_key_idx on rooms.general_chat_messages (sender_id, idempotency_key)
  where idempotency_key is not null;

comment on table rooms.general_chat_messages is
  E'@foreignKey (sender_id) references identity.profiles (id)|@fieldName senderProfile|@behavior '
  '-manyRelation:resource:list -manyRelation:resource:connection\n'
  'One row per message of the chat shared by all signed-in users.';
comment on column rooms.general_chat_messages.id is 'Id (UUIDv7).';
comment on column rooms.general_chat_messages.sender_id is 'The sender; null for a deleted account.';
comment on column rooms.general_chat_messages.content is 'Text of the message, at most 4,000 bytes; empty if deleted.';
comment on column rooms.general_chat_messages.is_deleted is
  'Whether the message was deleted; its content is then in general_chat_revisions.';
comment on column rooms.general_chat_messages.idempotency_key is
  E'@behavior -*\n'
  'Idempotency key of the request; a repeated request posts no second message.';
comment on column rooms.general_chat_messages.edited_at is 'Time of the last edit, or null.';
comment on column rooms.general_chat_messages.deleted_at is 'Time of deletion, or null.';
comment on column rooms.general_chat_messages.created_at is 'Time when the message was posted.';
comment on constraint general_chat_messages_sender_id_fkey on rooms.general_chat_messages is '@behavior -*';

create table rooms.general_chat_revisions (
  message_id uuid not null references rooms.general_chat_messages on delete cascade,
  revision integer not null,
  author_id uuid references identity.users on delete cascade,
  actor_id uuid references identity.users on delete set null,
  change text not null,
  content text not null,
  created_at timestamptz not null default now(),
  primary key (message_id, revision),
  constraint general_chat_revisions_revision_is_positive check (revision > 0),
  constraint general_chat_revisions_change_check check (change in ('edited', 'deleted'))
);

alter table rooms.general_chat_revisions enable row level security;

-- Serve the foreign keys.
create index general_chat_revisions_author_id_idx on rooms.general_chat_revisions (author_id);
create index general_chat_revisions_actor_id_idx on rooms.general_chat_revisions (actor_id);

comment on table rooms.general_chat_revisions is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  'One row per earlier text of a general chat message, from before it was edited or deleted.';
comment on column rooms.general_chat_revisions.message_id is 'The message.';
comment on column rooms.general_chat_revisions.revision is 'Number of the revision: 1, 2, 3 in the order of the changes.';
comment on column rooms.general_chat_revisions.author_id is 'The author of the message.';
comment on column rooms.general_chat_revisions.actor_id is 'The account that edited or deleted it; null for a deleted account.';
comment on column rooms.general_chat_revisions.change is 'Kind of change: edited or deleted.';
comment on column rooms.general_chat_revisions.content is 'Text before the change.';
comment on column rooms.general_chat_revisions.created_at is 'Time of the change.';
comment on constraint general_chat_revisions_message_id_fkey on rooms.general_chat_revisions is '@foreignFieldName revisions';
comment on constraint general_chat_revisions_author_id_fkey on rooms.general_chat_revisions is '@behavior -*';
comment on constraint general_chat_revisions_actor_id_fkey on rooms.general_chat_revisions is '@behavior -*';

create table rooms.general_chat_settings (
  id boolean primary key default true,
  is_open boolean not null default true,
  slow_mode_seconds integer not null default 2,
  updated_at timestamptz not null default now(),
  constraint general_chat_settings_are_one_row check (id),
  constraint general_chat_settings_slow_mode_seconds_check check (slow_mode_seconds between 0 and 86400)
);

alter table rooms.general_chat_settings enable row level security;

comment on table rooms.general_chat_settings is 'One row: settings of the general chat.';
comment on column rooms.general_chat_settings.id is 'Always true: the table has one row.';
comment on column rooms.general_chat_settings.is_open is 'Whether all users may write; if false, only moderators can.';
comment on column rooms.general_chat_settings.slow_mode_seconds is
  'Minimum time between two messages of a user, in seconds; 0 disables slow mode. Moderators are exempt.';
comment on column rooms.general_chat_settings.updated_at is 'Time of the last change.';

create table rooms.general_chat_mutes (
  user_id uuid primary key references identity.users on delete cascade,
  muted_by uuid default plinth.current_user_id() references identity.users on delete set null,
  reason text,
  muted_until timestamptz,
  created_at timestamptz not null default now(),
  constraint general_chat_mutes_reason_check check (length(reason) between 1 and 1000)
);

alter table rooms.general_chat_mutes enable row level security;

-- Serves the foreign key.
create index general_chat_mutes_muted_by_idx on rooms.general_chat_mutes (muted_by);

comment on table rooms.general_chat_mutes is
  E'@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list '
  '-manyRelation:resource:connection\n'
  'One row per user who is muted in the general chat.';
comment on column rooms.general_chat_mutes.user_id is 'The muted user.';
comment on column rooms.general_chat_mutes.muted_by is 'The moderator who muted the user; null for a deleted account.';
comment on column rooms.general_chat_mutes.reason is 'Reason for the mute, shown to the user, or null.';
comment on column rooms.general_chat_mutes.muted_until is 'End of the mute; null if permanent.';
comment on column rooms.general_chat_mutes.created_at is 'Time when the user was muted.';
comment on constraint general_chat_mutes_user_id_fkey on rooms.general_chat_mutes is '@behavior -*';
comment on constraint general_chat_mutes_muted_by_fkey on rooms.general_chat_mutes is '@behavior -*';

create table private.room_passwords (
  room_id uuid primary key references rooms.chat_rooms on delete cascade,
  password_hash text not null,
  updated_at timestamptz not null default now(),
  constraint room_passwords_password_hash_is_a_phc_string
    check (password_hash ~ '^\$[a-z0-9-]+\$' and length(password_hash) <= 500)
);

alter table private.room_passwords enable row level security;

comment on table private.room_passwords is 'One row per room with a password.';
comment on column private.room_passwords.room_id is 'The room.';
comment on column private.room_passwords.password_hash is 'Password hash (PHC string), as for accounts.';
comment on column private.room_passwords.updated_at is 'Time when the password was set.';

-- The smaller id of a pair comes first.
create table private.direct_rooms (
  first_user_id uuid not null references identity.users on delete cascade,
  second_user_id uuid not null references identity.users on delete cascade,
  room_id uuid not null references rooms.chat_rooms on delete cascade,
  primary key (first_user_id, second_user_id),
  constraint direct_rooms_room_id_key unique (room_id),
  constraint direct_rooms_are_of_two_in_order check (first_user_id < second_user_id)
);

alter table private.direct_rooms enable row level security;

-- Serves the foreign key.
create index direct_rooms_second_user_id_idx on private.direct_rooms (second_user_id);

comment on table private.direct_rooms is 'One row per pair of users with a direct room.';
comment on column private.direct_rooms.first_user_id is 'The user of the pair with the smaller id.';
comment on column private.direct_rooms.second_user_id is 'The other user of the pair.';
comment on column private.direct_rooms.room_id is 'The direct room of the pair.';

-- Corrections to the difference of two sequence numbers: messages after a watermark that do not count. Each is counted at its own
-- number (level 0) and in its blocks of 64, 4,096 and 262,144 numbers (levels 1 to 3), so that a sum reads a few hundred rows at
-- most.
create table private.room_tallies (
  id bigint generated always as identity primary key,
  room_id uuid not null references rooms.chat_rooms on delete cascade,
  kind text not null,
  user_id uuid references identity.users on delete cascade,
  level smallint not null,
  bucket bigint not null,
  peer_id uuid references identity.users on delete cascade,
  amount bigint not null,
  constraint room_tallies_key unique nulls not distinct (room_id, kind, user_id, level, bucket, peer_id),
  constraint room_tallies_kind_check check (kind in ('uncounted', 'deleted', 'private', 'mention')),
  constraint room_tallies_level_check check (level between 0 and 3),
  constraint room_tallies_amount_is_not_negative check (amount >= 0)
) with (fillfactor = 80);

alter table private.room_tallies enable row level security;

-- Serve the foreign keys.
create index room_tallies_user_id_idx on private.room_tallies (user_id);
create index room_tallies_peer_id_idx on private.room_tallies (peer_id);

comment on table private.room_tallies is 'One row per room, kind, user and block of message numbers with a count.';
comment on column private.room_tallies.id is 'Surrogate key.';
comment on column private.room_tallies.room_id is 'The room.';
comment on column private.room_tallies.kind is
  'Kind of count. uncounted: deleted or private messages, unread for no user. deleted: uncounted messages that user_id '
  'sent to all. private: private messages to user_id from peer_id. mention: mentions of user_id by peer_id.';
comment on column private.room_tallies.user_id is 'The user it is counted for; null for all users.';
comment on column private.room_tallies.level is
  'Size of the block. 0: bucket is a message''s sequence; 1: sequence / 64; 2: sequence / 4096; 3: sequence / 262144.';
comment on column private.room_tallies.bucket is 'Number of the block of message numbers.';
comment on column private.room_tallies.peer_id is 'The sender of the messages; null for the AI, and if the sender is irrelevant.';
comment on column private.room_tallies.amount is 'Number of messages.';

-- Presence and typing are worthless after a minute, so neither table is written to the WAL. After a crash both are empty, and
-- clients announce themselves again.
create unlogged table rooms.typing (
  room_id uuid not null,
  user_id uuid not null references identity.users on delete cascade,
  expires_at timestamptz not null,
  primary key (room_id, user_id),
  constraint typing_room_id_user_id_fkey
    foreign key (room_id, user_id) references rooms.room_members (room_id, user_id) on delete cascade
) with (fillfactor = 50);

alter table rooms.typing enable row level security;

-- Serves the foreign key to users; the primary key serves the other.
create index typing_user_id_idx on rooms.typing (user_id);

comment on table rooms.typing is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single -manyRelation:resource:list '
  '-manyRelation:resource:connection -singularRelation:resource:single\n'
  '@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior '
  '+singularRelation:resource:single -manyRelation:resource:list -manyRelation:resource:connection\n'
  'One row per member who is typing in a room. Unlogged.';
comment on column rooms.typing.room_id is 'The room.';
comment on column rooms.typing.user_id is 'The member who is typing.';
comment on column rooms.typing.expires_at is 'Time when the indicator expires.';
comment on constraint typing_room_id_user_id_fkey on rooms.typing is '@fieldName member';

create unlogged table rooms.presence (
  user_id uuid primary key references identity.users on delete cascade,
  status text not null,
  expires_at timestamptz not null,
  constraint presence_status_check check (status in ('online', 'away', 'offline'))
) with (fillfactor = 50);

alter table rooms.presence enable row level security;

comment on table rooms.presence is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single -manyRelation:resource:list '
  '-manyRelation:resource:connection -singularRelation:resource:single\n'
  '@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior '
  '+singularRelation:resource:single -manyRelation:resource:list -manyRelation:resource:connection\n'
  'One row per user who announced presence. Unlogged.';
comment on column rooms.presence.user_id is 'The user.';
comment on column rooms.presence.status is 'Status: online or away. Users without a row are offline.';
comment on column rooms.presence.expires_at is 'Time when the announcement expires.';

insert into rooms.general_chat_settings default values;

--! Included rooms/functions/block_user.sql
create or replace function rooms.block_user(user_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
begin
  if block_user.user_id is null or block_user.user_id = v_user then
    raise exception 'You cannot block yourself.' using errcode = 'PL422', column = 'user_id';
  end if;
  perform private.lock_accounts(array[v_user, block_user.user_id]);
  if not exists (select from identity.users u where u.id = block_user.user_id) then
    raise exception 'User not found.' using errcode = 'PL404', column = 'user_id';
  elsif (
    select count(*) >= 1000 from rooms.user_blocks b where b.user_id = v_user and b.blocked_id <> block_user.user_id
  ) then
    raise exception 'You have reached the limit of 1000 blocked users.' using errcode = 'PL402';
  end if;
  insert into rooms.user_blocks (user_id, blocked_id)
  values (v_user, block_user.user_id)
  on conflict on constraint user_blocks_pkey do nothing;
  if found then
    perform private.announce_user(v_user);
  end if;
  return true;
end
$$;

comment on function rooms.block_user(uuid) is
  'Blocks a user: the signed-in user no longer sees their messages, and they can neither write to nor invite the signed-in user. Blocking again changes nothing. PL402 above 1000, PL404, PL422.';
grant execute on function rooms.block_user(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/block_user.sql
--! Included rooms/functions/can_see_message.sql
create or replace function rooms.can_see_message(message_id uuid)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select private.sees_message(can_see_message.message_id, plinth.current_user_id())
$$;

comment on function rooms.can_see_message(uuid) is E'@behavior -*\nReturns whether the caller may see a message of a room.';
grant execute on function rooms.can_see_message(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/can_see_message.sql
--! Included rooms/functions/chat_rooms_last_message.sql
create or replace function rooms.chat_rooms_last_message(room rooms.chat_rooms)
  returns rooms.room_messages
  language sql
  stable
  set search_path = pg_catalog
as $$
  select r.* from rooms.recent_room_messages(room.id, null, 1) r
$$;

comment on function rooms.chat_rooms_last_message(rooms.chat_rooms) is 'Returns the last message that the signed-in user may see, or null.';
grant execute on function rooms.chat_rooms_last_message(rooms.chat_rooms) to :PLINTH_USER;
--! EndIncluded rooms/functions/chat_rooms_last_message.sql
--! Included rooms/functions/chat_rooms_my_membership.sql
create or replace function rooms.chat_rooms_my_membership(room rooms.chat_rooms)
  returns rooms.room_members
  language sql
  stable
  set search_path = pg_catalog
as $$
  select m.* from rooms.room_members m where m.room_id = room.id and m.user_id = (select plinth.current_user_id())
$$;

comment on function rooms.chat_rooms_my_membership(rooms.chat_rooms) is 'Returns the signed-in user''s membership, with role and read mark; null for a user who is not a member.';
grant execute on function rooms.chat_rooms_my_membership(rooms.chat_rooms) to :PLINTH_USER;
--! EndIncluded rooms/functions/chat_rooms_my_membership.sql
--! Included rooms/functions/count_unread.sql
-- Exact and constant in cost: no message is read, however many there are. Unread for a member are the messages after the
-- watermark,
--   minus those never counted (deleted, private),
--   minus those posted by the member and by users they block,
--   plus private messages to the member from users they do not block.
-- One snapshot, since the function is stable: the number agrees with the messages that the same statement would find.
create or replace function rooms.count_unread(room_id uuid)
  returns table (unread_count bigint, mention_count bigint)
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_watermark bigint;
  v_last bigint;
  v_blocked uuid[];
begin
  unread_count := 0;
  mention_count := 0;
  select m.last_read_sequence, r.last_sequence into v_watermark, v_last
  from rooms.room_members m
  join rooms.chat_rooms r on r.id = m.room_id
  where m.room_id = count_unread.room_id and m.user_id = v_user;
  if v_watermark is null then
    return;
  end if;
  if v_watermark < v_last then
    v_blocked := array(select b.blocked_id from rooms.user_blocks b where b.user_id = v_user);
    unread_count := v_last - v_watermark
      - private.uncounted_in_room_after(count_unread.room_id, v_watermark)
      + private.counted_in_room_after(count_unread.room_id, 'private', v_user, v_watermark, v_blocked)
      - (
        select coalesce(sum(private.posted_in_room_after(count_unread.room_id, s.id, v_watermark)), 0)
        from unnest(v_blocked || v_user) s (id)
      );
    mention_count := private.counted_in_room_after(count_unread.room_id, 'mention', v_user, v_watermark, v_blocked);
  end if;
  return next;
end
$$;

comment on function rooms.count_unread(uuid) is
  E'@behavior -*\n'
  'Returns the number of unread messages and mentions of the signed-in user in a room; no row for a caller who is not a member.';
grant execute on function rooms.count_unread(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/count_unread.sql
--! Included rooms/functions/create_direct_room.sql
create or replace function rooms.create_direct_room(user_id uuid)
  returns rooms.chat_rooms
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
  v_first uuid;
  v_second uuid;
  v_room rooms.chat_rooms;
begin
  if create_direct_room.user_id is null or create_direct_room.user_id = v_user then
    raise exception 'A direct room needs another user.' using errcode = 'PL422', column = 'user_id';
  end if;
  v_first := least(v_user, create_direct_room.user_id);
  v_second := greatest(v_user, create_direct_room.user_id);
  perform private.lock_accounts(array[v_first, v_second]);
  -- The same answer for an account that does not exist, is not active, or does not accept messages from the caller.
  if not exists (select from identity.users u where u.id = create_direct_room.user_id and u.is_active)
    or private.is_blocked(v_user, create_direct_room.user_id)
    or private.is_blocked(create_direct_room.user_id, v_user)
  then
    raise exception 'User not found, or you may not write to them.' using errcode = 'PL404', column = 'user_id';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('rooms.create_direct_room ' || v_first || v_second, 0));
  select r.* into v_room
  from private.direct_rooms d
  join rooms.chat_rooms r on r.id = d.room_id
  where d.first_user_id = v_first and d.second_user_id = v_second;
  if v_room.id is not null then
    return v_room;
  end if;
  perform private.enforce_rate_limit('room_create_per_account', v_user::text);
  insert into rooms.chat_rooms as r (creator_id, room_type) values (v_user, 'direct') returning r.* into v_room;
  insert into private.direct_rooms (first_user_id, second_user_id, room_id) values (v_first, v_second, v_room.id);
  insert into rooms.room_members (room_id, user_id, role) values (v_room.id, v_first, 'member'), (v_room.id, v_second, 'member');
  select r.* into v_room from rooms.chat_rooms r where r.id = v_room.id;
  return v_room;
end
$$;

comment on function rooms.create_direct_room(uuid) is
  'Returns the direct room of the signed-in user and another one, and creates it if needed; there is never a second. PL404 for a user who cannot be written to.';
grant execute on function rooms.create_direct_room(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/create_direct_room.sql
--! Included rooms/functions/create_room.sql
create or replace function rooms.create_room(
  name text,
  room_type text default 'group',
  description text default '',
  is_public boolean default false,
  ai_enabled boolean default false,
  history_is_shared boolean default true,
  idempotency_key uuid default null
)
  returns rooms.chat_rooms
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
  v_room rooms.chat_rooms;
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    trim(create_room.name), create_room.room_type, create_room.description, create_room.is_public, create_room.ai_enabled,
    create_room.history_is_shared
  ));
begin
  if create_room.room_type = 'direct' then
    raise exception 'A direct room needs the other user, not a name. Use createDirectRoom.' using errcode = 'PL422', column = 'room_type';
  elsif coalesce(trim(create_room.name), '') = '' then
    raise exception 'A room needs a name.' using errcode = 'PL422', column = 'name';
  end if;
  perform private.lock_accounts(array[v_user]);
  if create_room.idempotency_key is not null then
    -- Of two concurrent attempts, the second waits here and finds the first one's room.
    perform pg_advisory_xact_lock(hashtextextended('rooms.create_room ' || v_user || create_room.idempotency_key, 0));
    select r.* into v_room
    from rooms.chat_rooms r
    where r.creator_id = v_user and r.idempotency_key = create_room.idempotency_key;
    if v_room.id is not null then
      -- A room that predates the digests is compared as long as it is unchanged.
      perform private.refuse_other_request(coalesce(
        (select d.digest = v_digest from private.request_digests d where d.chat_room_id = v_room.id),
        v_room.updated_at <> v_room.created_at
          or v_digest = private.request_digest(jsonb_build_array(
            v_room.name, v_room.room_type, v_room.description, v_room.is_public, v_room.ai_enabled, v_room.history_is_shared
          ))
      ));
      return v_room;
    end if;
  end if;
  perform private.enforce_rate_limit('room_create_per_account', v_user::text);
  insert into rooms.chat_rooms as r (
    creator_id, name, room_type, description, is_public, ai_enabled, history_is_shared, idempotency_key
  )
  values (
    v_user, trim(create_room.name), create_room.room_type, create_room.description, create_room.is_public,
    create_room.ai_enabled, create_room.history_is_shared, create_room.idempotency_key
  )
  returning r.* into v_room;
  if create_room.idempotency_key is not null then
    insert into private.request_digests (user_id, chat_room_id, digest) values (v_user, v_room.id, v_digest);
  end if;
  insert into rooms.room_members (room_id, user_id, role) values (v_room.id, v_user, 'creator');
  if v_room.ai_enabled then
    insert into rooms.room_members (room_id, user_id, role) values (v_room.id, null, 'ai');
  end if;
  select r.* into v_room from rooms.chat_rooms r where r.id = v_room.id;
  return v_room;
end
$$;

comment on function rooms.create_room(text, text, text, boolean, boolean, boolean, uuid) is
  'Creates a group or private room with the signed-in user as its creator and, where enabled, an AI as a member. The same idempotency key again returns the same room. PL409 for a key that was used for another room, PL422 for a bad type or no name, PL429 for too many.';
grant execute on function rooms.create_room(text, text, text, boolean, boolean, boolean, uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/create_room.sql
--! Included rooms/functions/delete_general_chat_message.sql
create or replace function rooms.delete_general_chat_message(message_id uuid)
  returns rooms.general_chat_messages
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select * from private.change_general_chat_message(message_id, '')
$$;

comment on function rooms.delete_general_chat_message(uuid) is
  'Deletes the signed-in user''s own message in the general chat, or with the permission moderate_general_chat any message; the text is kept for its moderators. PL403, PL404.';
grant execute on function rooms.delete_general_chat_message(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/delete_general_chat_message.sql
--! Included rooms/functions/delete_room_message.sql
create or replace function rooms.delete_room_message(message_id uuid)
  returns rooms.room_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_room_id constant uuid := private.lock_room_of_message(delete_room_message.message_id);
  v_message rooms.room_messages;
begin
  select msg.* into v_message from rooms.room_messages msg where msg.id = delete_room_message.message_id;
  if v_message.sender_id is distinct from v_user then
    perform private.require_room_moderator(v_room_id);
  end if;
  if not v_message.is_deleted then
    perform private.keep_revision(v_message, 'deleted');
    update rooms.room_messages msg
    set content = '', is_deleted = true, deleted_at = clock_timestamp()
    where msg.id = v_message.id
    returning msg.* into v_message;
  end if;
  return v_message;
end
$$;

comment on function rooms.delete_room_message(uuid) is
  'Deletes the signed-in user''s own message, or as a moderator of the room any message: its row stays without the text, which its author and the moderators can still read. Deleting it again changes nothing. PL403, PL404.';
grant execute on function rooms.delete_room_message(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/delete_room_message.sql
--! Included rooms/functions/edit_general_chat_message.sql
create or replace function rooms.edit_general_chat_message(message_id uuid, content text)
  returns rooms.general_chat_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if edit_general_chat_message.content is null or edit_general_chat_message.content = '' then
    raise exception 'A message cannot be empty.' using errcode = 'PL422', column = 'content';
  end if;
  return private.change_general_chat_message(edit_general_chat_message.message_id, edit_general_chat_message.content);
end
$$;

comment on function rooms.edit_general_chat_message(uuid, text) is
  'Changes the signed-in user''s own message in the general chat; the previous text is kept for its moderators. PL403, PL404, PL409 when deleted, PL422.';
grant execute on function rooms.edit_general_chat_message(uuid, text) to :PLINTH_USER;
--! EndIncluded rooms/functions/edit_general_chat_message.sql
--! Included rooms/functions/edit_room_message.sql
create or replace function rooms.edit_room_message(message_id uuid, content text, mentions uuid[] default null)
  returns rooms.room_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_message rooms.room_messages;
  v_mentions uuid[];
  v_gone uuid[];
begin
  if edit_room_message.content is null or edit_room_message.content = '' then
    raise exception 'A message cannot be empty.' using errcode = 'PL422', column = 'content';
  end if;
  -- Mentioned users are looked up and locked before the room.
  select msg.* into v_message
  from rooms.room_messages msg
  where msg.id = edit_room_message.message_id and msg.sender_id = v_user;
  if v_message.id is not null then
    v_mentions := private.find_mentions(
      v_message.room_id, v_user, edit_room_message.content, edit_room_message.mentions,
      case when v_message.is_private then array(
        select r.user_id from rooms.room_message_recipients r where r.message_id = v_message.id
      ) end
    );
    perform private.lock_accounts(v_mentions || v_user);
  end if;
  perform private.lock_room_of_message(edit_room_message.message_id);
  select msg.* into v_message from rooms.room_messages msg where msg.id = edit_room_message.message_id;
  if v_message.sender_id is distinct from v_user then
    raise exception 'Only the author can edit a message.' using errcode = 'PL403';
  elsif v_message.is_deleted or v_message.message_type <> 'text' then
    raise exception 'This message cannot be edited.' using errcode = 'PL409';
  elsif v_message.content = edit_room_message.content and edit_room_message.mentions is null then
    return v_message;
  end if;
  if v_message.content <> edit_room_message.content then
    perform private.keep_revision(v_message, 'edited');
    update rooms.room_messages msg
    set content = edit_room_message.content, edited_at = clock_timestamp()
    where msg.id = v_message.id;
  end if;
  with gone as (
    delete from rooms.room_message_mentions m
    where m.message_id = v_message.id and not m.user_id = any (v_mentions)
    returning m.user_id
  )
  select array_agg(g.user_id) into v_gone from gone g;
  perform private.count_in_room(v_message.room_id, 'mention', g, v_user, v_message.sequence, -1) from unnest(v_gone) g;
  perform private.add_mentions(v_message, array(
    select u
    from unnest(v_mentions) u
    where not exists (select from rooms.room_message_mentions m where m.message_id = v_message.id and m.user_id = u)
  ));
  select msg.* into v_message from rooms.room_messages msg where msg.id = v_message.id;
  return v_message;
end
$$;

comment on function rooms.edit_room_message(uuid, text, uuid[]) is
  'Changes the text and mentions of the signed-in user''s own message; the previous text is kept for its author and the room''s moderators. PL403, PL404, PL409 for a deleted or non-text message, PL422.';
grant execute on function rooms.edit_room_message(uuid, text, uuid[]) to :PLINTH_USER;
--! EndIncluded rooms/functions/edit_room_message.sql
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
--! Included rooms/functions/invited_room_ids.sql
-- The other user of a direct room and invited users may see the room before they are members of it.
create or replace function rooms.invited_room_ids()
  returns setof uuid
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select i.room_id
  from rooms.room_invites i
  where i.invitee_id = plinth.current_user_id() and i.status = 'pending'
$$;

comment on function rooms.invited_room_ids() is E'@behavior -*\nReturns the ids of the rooms that the caller is invited to.';
grant execute on function rooms.invited_room_ids() to :PLINTH_USER;
--! EndIncluded rooms/functions/invited_room_ids.sql
--! Included rooms/functions/join_room.sql
create or replace function rooms.join_room(room_id uuid)
  returns rooms.room_members
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
  v_room rooms.chat_rooms;
begin
  perform private.lock_accounts(array[v_user]);
  -- A caller who cannot see the room does not lock it. Checked again under the lock: a statement that waits for a lock
  -- continues with its earlier snapshot, and a member removed during the wait must not join as the member they were.
  if private.sees_room(join_room.room_id, v_user) then
    v_room := private.lock_room(join_room.room_id);
  end if;
  if v_room.id is null or not private.sees_room(v_room.id, v_user) then
    raise exception 'Room not found.' using errcode = 'PL404';
  elsif v_room.has_password
    and not exists (select from rooms.room_members m where m.room_id = v_room.id and m.user_id = v_user)
    and not exists (
      select from rooms.room_invites i where i.room_id = v_room.id and i.invitee_id = v_user and i.status = 'pending'
    )
  then
    raise exception 'This room has a password.' using errcode = 'PL403', hint = 'Use joinRoomWithPassword.';
  end if;
  return private.add_to_room(v_room.id, v_user);
end
$$;

comment on function rooms.join_room(uuid) is
  'Joins a public room, or one the signed-in user is invited to; a member stays one. PL403 for banned users and where a password is needed, PL404 for rooms the caller cannot see.';
grant execute on function rooms.join_room(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/join_room.sql
--! Included rooms/functions/leave_room.sql
create or replace function rooms.leave_room(room_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
begin
  perform private.current_room_role(leave_room.room_id);
  perform private.lock_accounts(array[v_user]);
  if (private.lock_room(leave_room.room_id)).room_type = 'direct' then
    raise exception 'You cannot leave a direct room. Archive it or block the other user.' using errcode = 'PL409';
  end if;
  return private.remove_from_room(leave_room.room_id, v_user);
end
$$;

comment on function rooms.leave_room(uuid) is
  'Ends the signed-in user''s membership. A creator is succeeded by the longest-standing member, moderators first; a room without members is deleted. PL404 for a caller who is not a member.';
grant execute on function rooms.leave_room(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/leave_room.sql
--! Included rooms/views/unread_counts.sql
-- Grain: one row per room of the signed-in user.
create or replace view rooms.unread_counts
  with (security_invoker = true)
as
select
  m.room_id,
  c.unread_count,
  c.mention_count,
  m.last_read_sequence,
  r.last_sequence
from rooms.room_members m
join rooms.chat_rooms r on r.id = m.room_id
cross join lateral rooms.count_unread(m.room_id) c
where m.user_id = (select plinth.current_user_id());

comment on view rooms.unread_counts is
  E'@primaryKey room_id\n'
  '@foreignKey (room_id) references rooms.chat_rooms (id)|@foreignFieldName unread\n'
  'Exact counts of unread messages and mentions of the signed-in user. Grain: one row per room.';
comment on column rooms.unread_counts.room_id is E'@notNull\nThe room.';
comment on column rooms.unread_counts.unread_count is E'@notNull\nNumber of messages by others that the user may see, after the read mark, not deleted.';
comment on column rooms.unread_counts.mention_count is E'@notNull\nNumber of those messages that mention the user.';
comment on column rooms.unread_counts.last_read_sequence is E'@notNull\nRead mark: the number of the last message read.';
comment on column rooms.unread_counts.last_sequence is E'@notNull\nNumber of the room''s last message.';
revoke all on rooms.unread_counts from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.unread_counts to :PLINTH_USER;
--! EndIncluded rooms/views/unread_counts.sql
--! Included rooms/functions/mark_room_read.sql
-- The read mark only moves forward here, so that marks of two devices may arrive in any order. The room is not locked: messages
-- posted concurrently come after the mark.
create or replace function rooms.mark_room_read(room_id uuid, message_id uuid default null)
  returns rooms.unread_counts
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_sequence bigint;
  v_counts rooms.unread_counts;
begin
  perform private.current_room_role(mark_room_read.room_id);
  if mark_room_read.message_id is null then
    select r.last_sequence into v_sequence from rooms.chat_rooms r where r.id = mark_room_read.room_id;
  else
    select msg.sequence into v_sequence
    from rooms.room_messages msg
    where msg.id = mark_room_read.message_id
      and msg.room_id = mark_room_read.room_id
      and private.sees_message(msg.id, v_user);
    if v_sequence is null then
      raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
    end if;
  end if;
  update rooms.room_members m
  set last_read_sequence = v_sequence, last_read_at = clock_timestamp()
  where m.room_id = mark_room_read.room_id and m.user_id = v_user and m.last_read_sequence < v_sequence;
  select c.* into v_counts from rooms.unread_counts c where c.room_id = mark_room_read.room_id;
  return v_counts;
end
$$;

comment on function rooms.mark_room_read(uuid, uuid) is
  'Moves the signed-in user''s read mark of a room forward to a message, or to the last one; never back. Returns the new counts. PL404.';
grant execute on function rooms.mark_room_read(uuid, uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/mark_room_read.sql
--! Included rooms/functions/mark_room_unread.sql
create or replace function rooms.mark_room_unread(room_id uuid, message_id uuid)
  returns rooms.unread_counts
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_counts rooms.unread_counts;
begin
  perform private.current_room_role(mark_room_unread.room_id);
  update rooms.room_members m
  set last_read_sequence = msg.sequence - 1, last_read_at = clock_timestamp()
  from rooms.room_messages msg
  where m.room_id = mark_room_unread.room_id
    and m.user_id = v_user
    and msg.id = mark_room_unread.message_id
    and msg.room_id = m.room_id
    and private.sees_message(msg.id, v_user);
  if not found then
    raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  select c.* into v_counts from rooms.unread_counts c where c.room_id = mark_room_unread.room_id;
  return v_counts;
end
$$;

comment on function rooms.mark_room_unread(uuid, uuid) is
  'Moves the signed-in user''s read mark to before a message, so that it and later messages are unread. Returns the new counts. PL404.';
grant execute on function rooms.mark_room_unread(uuid, uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/mark_room_unread.sql
--! Included rooms/functions/moderated_room_ids.sql
create or replace function rooms.moderated_room_ids()
  returns setof uuid
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select m.room_id
  from rooms.room_members m
  where m.user_id = plinth.current_user_id() and m.role in ('creator', 'moderator')
$$;

comment on function rooms.moderated_room_ids() is E'@behavior -*\nReturns the ids of the rooms that the caller moderates.';
grant execute on function rooms.moderated_room_ids() to :PLINTH_USER;
--! EndIncluded rooms/functions/moderated_room_ids.sql
--! Included rooms/functions/my_room_ids.sql
-- Membership as a set, for all policies. Definer rights: the policy of room_members calls this itself and would recurse.
create or replace function rooms.my_room_ids()
  returns setof uuid
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select m.room_id from rooms.room_members m where m.user_id = plinth.current_user_id()
$$;

comment on function rooms.my_room_ids() is E'@behavior -*\nReturns the ids of the rooms that the caller is a member of.';
grant execute on function rooms.my_room_ids() to :PLINTH_USER;
--! EndIncluded rooms/functions/my_room_ids.sql
--! Included rooms/functions/my_rooms.sql
create or replace function rooms.my_rooms(include_archived boolean default false)
  returns setof rooms.chat_rooms
  language sql
  stable
  set search_path = pg_catalog
as $$
  select r.*
  from rooms.chat_rooms r
  join rooms.room_members m on m.room_id = r.id and m.user_id = (select plinth.current_user_id())
  where include_archived or not m.is_archived
  order by r.last_activity_at desc, r.id desc
$$;

comment on function rooms.my_rooms(boolean) is 'Returns the rooms of the signed-in user, latest message first.';
grant execute on function rooms.my_rooms(boolean) to :PLINTH_USER;
--! EndIncluded rooms/functions/my_rooms.sql
--! Included rooms/functions/own_room_ids.sql
create or replace function rooms.own_room_ids()
  returns setof uuid
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select m.room_id
  from rooms.room_members m
  where m.user_id = plinth.current_user_id() and m.role = 'creator'
$$;

comment on function rooms.own_room_ids() is E'@behavior -*\nReturns the ids of the rooms that the caller created.';
grant execute on function rooms.own_room_ids() to :PLINTH_USER;
--! EndIncluded rooms/functions/own_room_ids.sql
--! Included rooms/functions/post_general_chat_message.sql
create or replace function rooms.post_general_chat_message(content text, idempotency_key uuid default null)
  returns rooms.general_chat_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
  v_settings rooms.general_chat_settings;
  v_mute rooms.general_chat_mutes;
  v_wait numeric;
  v_message rooms.general_chat_messages;
  v_digest constant bytea := private.request_digest(jsonb_build_array(post_general_chat_message.content));
begin
  if post_general_chat_message.content is null or post_general_chat_message.content = '' then
    raise exception 'A message cannot be empty.' using errcode = 'PL422', column = 'content';
  end if;
  -- Messages of one user are serialized; otherwise two concurrent ones would both pass slow mode.
  perform from identity.users u where u.id = v_user for key share;
  perform pg_advisory_xact_lock(hashtextextended('rooms.general_chat ' || v_user, 0));
  if post_general_chat_message.idempotency_key is not null then
    select m.* into v_message
    from rooms.general_chat_messages m
    where m.sender_id = v_user and m.idempotency_key = post_general_chat_message.idempotency_key;
    if v_message.id is not null then
      -- Messages that predate the digests are compared by their first text.
      perform private.refuse_other_request(coalesce(
        (select d.digest = v_digest from private.request_digests d where d.general_chat_message_id = v_message.id),
        post_general_chat_message.content = coalesce(
          (
            select r.content
            from rooms.general_chat_revisions r
            where r.message_id = v_message.id
            order by r.revision
            limit 1
          ),
          v_message.content
        )
      ));
      return v_message;
    end if;
  end if;
  select m.* into v_mute
  from rooms.general_chat_mutes m
  where m.user_id = v_user and (m.muted_until is null or m.muted_until > clock_timestamp());
  if v_mute.user_id is not null then
    raise exception 'You cannot post in the general chat at the moment.'
      using errcode = 'PL403', hint = coalesce('Reason: ' || v_mute.reason, '');
  end if;
  select s.* into v_settings from rooms.general_chat_settings s;
  if not access.has_permission('moderate_general_chat') then
    if not v_settings.is_open then
      raise exception 'The general chat is closed.' using errcode = 'PL403';
    end if;
    select v_settings.slow_mode_seconds - extract(epoch from clock_timestamp() - max(m.created_at)) into v_wait
    from rooms.general_chat_messages m
    where m.sender_id = v_user;
    if v_wait > 0 then
      raise exception 'Slow mode is on. Wait before posting again.'
        using errcode = 'PL429', hint = format('Try again in %s seconds.', ceil(v_wait));
    end if;
  end if;
  insert into rooms.general_chat_messages as m (sender_id, content, idempotency_key)
  values (v_user, post_general_chat_message.content, post_general_chat_message.idempotency_key)
  returning m.* into v_message;
  if post_general_chat_message.idempotency_key is not null then
    insert into private.request_digests (user_id, general_chat_message_id, digest) values (v_user, v_message.id, v_digest);
  end if;
  return v_message;
end
$$;

comment on function rooms.post_general_chat_message(text, uuid) is
  'Posts in the general chat, which all users share. The same idempotency key again returns the same message. PL403 for muted users and when the chat is closed, PL409 for a key that was used for another message, PL422, PL429 in slow mode.';
grant execute on function rooms.post_general_chat_message(text, uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/post_general_chat_message.sql
--! Included rooms/functions/post_room_message.sql
create or replace function rooms.post_room_message(
  room_id uuid,
  content text,
  reply_to_id uuid default null,
  mentions uuid[] default null,
  recipients uuid[] default null,
  metadata jsonb default null,
  idempotency_key uuid default null
)
  returns rooms.room_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
  v_type text;
  v_mentions uuid[];
  v_recipients uuid[];
  v_message rooms.room_messages;
  v_digest bytea;
  v_sequence bigint;
  v_event_sequence bigint;
  v_created_at timestamptz;
begin
  if content is null or content = '' then
    raise exception 'A message cannot be empty.' using errcode = 'PL422', column = 'content';
  end if;
  -- The account is locked before the room, and callers who are not members do not lock the room.
  perform
  from identity.users u
  join rooms.room_members m on m.user_id = u.id and m.room_id = post_room_message.room_id
  where u.id = v_user
  for key share of u;
  if not found then
    raise exception 'Room not found.' using errcode = 'PL404', column = 'room_id';
  end if;
  -- Before checking what may have changed since: a user who has left the room can still have been mentioned.
  if post_room_message.idempotency_key is not null then
    v_digest := private.request_digest(jsonb_build_array(
      post_room_message.content, post_room_message.reply_to_id, post_room_message.mentions, post_room_message.recipients,
      coalesce(post_room_message.metadata, '{}')
    ));
    v_message := private.find_keyed_room_message(
      post_room_message.room_id, v_user, post_room_message.idempotency_key, post_room_message.content, v_digest
    );
    if v_message.id is not null then
      return v_message;
    end if;
  end if;
  if post_room_message.recipients is not null then
    v_recipients := array(
      select distinct r from unnest(post_room_message.recipients) r where r is distinct from v_user order by r
    );
    if cardinality(v_recipients) not between 1 and 50 then
      raise exception 'A private message needs 1 to 50 recipients.' using errcode = 'PL422', column = 'recipients';
    end if;
  end if;
  if strpos(content, '@') > 0 or cardinality(post_room_message.mentions) > 0 then
    v_mentions := private.find_mentions(
      post_room_message.room_id, v_user, content, post_room_message.mentions, v_recipients
    );
  end if;
  if v_recipients is not null or cardinality(v_mentions) > 0 then
    perform private.lock_accounts(v_mentions || v_recipients);
  end if;
  if post_room_message.idempotency_key is not null then
    perform private.lock_room(post_room_message.room_id);
    v_message := private.find_keyed_room_message(
      post_room_message.room_id, v_user, post_room_message.idempotency_key, post_room_message.content, v_digest
    );
    if v_message.id is not null then
      return v_message;
    end if;
  end if;
  if post_room_message.reply_to_id is not null then
    perform private.require_reply(
      post_room_message.room_id, v_user, post_room_message.reply_to_id, v_recipients is not null
    );
  end if;
  -- The room's lock, held until the end of the transaction, and the message's numbers: the only writes besides the message's
  -- row. No member's row is written, since unread is the difference to the read mark (rooms.count_unread).
  update rooms.chat_rooms r
  set
    last_sequence = r.last_sequence + 1,
    last_event_sequence = r.last_event_sequence + 1,
    -- If the clock was set back, a message still does not precede the last one.
    last_activity_at = greatest(clock_timestamp(), r.last_activity_at)
  where r.id = post_room_message.room_id
  returning r.last_sequence, r.last_event_sequence, r.last_activity_at, r.room_type
  into v_sequence, v_event_sequence, v_created_at, v_type;
  -- Checked after the lock: a previous member may have left since. A row with its number needs no trigger.
  insert into rooms.room_messages as msg (
    room_id, sender_id, content, reply_to_id, metadata, is_private, idempotency_key, created_at,
    sequence, event_sequence, sender_sequence
  )
  select
    m.room_id, v_user, post_room_message.content, post_room_message.reply_to_id,
    coalesce(post_room_message.metadata, '{}'), v_recipients is not null, post_room_message.idempotency_key, v_created_at,
    v_sequence, v_event_sequence,
    coalesce((
      select o.sender_sequence
      from rooms.room_messages o
      where o.sender_id = v_user and o.room_id = post_room_message.room_id
      order by o.sequence desc
      limit 1
    ), 0) + (v_recipients is null)::integer
  from rooms.room_members m
  where m.room_id = post_room_message.room_id and m.user_id = v_user
  returning msg.* into v_message;
  if v_message.id is null then
    raise exception 'Room not found.' using errcode = 'PL404', column = 'room_id';
  end if;
  if v_digest is not null then
    insert into private.request_digests (user_id, room_message_id, digest) values (v_user, v_message.id, v_digest);
  end if;
  perform plinth.announce('room:' || v_message.room_id, v_event_sequence);
  if v_recipients is not null or cardinality(v_mentions) > 0 then
    perform private.address_message(v_message, v_recipients, v_mentions);
  end if;
  if v_type = 'direct' then
    perform private.refuse_blocked_direct(post_room_message.room_id, v_user);
  end if;
  return v_message;
end
$$;

comment on function rooms.post_room_message(uuid, text, uuid, uuid[], uuid[], jsonb, uuid) is
  'Posts a message in a room of the signed-in user. Members named as @username or in mentions are mentioned; with recipients, '
  'only they and the sender see it. The same idempotency key again returns the same message. PL403 if blocked in a direct room, '
  'PL404, PL409 for a key that was used for another message, PL422.';
grant execute on function rooms.post_room_message(uuid, text, uuid, uuid[], uuid[], jsonb, uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/post_room_message.sql
--! Included rooms/functions/react.sql
create or replace function rooms.react(message_id uuid, emoji text, remove boolean default false)
  returns rooms.room_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_room_id constant uuid := private.lock_room_of_message(react.message_id);
  v_message rooms.room_messages;
begin
  select msg.* into v_message from rooms.room_messages msg where msg.id = react.message_id;
  if v_message.is_deleted then
    raise exception 'This message was deleted.' using errcode = 'PL409';
  end if;
  if react.remove then
    delete from rooms.room_message_reactions r
    where r.message_id = v_message.id and r.user_id = v_user and r.emoji = react.emoji;
  else
    insert into rooms.room_message_reactions (message_id, user_id, emoji)
    values (v_message.id, v_user, react.emoji)
    on conflict on constraint room_message_reactions_pkey do nothing;
    if found and (
      select count(*) > 20 from rooms.room_message_reactions r where r.message_id = v_message.id and r.user_id = v_user
    ) then
      raise exception 'You have reached the limit of 20 reactions to a message.' using errcode = 'PL402';
    end if;
  end if;
  if found then
    perform private.append_room_event(v_room_id, 'reactions_changed', v_message.id, v_user);
  end if;
  return v_message;
end
$$;

comment on function rooms.react(uuid, text, boolean) is
  'Adds an emoji reaction to a message, or removes it; repeating it changes nothing. PL402 above 20, PL404, PL409 for a deleted message.';
grant execute on function rooms.react(uuid, text, boolean) to :PLINTH_USER;
--! EndIncluded rooms/functions/react.sql
--! Included rooms/functions/recent_room_messages.sql
-- The same rows as the policy allows, with the start of the member's history as an index bound: a member who has just joined a
-- room of millions without shared history does not wait for a scan of all of them.
create or replace function rooms.recent_room_messages(room_id uuid, before_id uuid default null, max_count integer default 50)
  returns setof rooms.room_messages
  language sql
  stable
  set search_path = pg_catalog
as $$
  select m.*
  from rooms.room_messages m
  where m.room_id = recent_room_messages.room_id
    and m.event_sequence > (
      select o.visible_after
      from rooms.room_members o
      where o.room_id = recent_room_messages.room_id and o.user_id = (select plinth.current_user_id())
    )
    and m.event_sequence < case
      when before_id is null then 9223372036854775807
      else (
        select b.event_sequence
        from rooms.room_messages b
        where b.id = before_id and b.room_id = recent_room_messages.room_id
      )
    end
    and not m.is_deleted
  order by m.event_sequence desc
  limit plinth.checked_count(max_count, 'max_count', 50, 200)
$$;

comment on function rooms.recent_room_messages(uuid, uuid, integer) is
  'Returns the last messages of a room, or the last before a given one, newest first and without deleted ones; at most 200.';
grant execute on function rooms.recent_room_messages(uuid, uuid, integer) to :PLINTH_USER;
--! EndIncluded rooms/functions/recent_room_messages.sql
--! Included rooms/functions/remove_room_member.sql
create or replace function rooms.remove_room_member(room_id uuid, user_id uuid, ban boolean default false, reason text default null)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_role text;
  v_own_role text;
begin
  perform private.require_room_moderator(remove_room_member.room_id);
  perform private.lock_accounts(array[v_user, remove_room_member.user_id]);
  if (private.lock_room(remove_room_member.room_id)).room_type = 'direct' then
    raise exception 'Members of a direct room cannot be removed.' using errcode = 'PL409';
  end if;
  -- Checked again under the lock, which prevents further changes.
  perform private.require_room_moderator(remove_room_member.room_id);
  v_own_role := private.current_room_role(remove_room_member.room_id);
  select m.role into v_role
  from rooms.room_members m
  where m.room_id = remove_room_member.room_id and m.user_id = remove_room_member.user_id;
  if v_role = 'creator' or (v_role = 'moderator' and v_own_role <> 'creator') or remove_room_member.user_id = v_user then
    raise exception 'You may not remove this member.' using errcode = 'PL403';
  elsif v_role is null and not remove_room_member.ban then
    raise exception 'Member not found.' using errcode = 'PL404', column = 'user_id';
  end if;
  if remove_room_member.ban then
    if not exists (select from identity.users u where u.id = remove_room_member.user_id) then
      raise exception 'User not found.' using errcode = 'PL404', column = 'user_id';
    end if;
    insert into rooms.room_bans as b (room_id, user_id, banned_by, reason)
    values (remove_room_member.room_id, remove_room_member.user_id, v_user, remove_room_member.reason)
    on conflict on constraint room_bans_pkey do update set reason = coalesce(excluded.reason, b.reason);
  end if;
  delete from rooms.room_invites i
  where i.room_id = remove_room_member.room_id and i.invitee_id = remove_room_member.user_id;
  perform private.remove_from_room(remove_room_member.room_id, remove_room_member.user_id);
  return true;
end
$$;

comment on function rooms.remove_room_member(uuid, uuid, boolean, text) is
  'Removes a member from a room; with ban permanently (also a user who is not a member yet). Moderators remove members, the creator removes moderators too. PL403, PL404.';
grant execute on function rooms.remove_room_member(uuid, uuid, boolean, text) to :PLINTH_USER;
--! EndIncluded rooms/functions/remove_room_member.sql
--! Included rooms/functions/respond_to_invite.sql
create or replace function rooms.respond_to_invite(invite_id uuid, accept boolean)
  returns rooms.room_invites
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
  v_invite rooms.room_invites;
  v_status constant text := case when accept then 'accepted' else 'declined' end;
begin
  if accept is null then
    raise exception 'accept must be true or false.' using errcode = 'PL422', column = 'accept';
  end if;
  select i.* into v_invite from rooms.room_invites i where i.id = invite_id and i.invitee_id = v_user;
  if v_invite.id is null then
    raise exception 'Invite not found.' using errcode = 'PL404';
  end if;
  perform private.lock_accounts(array[v_user, v_invite.inviter_id]);
  perform private.lock_room(v_invite.room_id);
  -- It may have been answered or revoked since.
  select i.* into v_invite from rooms.room_invites i where i.id = invite_id and i.invitee_id = v_user for update;
  if v_invite.id is null then
    raise exception 'Invite not found.' using errcode = 'PL404';
  elsif v_invite.status = v_status then
    return v_invite;
  elsif v_invite.status <> 'pending' then
    raise exception 'This invite was already answered.' using errcode = 'PL409';
  end if;
  if accept then
    perform private.add_to_room(v_invite.room_id, v_user);
  end if;
  update rooms.room_invites i
  set status = v_status, responded_at = clock_timestamp()
  where i.id = v_invite.id and i.status = 'pending';
  select i.* into v_invite from rooms.room_invites i where i.id = v_invite.id;
  return v_invite;
end
$$;

comment on function rooms.respond_to_invite(uuid, boolean) is
  'Accepts an invite, which makes the signed-in user a member even if the room has a password, or declines it. The same answer again changes nothing. PL404, PL409 if the invite was answered differently.';
grant execute on function rooms.respond_to_invite(uuid, boolean) to :PLINTH_USER;
--! EndIncluded rooms/functions/respond_to_invite.sql
--! Included rooms/functions/restore_room_message.sql
create or replace function rooms.restore_room_message(message_id uuid)
  returns rooms.room_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_room_id constant uuid := private.lock_room_of_message(restore_room_message.message_id);
  v_message rooms.room_messages;
  v_revision rooms.room_message_revisions;
begin
  select msg.* into v_message from rooms.room_messages msg where msg.id = restore_room_message.message_id;
  if not v_message.is_deleted then
    return v_message;
  end if;
  select r.* into v_revision
  from rooms.room_message_revisions r
  where r.message_id = v_message.id and r.change = 'deleted'
  order by r.revision desc
  limit 1;
  -- Authors may undo their own deletion, but not a moderator's.
  if v_message.sender_id is distinct from v_user or v_revision.actor_id is distinct from v_user then
    perform private.require_room_moderator(v_room_id);
  end if;
  if v_revision.message_id is null then
    raise exception 'The text of this message no longer exists.' using errcode = 'PL409';
  end if;
  update rooms.room_messages msg
  set content = v_revision.content, is_deleted = false, deleted_at = null
  where msg.id = v_message.id
  returning msg.* into v_message;
  return v_message;
end
$$;

comment on function rooms.restore_room_message(uuid) is
  'Restores a deleted message: authors those they deleted themselves, moderators any. PL403, PL404, PL409 for a message of a deleted account.';
grant execute on function rooms.restore_room_message(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/restore_room_message.sql
--! Included rooms/functions/revoke_invite.sql
create or replace function rooms.revoke_invite(invite_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
  v_invite rooms.room_invites;
begin
  select i.* into v_invite
  from rooms.room_invites i
  where i.id = invite_id
    and (i.inviter_id = v_user or i.room_id in (select rooms.moderated_room_ids()));
  if v_invite.id is null then
    raise exception 'Invite not found.' using errcode = 'PL404';
  end if;
  perform private.lock_accounts(array[v_invite.inviter_id, v_invite.invitee_id]);
  perform private.lock_room(v_invite.room_id);
  delete from rooms.room_invites i where i.id = v_invite.id and i.status = 'pending';
  if not found then
    raise exception 'This invite was already answered.' using errcode = 'PL409';
  end if;
  return true;
end
$$;

comment on function rooms.revoke_invite(uuid) is
  'Revokes an open invite, as its inviter or a moderator of the room. PL404, PL409 if it was answered.';
grant execute on function rooms.revoke_invite(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/revoke_invite.sql
--! Included rooms/functions/room_context.sql
-- For members, who may see the result: for the whole room or for themselves.
create or replace function rooms.room_context(room_id uuid, max_count integer default 50, audience_id uuid default null)
  returns table (
    message_id uuid,
    sequence bigint,
    sender_id uuid,
    sender_type text,
    sender_name text,
    reply_to_id uuid,
    content text,
    created_at timestamptz,
    audience_version bigint
  )
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.current_room_role(room_context.room_id);
  if room_context.audience_id <> plinth.current_user_id() then
    raise exception 'The audience must be you or all members.' using errcode = 'PL403', column = 'audience_id';
  end if;
  return query
    select c.*
    from private.room_context(
      room_context.room_id,
      plinth.checked_count(room_context.max_count, 'max_count', 50, 500),
      room_context.audience_id
    ) c;
end
$$;

comment on function rooms.room_context(uuid, integer, uuid) is
  'Returns the last messages of a room that every member may see, or those that the signed-in user may see if they are the audience: the context for an AI''s answer. Oldest first, at most 500. Post the answer with the audience_version. PL403, PL404 for a caller who is not a member.';
grant execute on function rooms.room_context(uuid, integer, uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/room_context.sql
--! Included rooms/views/room_events.sql
-- The log of a room as a subscriber reads it: each message is the event of its posting. Grain: one row per event.
create or replace view rooms.room_events
  with (security_invoker = true)
as
select m.room_id, m.event_sequence as sequence, 'message_posted' as kind, m.id as message_id, m.sender_id as user_id, m.created_at
from rooms.room_messages m
union all
select c.room_id, c.sequence, c.kind, c.message_id, c.user_id, c.created_at
from rooms.room_changes c;

comment on view rooms.room_events is
  E'@primaryKey room_id,sequence\n'
  '@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  '@foreignKey (message_id) references rooms.room_messages (id)|@fieldName message'
  '|@behavior -manyRelation:resource:list -manyRelation:resource:connection\n'
  '@foreignKey (user_id) references identity.profiles (id)|@fieldName profile'
  '|@behavior -manyRelation:resource:list -manyRelation:resource:connection\n'
  'Grain: one row per event of a room that the reader may see. Numbers have no gaps in the room; a reader''s numbers may, where '
  'an event is hidden from them.';
comment on column rooms.room_events.room_id is E'@notNull\nThe room.';
comment on column rooms.room_events.sequence is E'@notNull\nNumber of the event in the room.';
comment on column rooms.room_events.kind is
  E'@notNull\n'
  'Kind of event: message_posted, message_edited, message_deleted, message_restored, reactions_changed, member_joined, '
  'member_left, member_changed or room_changed.';
comment on column rooms.room_events.message_id is 'The message concerned, or null.';
comment on column rooms.room_events.user_id is 'The sender, the member concerned, or the actor; null for the AI and deleted accounts.';
comment on column rooms.room_events.created_at is E'@notNull\nTime of the event.';
revoke all on rooms.room_events from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_events to :PLINTH_USER;
--! EndIncluded rooms/views/room_events.sql
--! Included rooms/functions/room_events_after.sql
-- Two ranges of two indexes, merged: the limit is in each, or PostgreSQL would read all rows.
create or replace function rooms.room_events_after(room_id uuid, after bigint, max_count integer default 100)
  returns setof rooms.room_events
  language sql
  stable
  set search_path = pg_catalog
as $$
  select e.*
  from rooms.room_events e
  where e.room_id = room_events_after.room_id and e.sequence > room_events_after.after
  order by e.sequence
  limit plinth.checked_count(room_events_after.max_count, 'max_count', 100, 1000)
$$;

comment on function rooms.room_events_after(uuid, bigint, integer) is
  E'@behavior -*\nReturns the next events of a room after a number that the caller may see, in order; at most 1000.';
grant execute on function rooms.room_events_after(uuid, bigint, integer) to :PLINTH_USER;
--! EndIncluded rooms/functions/room_events_after.sql
--! Included rooms/functions/room_messages_read_by.sql
create or replace function rooms.room_messages_read_by(message rooms.room_messages)
  returns setof rooms.room_members
  language sql
  stable
  set search_path = pg_catalog
as $$
  select m.*
  from rooms.room_members m
  where m.room_id = message.room_id
    and m.user_id is not null
    and m.user_id is distinct from message.sender_id
    and m.last_read_sequence >= message.sequence
    and m.visible_after < message.event_sequence
  order by m.joined_at, m.id
$$;

comment on function rooms.room_messages_read_by(rooms.room_messages) is
  'Returns the read receipts of a message: the other members who have read up to it.';
grant execute on function rooms.room_messages_read_by(rooms.room_messages) to :PLINTH_USER;
--! EndIncluded rooms/functions/room_messages_read_by.sql
--! Included rooms/functions/search_room_messages.sql
-- Definer rights: under the policies PostgreSQL may not use the index, because the operator could leak hidden rows. The
-- function applies the same rules. Room by room, by an index that begins with the room: a common word costs only its matches in
-- the caller's own rooms. Blocks and privacy are checked from the newest match on, until there are enough.
create or replace function rooms.search_room_messages(query text, room_id uuid default null, max_count integer default 50)
  returns setof rooms.room_messages
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select msg.*
  from (
    select found.id
    from (
      select o.id, o.created_at
      from rooms.room_members m
      cross join (select plinth.search_query('en', search_room_messages.query) as query offset 0) asked
      -- `offset 0`: each room's matches are found before any other check on them.
      cross join lateral (
        select r.id, r.created_at
        from rooms.room_messages r
        where r.room_id = m.room_id
          and plinth.search_document('en', r.content) @@ asked.query
          and not r.is_deleted
          and r.event_sequence > m.visible_after
        offset 0
      ) o
      where m.user_id = plinth.current_user_id()
        and (search_room_messages.room_id is null or m.room_id = search_room_messages.room_id)
      order by o.created_at desc, o.id desc
      offset 0
    ) found
    where private.sees_message(found.id, plinth.current_user_id())
    limit plinth.checked_count(search_room_messages.max_count, 'max_count', 50, 200)
  ) seen
  join rooms.room_messages msg on msg.id = seen.id
  order by msg.created_at desc, msg.id desc
$$;

comment on function rooms.search_room_messages(text, uuid, integer) is
  'Returns the messages with all of these words (or "a phrase", or -without) in the rooms of the signed-in user, or in one of them, newest first; at most 200.';
grant execute on function rooms.search_room_messages(text, uuid, integer) to :PLINTH_USER;
--! EndIncluded rooms/functions/search_room_messages.sql
--! Included rooms/functions/set_presence.sql
-- A heartbeat, once for all of the user's rooms. Only a change of status is announced, to every room; without renewal it
-- expires.
create or replace function rooms.set_presence(status text default 'online')
  returns timestamptz
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
  v_expires_at timestamptz;
  v_before text;
begin
  if set_presence.status is null or set_presence.status not in ('online', 'away', 'offline') then
    raise exception 'The status must be online, away or offline.' using errcode = 'PL422', column = 'status';
  end if;
  perform from identity.users u where u.id = v_user for key share;
  if not found then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  -- Two concurrent devices: the second waits here for the first, and sees what it wrote.
  insert into rooms.presence (user_id, status, expires_at)
  values (v_user, 'offline', '-infinity')
  on conflict on constraint presence_pkey do nothing;
  select case when p.expires_at > clock_timestamp() then p.status else 'offline' end into v_before
  from rooms.presence p
  where p.user_id = v_user
  for no key update;
  v_expires_at := case when set_presence.status <> 'offline' then clock_timestamp() + interval '60 seconds' end;
  update rooms.presence p
  set status = set_presence.status, expires_at = coalesce(v_expires_at, '-infinity')
  where p.user_id = v_user;
  if set_presence.status is distinct from v_before then
    perform plinth.announce('presence:' || m.room_id, 0)
    from rooms.room_members m
    where m.user_id = v_user;
  end if;
  return v_expires_at;
end
$$;

comment on function rooms.set_presence(text) is
  E'@resultFieldName expiresAt\n'
  'Announces to the members of the signed-in user''s rooms that the user is present (online or away) for a minute: repeat it '
  'every 30 seconds, or send offline when leaving. Returns the time it expires. A user who never calls this is never shown as '
  'present.';
grant execute on function rooms.set_presence(text) to :PLINTH_USER;
--! EndIncluded rooms/functions/set_presence.sql
--! Included rooms/functions/set_room_role.sql
create or replace function rooms.set_room_role(room_id uuid, user_id uuid, role text)
  returns rooms.room_members
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_member rooms.room_members;
begin
  perform private.current_room_role(set_room_role.room_id);
  if set_room_role.role is null or set_room_role.role not in ('creator', 'moderator', 'member') then
    raise exception 'A role must be creator, moderator or member.' using errcode = 'PL422', column = 'role';
  end if;
  perform private.lock_accounts(array[v_user, set_room_role.user_id]);
  perform private.lock_room(set_room_role.room_id);
  if private.current_room_role(set_room_role.room_id) <> 'creator' then
    raise exception 'Only the creator can change roles.' using errcode = 'PL403';
  elsif set_room_role.user_id = v_user then
    raise exception 'You cannot change your own role. Make another member the creator.' using errcode = 'PL409';
  end if;
  perform private.lock_user_counters(array[v_user, set_room_role.user_id]);
  update rooms.room_members m
  set role = set_room_role.role
  where m.room_id = set_room_role.room_id and m.user_id = set_room_role.user_id
  returning m.* into v_member;
  if v_member.id is null then
    raise exception 'Member not found.' using errcode = 'PL404', column = 'user_id';
  end if;
  if set_room_role.role = 'creator' then
    update rooms.room_members m set role = 'moderator' where m.room_id = set_room_role.room_id and m.user_id = v_user;
  end if;
  return v_member;
end
$$;

comment on function rooms.set_room_role(uuid, uuid, text) is
  'Changes a member''s role; a creator who names a new creator becomes a moderator. For the creator only. PL403, PL404, PL422.';
grant execute on function rooms.set_room_role(uuid, uuid, text) to :PLINTH_USER;
--! EndIncluded rooms/functions/set_room_role.sql
--! Included rooms/functions/set_typing.sql
-- Repeated every few seconds while a user writes. Only the first call and the end are announced: a renewal changes nothing for
-- observers, and without renewal it expires.
create or replace function rooms.set_typing(room_id uuid, is_typing boolean default true)
  returns timestamptz
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_expires_at timestamptz;
  v_is_news boolean;
begin
  perform private.current_room_role(set_typing.room_id);
  -- Account before its rows, as everywhere: deleting the account deletes this.
  perform private.lock_accounts(array[v_user]);
  delete from rooms.typing t
  where t.room_id = set_typing.room_id
    and (t.expires_at <= clock_timestamp() or (not set_typing.is_typing and t.user_id = v_user));
  v_is_news := found and not set_typing.is_typing;
  if set_typing.is_typing then
    v_expires_at := clock_timestamp() + interval '6 seconds';
    insert into rooms.typing as t (room_id, user_id, expires_at)
    values (set_typing.room_id, v_user, v_expires_at)
    on conflict on constraint typing_pkey do update set expires_at = excluded.expires_at
    returning t.xmax = 0 into v_is_news;
  end if;
  if v_is_news then
    perform plinth.announce('typing:' || set_typing.room_id, 0);
  end if;
  return v_expires_at;
end
$$;

comment on function rooms.set_typing(uuid, boolean) is
  E'@resultFieldName expiresAt\n'
  'Announces to the other members of a room that the signed-in user is writing, for six seconds: repeat it every few seconds, '
  'or send false when done. Returns the time it expires. NOT_FOUND for a caller who is not a member.';
grant execute on function rooms.set_typing(uuid, boolean) to :PLINTH_USER;
--! EndIncluded rooms/functions/set_typing.sql
--! Included rooms/functions/unblock_user.sql
create or replace function rooms.unblock_user(user_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
begin
  delete from rooms.user_blocks b where b.user_id = v_user and b.blocked_id = unblock_user.user_id;
  if found then
    perform private.announce_user(v_user);
    return true;
  end if;
  return false;
end
$$;

comment on function rooms.unblock_user(uuid) is 'Unblocks a user; returns whether there was a block.';
grant execute on function rooms.unblock_user(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/unblock_user.sql
--! Included rooms/private/add_mentions.sql
-- Current members only: the caller has locked the room.
create or replace function private.add_mentions(message rooms.room_messages, mentions uuid[])
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  insert into rooms.room_message_mentions (message_id, user_id)
  select message.id, m.user_id
  from rooms.room_members m
  where m.room_id = message.room_id and m.user_id = any (mentions);
  perform private.count_in_room(message.room_id, 'mention', m.user_id, message.sender_id, message.sequence, 1)
  from rooms.room_message_mentions m
  where m.message_id = message.id and m.user_id = any (mentions);
end
$$;

comment on function private.add_mentions(rooms.room_messages, uuid[]) is 'Adds mentions to a message and updates the counts.';
--! EndIncluded rooms/private/add_mentions.sql
--! Included rooms/private/add_to_room.sql
-- The only way to become a member, by joining or by an invite. Naturally idempotent. The caller locks the account first.
create or replace function private.add_to_room(room_id uuid, user_id uuid)
  returns rooms.room_members
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_member rooms.room_members;
begin
  perform private.lock_room(add_to_room.room_id);
  if exists (
    select from rooms.room_bans b where b.room_id = add_to_room.room_id and b.user_id = add_to_room.user_id
  ) then
    raise exception 'You are banned from this room.' using errcode = 'PL403';
  end if;
  select m.* into v_member
  from rooms.room_members m
  where m.room_id = add_to_room.room_id and m.user_id = add_to_room.user_id;
  if v_member.id is null then
    -- The inviter is notified too.
    perform private.lock_user_counters(array(
      select add_to_room.user_id
      union all
      select i.inviter_id
      from rooms.room_invites i
      where i.room_id = add_to_room.room_id and i.invitee_id = add_to_room.user_id and i.status = 'pending'
    ));
    insert into rooms.room_members as m (room_id, user_id)
    values (add_to_room.room_id, add_to_room.user_id)
    returning m.* into v_member;
    update rooms.room_invites i
    set status = 'accepted', responded_at = clock_timestamp()
    where i.room_id = add_to_room.room_id and i.invitee_id = add_to_room.user_id and i.status = 'pending';
  end if;
  return v_member;
end
$$;

comment on function private.add_to_room(uuid, uuid) is
  'Makes a user a member unless they are one, and accepts an open invite; PL403 for a banned user, PL404 without a room.';
--! EndIncluded rooms/private/add_to_room.sql
--! Included rooms/private/address_message.sql
-- Recipients and mentions of a message just posted. Its room is locked, because a member may have left in the meantime.
create or replace function private.address_message(message rooms.room_messages, recipients uuid[], mentions uuid[])
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  if recipients is not null then
    if (
      select count(*) <> cardinality(recipients)
      from rooms.room_members m
      where m.room_id = message.room_id and m.user_id = any (recipients)
    ) then
      raise exception 'Recipients must be other members of the room.' using errcode = 'PL422', column = 'recipients';
    end if;
    insert into rooms.room_message_recipients (message_id, user_id) select message.id, r from unnest(recipients) r;
    perform private.count_in_room(message.room_id, 'private', r, message.sender_id, message.sequence, 1)
    from unnest(recipients) r;
  end if;
  if cardinality(mentions) > 0 then
    perform private.add_mentions(message, mentions);
  end if;
end
$$;

comment on function private.address_message(rooms.room_messages, uuid[], uuid[]) is
  'Adds recipients and mentions to a message just posted; PL422 for recipients who are not members.';
--! EndIncluded rooms/private/address_message.sql
--! Included rooms/private/announce_user.sql
-- Changes of one user in all rooms: memberships, read marks, invites. The counter is locked until the transaction ends. A caller
-- that notifies several users locks their counters first (private.lock_user_counters).
create or replace function private.announce_user(user_id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_sequence bigint;
begin
  -- An account that is being deleted has no subscribers.
  insert into rooms.user_event_counters as c (user_id, sequence)
  select u.id, 1 from identity.users u where u.id = announce_user.user_id
  on conflict on constraint user_event_counters_pkey do update set sequence = c.sequence + 1
  returning c.sequence into v_sequence;
  if v_sequence is not null then
    perform plinth.announce('user:' || announce_user.user_id, v_sequence);
  end if;
end
$$;

comment on function private.announce_user(uuid) is 'Counts a change of a user''s memberships, read marks or invites, and announces it.';
--! EndIncluded rooms/private/announce_user.sql
--! Included rooms/private/append_room_event.sql
-- Writes an event other than a posting. The room issues its number and stays locked until the end of the transaction, so numbers
-- have no gaps and become visible in order. A room that is being deleted gets no more events.
create or replace function private.append_room_event(room_id uuid, kind text, message_id uuid default null, user_id uuid default null)
  returns bigint
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_sequence bigint;
begin
  update rooms.chat_rooms r
  set last_event_sequence = r.last_event_sequence + 1
  where r.id = append_room_event.room_id
  returning r.last_event_sequence into v_sequence;
  if v_sequence is not null then
    insert into rooms.room_changes (room_id, sequence, kind, message_id, user_id)
    values (
      append_room_event.room_id, v_sequence, append_room_event.kind, append_room_event.message_id,
      -- An account that is being deleted is not named.
      (select u.id from identity.users u where u.id = append_room_event.user_id)
    );
    perform plinth.announce('room:' || append_room_event.room_id, v_sequence);
  end if;
  return v_sequence;
end
$$;

comment on function private.append_room_event(uuid, text, uuid, uuid) is
  'Adds an event to a room''s log, locks the room and announces it; returns its number, or null for a deleted room.';
--! EndIncluded rooms/private/append_room_event.sql
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
begin
  perform from identity.users u where u.id = v_user for key share;
  select m.* into v_message
  from rooms.general_chat_messages m
  where m.id = change_general_chat_message.message_id
  for no key update;
  if v_message.id is null then
    raise exception 'Message not found.' using errcode = 'PL404';
  elsif v_message.sender_id is distinct from v_user
    and not (content = '' and access.has_permission('moderate_general_chat'))
  then
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
--! Included rooms/private/count_in_room.sql
-- See private.room_tallies. The caller locks the room.
create or replace function private.count_in_room(
  room_id uuid,
  kind text,
  user_id uuid,
  peer_id uuid,
  sequence bigint,
  amount integer
)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  insert into private.room_tallies as t (room_id, kind, user_id, peer_id, level, bucket, amount)
  select
    count_in_room.room_id,
    count_in_room.kind,
    count_in_room.user_id,
    count_in_room.peer_id,
    l.level,
    count_in_room.sequence >> (6 * l.level),
    greatest(count_in_room.amount, 0)
  from generate_series(0, 3) l (level)
  on conflict on constraint room_tallies_key do update set amount = t.amount + count_in_room.amount
$$;

comment on function private.count_in_room(uuid, text, uuid, uuid, bigint, integer) is
  'Adds an amount (1, or -1 to undo) at a message''s number, in all levels.';
--! EndIncluded rooms/private/count_in_room.sql
--! Included rooms/private/count_message.sql
-- Updates the counts when a posted message appears again (amount 1) or disappears (-1).
create or replace function private.count_message(message rooms.room_messages, amount integer)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  if not message.is_private then
    perform private.count_in_room(message.room_id, 'uncounted', null, null, message.sequence, -amount);
    if message.sender_id is not null then
      perform private.count_in_room(message.room_id, 'deleted', message.sender_id, null, message.sequence, -amount);
    end if;
  end if;
  perform private.count_in_room(message.room_id, 'private', r.user_id, message.sender_id, message.sequence, amount)
  from rooms.room_message_recipients r
  where r.message_id = message.id;
  perform private.count_in_room(message.room_id, 'mention', m.user_id, message.sender_id, message.sequence, amount)
  from rooms.room_message_mentions m
  where m.message_id = message.id;
end
$$;

comment on function private.count_message(rooms.room_messages, integer) is
  'Corrects the unread and mention counts of a room for a message that is restored (1) or deleted (-1).';
--! EndIncluded rooms/private/count_message.sql
--! Included rooms/private/counted_in_room_after.sql
-- The sum after a watermark: single numbers up to the next block of 64, blocks of 64 up to the next of 4,096, those up to the
-- next of 262,144, then those. Reads at most 63 rows of each of the first three levels (and peer), and one row for each 262,144
-- messages of the last. A query for each level instead of a join lets the planner read all rows of a level. In plpgsql, which
-- caches its plans.
create or replace function private.counted_in_room_after(
  room_id uuid,
  kind text,
  user_id uuid,
  watermark bigint,
  without_peers uuid[] default '{}'
)
  returns bigint
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  return (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = counted_in_room_after.room_id
      and t.kind = counted_in_room_after.kind
      and t.user_id = counted_in_room_after.user_id
      and t.level = 0
      and t.bucket >= watermark + 1
      and t.bucket < ((watermark + 64) >> 6) << 6
      and (t.peer_id is null or not t.peer_id = any (without_peers))
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = counted_in_room_after.room_id
      and t.kind = counted_in_room_after.kind
      and t.user_id = counted_in_room_after.user_id
      and t.level = 1
      and t.bucket >= (watermark + 64) >> 6
      and t.bucket < ((watermark + 4096) >> 12) << 6
      and (t.peer_id is null or not t.peer_id = any (without_peers))
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = counted_in_room_after.room_id
      and t.kind = counted_in_room_after.kind
      and t.user_id = counted_in_room_after.user_id
      and t.level = 2
      and t.bucket >= (watermark + 4096) >> 12
      and t.bucket < ((watermark + 262144) >> 18) << 6
      and (t.peer_id is null or not t.peer_id = any (without_peers))
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = counted_in_room_after.room_id
      and t.kind = counted_in_room_after.kind
      and t.user_id = counted_in_room_after.user_id
      and t.level = 3
      and t.bucket >= (watermark + 262144) >> 18
      and (t.peer_id is null or not t.peer_id = any (without_peers))
  );
end
$$;

comment on function private.counted_in_room_after(uuid, text, uuid, bigint, uuid[]) is
  'Returns the sum of a user''s tallies of a kind after a watermark, without those from some peers.';
--! EndIncluded rooms/private/counted_in_room_after.sql
--! Included rooms/private/current_room_role.sql
-- The caller's role in a room, checked by every function that acts on one. The error is the same for an unknown room and one the
-- caller is not in.
create or replace function private.current_room_role(room_id uuid)
  returns text
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_role text;
begin
  perform private.require_user_id();
  select m.role into v_role
  from rooms.room_members m
  where m.room_id = current_room_role.room_id and m.user_id = plinth.current_user_id();
  if v_role is null then
    raise exception 'Room not found.' using errcode = 'PL404';
  end if;
  return v_role;
end
$$;

comment on function private.current_room_role(uuid) is 'Returns the caller''s role in a room; PL401 without a sign-in, PL404 for a non-member.';
--! EndIncluded rooms/private/current_room_role.sql
--! Included rooms/private/delete_expired_presence.sql
create or replace function private.delete_expired_presence(max_count integer)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_count integer;
  v_more integer;
begin
  delete from rooms.presence p
  using (
    select e.user_id from rooms.presence e where e.expires_at < clock_timestamp() limit max_count for update skip locked
  ) old
  where p.user_id = old.user_id;
  get diagnostics v_count = row_count;
  delete from rooms.typing t
  using (
    select e.room_id, e.user_id from rooms.typing e where e.expires_at < clock_timestamp() limit max_count for update skip locked
  ) old
  where t.room_id = old.room_id and t.user_id = old.user_id;
  get diagnostics v_more = row_count;
  return greatest(v_count, v_more);
end
$$;

comment on function private.delete_expired_presence(integer) is
  'Deletes expired presence and typing rows, up to max_count of each; returns the larger of both numbers.';
grant execute on function private.delete_expired_presence(integer) to :PLINTH_WORKER;
--! EndIncluded rooms/private/delete_expired_presence.sql
--! Included rooms/private/find_keyed_room_message.sql
-- The message created in a room under a key. For messages older than the digests, the original text is compared.
create or replace function private.find_keyed_room_message(room_id uuid, sender_id uuid, idempotency_key uuid, content text, digest bytea)
  returns rooms.room_messages
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_message rooms.room_messages;
begin
  select m.* into v_message
  from rooms.room_messages m
  where m.room_id = find_keyed_room_message.room_id
    and m.sender_id is not distinct from find_keyed_room_message.sender_id
    and m.idempotency_key = find_keyed_room_message.idempotency_key;
  if found then
    perform private.refuse_other_request(coalesce(
      (select d.digest = find_keyed_room_message.digest from private.request_digests d where d.room_message_id = v_message.id),
      find_keyed_room_message.content is not distinct from coalesce(
        (
          select r.content
          from rooms.room_message_revisions r
          where r.message_id = v_message.id
          order by r.revision
          limit 1
        ),
        v_message.content
      )
    ));
  end if;
  return v_message;
end
$$;

comment on function private.find_keyed_room_message(uuid, uuid, uuid, text, bytea) is
  'Returns the message that a sender (null for the AI) posted in a room under a key, or nulls. PL409 when it was another request.';
--! EndIncluded rooms/private/find_keyed_room_message.sql
--! Included rooms/private/find_mentions.sql
-- Members named in a text as @username, and those declared by the client. A non-member named in the text is ignored; a declared
-- non-member is rejected.
create or replace function private.find_mentions(room_id uuid, sender_id uuid, content text, declared uuid[], recipients uuid[])
  returns uuid[]
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_declared uuid[] := coalesce(declared, '{}');
  v_found uuid[] := '{}';
begin
  if strpos(content, '@') > 0 then
    v_found := array(
      select distinct m.user_id
      from (select distinct n.names from private.mentioned_names(content) n) n
      -- The longest prefix that is an account's name.
      cross join lateral (
        select u.id from identity.users u where u.username = any (n.names) order by length(u.username) desc limit 1
      ) named
      join rooms.room_members m on m.room_id = find_mentions.room_id and m.user_id = named.id
    );
  end if;
  if cardinality(v_declared) > 0 and (
    select count(*) < (select count(distinct d) from unnest(v_declared) d)
    from rooms.room_members m
    where m.room_id = find_mentions.room_id and m.user_id = any (v_declared)
  ) then
    raise exception 'Only members can be mentioned.' using errcode = 'PL422', column = 'mentions';
  end if;
  v_found := array(
    select distinct f
    from unnest(v_found || v_declared) f
    where f is distinct from find_mentions.sender_id and (recipients is null or f = any (recipients))
    order by f
  );
  if cardinality(v_found) > 50 then
    raise exception 'A message can mention at most 50 members.' using errcode = 'PL422', column = 'mentions';
  end if;
  return v_found;
end
$$;

comment on function private.find_mentions(uuid, uuid, text, uuid[], uuid[]) is
  'Returns the ids of the members that a message mentions, without its sender, at most 50; of a private message only recipients. PL422.';
--! EndIncluded rooms/private/find_mentions.sql
--! Included rooms/private/find_room_password.sql
create or replace function private.find_room_password(room_id uuid)
  returns text
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select p.password_hash from private.room_passwords p where p.room_id = find_room_password.room_id
$$;

comment on function private.find_room_password(uuid) is 'Returns the hash of a room''s password, or null.';
grant execute on function private.find_room_password(uuid) to :PLINTH_SERVICE;
--! EndIncluded rooms/private/find_room_password.sql
--! Included rooms/private/is_blocked.sql
create or replace function private.is_blocked(user_id uuid, by_user_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select exists (
    select from rooms.user_blocks b where b.user_id = is_blocked.by_user_id and b.blocked_id = is_blocked.user_id
  )
$$;

comment on function private.is_blocked(uuid, uuid) is 'Returns whether the second user has blocked the first.';
--! EndIncluded rooms/private/is_blocked.sql
--! Included rooms/private/join_room_with_password.sql
create or replace function private.join_room_with_password(room_id uuid, verified_hash text)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
begin
  perform private.lock_accounts(array[v_user]);
  -- The password may have been changed since it was checked.
  perform from rooms.chat_rooms r where r.id = join_room_with_password.room_id for no key update;
  if not exists (
    select
    from private.room_passwords p
    where p.room_id = join_room_with_password.room_id and p.password_hash = verified_hash
  ) then
    return null;
  end if;
  return (private.add_to_room(join_room_with_password.room_id, v_user)).id;
end
$$;

comment on function private.join_room_with_password(uuid, text) is
  'Makes the signed-in user a member if the hash that was verified still is the room''s; returns the membership''s id, or null. PL403 for a banned user.';
grant execute on function private.join_room_with_password(uuid, text) to :PLINTH_SERVICE;
--! EndIncluded rooms/private/join_room_with_password.sql
--! Included rooms/private/keep_revision.sql
create or replace function private.keep_revision(message rooms.room_messages, change text)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  insert into rooms.room_message_revisions (message_id, revision, author_id, actor_id, change, content)
  select
    message.id,
    coalesce((select max(r.revision) from rooms.room_message_revisions r where r.message_id = message.id), 0) + 1,
    message.sender_id,
    plinth.current_user_id(),
    keep_revision.change,
    message.content
$$;

comment on function private.keep_revision(rooms.room_messages, text) is 'Saves the text of a message before it is replaced or deleted.';
--! EndIncluded rooms/private/keep_revision.sql
--! Included rooms/private/lock_room.sql
-- All changes of a room, its members and its messages happen one after the other under this lock.
create or replace function private.lock_room(room_id uuid)
  returns rooms.chat_rooms
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_room rooms.chat_rooms;
begin
  select r.* into v_room from rooms.chat_rooms r where r.id = lock_room.room_id for no key update;
  if v_room.id is null then
    raise exception 'Room not found.' using errcode = 'PL404';
  end if;
  return v_room;
end
$$;

comment on function private.lock_room(uuid) is 'Locks a room until the transaction ends and returns it; PL404.';
--! EndIncluded rooms/private/lock_room.sql
--! Included rooms/private/lock_room_of_message.sql
-- Locks and returns the room of a message that the caller may see. The caller reads the message itself again afterwards.
create or replace function private.lock_room_of_message(message_id uuid)
  returns uuid
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := private.require_user_id();
  v_room_id uuid;
begin
  select msg.room_id into v_room_id
  from rooms.room_messages msg
  join rooms.room_members m on m.room_id = msg.room_id and m.user_id = v_user
  where msg.id = lock_room_of_message.message_id;
  if v_room_id is not null then
    perform private.lock_accounts(array[v_user]);
    perform private.lock_room(v_room_id);
  end if;
  -- Checked again with current data.
  if not private.sees_message(lock_room_of_message.message_id, v_user) then
    raise exception 'Message not found.' using errcode = 'PL404';
  end if;
  return v_room_id;
end
$$;

comment on function private.lock_room_of_message(uuid) is
  'Locks the room of a message and returns its id; PL404 for a message that the caller cannot see.';
--! EndIncluded rooms/private/lock_room_of_message.sql
--! Included rooms/private/lock_user_counters.sql
create or replace function private.lock_user_counters(user_ids uuid[])
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  select from rooms.user_event_counters c where c.user_id = any (lock_user_counters.user_ids) order by c.user_id for no key update
$$;

comment on function private.lock_user_counters(uuid[]) is
  'Locks the counters of several users in one order before a caller notifies them, so that two callers do not deadlock.';
--! EndIncluded rooms/private/lock_user_counters.sql
--! Included rooms/private/mentioned_names.sql
create or replace function private.mentioned_names(content text)
  returns table (names text[])
  language plpgsql
  immutable
  rows 5
  set search_path = pg_catalog
as $$
declare
  -- Scripts written without spaces: Thai to Myanmar, Khmer, Chinese, Japanese, Korean.
  v_unspaced constant text := '\u0e00-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7fb\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff';
  v_text text := private.text_without_code(content);
  v_part record;
  v_before text;
  v_name text;
begin
  v_text := regexp_replace(v_text, '[a-z][a-z0-9+.-]*://[^[:space:]<>]*', ' ', 'gi');
  -- Web addresses without https://.
  v_text := regexp_replace(v_text, '(^|[^[:alnum:]@.-])[[:alnum:]-]+(\.[[:alnum:]-]+)+/[^[:space:]<>]*', '\1 ', 'g');
  for v_part in
    select p.text, lag(p.text) over places as before, lead(p.text) over places as after, p.place
    from string_to_table(v_text, '@') with ordinality as p (text, place)
    window places as (order by p.place)
    offset 1
  loop
    -- The text between the last character that email addresses lack and this @.
    v_before := substring(right(v_part.before, 64) from '[[:alnum:]._%+-]*$');
    v_before := regexp_replace(v_before, '^.*[' || v_unspaced || ']', '');
    v_name := lower(substring(v_part.text from '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}'));
    continue when v_name is null
      or v_before ~ '[[:alnum:]]'
      -- @@john, and @john@example.com, whose parts are not names.
      or (v_part.place > 2 and v_part.before = '')
      or (length(v_name) = length(v_part.text) and v_part.after ~ '^[[:alnum:]]')
      -- Another letter continues the name.
      or substr(v_part.text, length(v_name) + 1, 1) ~ ('^(?![' || v_unspaced || '])[[:alnum:]]$');
    names := array(
      select distinct n.name
      from regexp_split_to_array(v_name, '\.') as p (parts)
      cross join lateral generate_series(1, cardinality(p.parts)) as s (count)
      cross join lateral (select rtrim(array_to_string(p.parts[1:s.count], '.'), '._-') as name) n
      where n.name <> ''
    );
    return next;
  end loop;
end
$$;

comment on function private.mentioned_names(text) is
  'Returns user names that a text may mention: a row for each place, with the name there and its prefix at each full stop.';
--! EndIncluded rooms/private/mentioned_names.sql
--! Included rooms/private/post_ai_message.sql
-- Posts the AI's answer. Its knowledge comes from rooms.room_context. With the audience version of that context, the answer is
-- rejected if a user who must not see it has joined since. The model's usage is recorded in the ledger in the same transaction,
-- once, on the account of the requester: the sender of the message it answers, or the creator of the room.
create or replace function private.post_ai_message(
  room_id uuid,
  content text,
  reply_to_id uuid default null,
  mentions uuid[] default null,
  recipients uuid[] default null,
  metadata jsonb default null,
  audience_version bigint default null,
  idempotency_key uuid default null,
  model_id uuid default null,
  input_tokens bigint default null,
  output_tokens bigint default null,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  billed_user_id uuid default null
)
  returns rooms.room_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_room rooms.chat_rooms;
  v_message rooms.room_messages;
  v_recipients uuid[] := case
    when post_ai_message.recipients is not null
    then array(select distinct r from unnest(post_ai_message.recipients) r order by r)
  end;
  v_mentions uuid[];
  v_billed_user_id uuid;
  -- Without the audience version, which is a condition and not part of the answer.
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    post_ai_message.content, post_ai_message.reply_to_id, post_ai_message.mentions, post_ai_message.recipients,
    coalesce(post_ai_message.metadata, '{}'), post_ai_message.model_id, post_ai_message.input_tokens,
    post_ai_message.output_tokens, post_ai_message.cached_input_tokens, post_ai_message.reasoning_tokens,
    post_ai_message.billed_user_id
  ));
begin
  -- Before anything that may have changed since: a user who has left the room may have been mentioned.
  v_message := private.find_keyed_room_message(
    post_ai_message.room_id, null, post_ai_message.idempotency_key, post_ai_message.content, v_digest
  );
  if v_message.id is not null then
    return v_message;
  end if;
  v_mentions := private.find_mentions(
    post_ai_message.room_id, null, content, post_ai_message.mentions, v_recipients
  );
  if cardinality(v_recipients) not between 1 and 50 then
    raise exception 'A private message needs 1 to 50 recipients.' using errcode = 'PL422', column = 'recipients';
  end if;
  if coalesce(post_ai_message.input_tokens, post_ai_message.output_tokens) is not null then
    v_billed_user_id := coalesce(
      post_ai_message.billed_user_id,
      (
        select m.sender_id
        from rooms.room_messages m
        where m.id = post_ai_message.reply_to_id and m.room_id = post_ai_message.room_id
      ),
      (select r.creator_id from rooms.chat_rooms r where r.id = post_ai_message.room_id)
    );
    -- The account before the room, as everywhere.
    perform from identity.users u where u.id = v_billed_user_id for no key update;
  end if;
  perform private.lock_accounts(v_mentions || v_recipients);
  v_room := private.lock_room(post_ai_message.room_id);
  if not exists (select from rooms.room_members m where m.room_id = v_room.id and m.role = 'ai') then
    raise exception 'No AI is a member of this room.' using errcode = 'PL403';
  end if;
  v_message := private.find_keyed_room_message(
    v_room.id, null, post_ai_message.idempotency_key, post_ai_message.content, v_digest
  );
  if v_message.id is not null then
    return v_message;
  end if;
  -- A private answer goes to the recipients named when the context was read, even if members have joined since.
  if v_recipients is null and post_ai_message.audience_version <> v_room.audience_version then
    raise exception 'The audience of the answer has changed; read the context again.' using errcode = 'PL409';
  end if;
  if content is null or content = '' then
    raise exception 'A message cannot be empty.' using errcode = 'PL422', column = 'content';
  elsif post_ai_message.reply_to_id is not null then
    perform private.require_reply(v_room.id, null, post_ai_message.reply_to_id, v_recipients is not null);
  end if;
  insert into rooms.room_messages as m (
    room_id, sender_id, sender_type, content, reply_to_id, metadata, is_private, idempotency_key
  )
  values (
    v_room.id, null, 'ai', post_ai_message.content, post_ai_message.reply_to_id, coalesce(post_ai_message.metadata, '{}'),
    v_recipients is not null, post_ai_message.idempotency_key
  )
  returning m.* into v_message;
  if post_ai_message.idempotency_key is not null then
    insert into private.request_digests (room_message_id, digest) values (v_message.id, v_digest);
  end if;
  perform private.address_message(v_message, v_recipients, v_mentions);
  if v_billed_user_id is not null then
    perform private.record_usage(
      v_billed_user_id, post_ai_message.model_id, coalesce(post_ai_message.input_tokens, 0),
      coalesce(post_ai_message.output_tokens, 0), 'room:' || v_message.id, post_ai_message.cached_input_tokens,
      post_ai_message.reasoning_tokens
    );
  end if;
  return v_message;
end
$$;

comment on function private.post_ai_message(
  uuid, text, uuid, uuid[], uuid[], jsonb, bigint, uuid, uuid, bigint, bigint, bigint, bigint, uuid
) is
  'Posts an answer of the room''s AI; with recipients, to them only. With token counts it records the model''s usage on the '
  'account of the sender it replies to, else of the room''s creator, unless billed_user_id names another. The same idempotency '
  'key returns the same message. PL403 where no AI is a member, PL409 when the audience has changed since the context was read '
  'or the key was used for another message, PL404, PL422.';
grant execute
  on function private.post_ai_message(
    uuid, text, uuid, uuid[], uuid[], jsonb, bigint, uuid, uuid, bigint, bigint, bigint, bigint, uuid
  )
  to :PLINTH_SERVICE;
--! EndIncluded rooms/private/post_ai_message.sql
--! Included rooms/private/posted_in_room_after.sql
-- The number of public messages that a sender posted after a watermark, without deleted ones: a difference of two numbers.
create or replace function private.posted_in_room_after(room_id uuid, sender_id uuid, watermark bigint)
  returns bigint
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  return
    coalesce((
      select msg.sender_sequence
      from rooms.room_messages msg
      where msg.sender_id = posted_in_room_after.sender_id and msg.room_id = posted_in_room_after.room_id
      order by msg.sequence desc
      limit 1
    ), 0)
    - coalesce((
      select msg.sender_sequence
      from rooms.room_messages msg
      where msg.sender_id = posted_in_room_after.sender_id
        and msg.room_id = posted_in_room_after.room_id
        and msg.sequence <= posted_in_room_after.watermark
      order by msg.sequence desc
      limit 1
    ), 0)
    - private.counted_in_room_after(
      posted_in_room_after.room_id, 'deleted', posted_in_room_after.sender_id, posted_in_room_after.watermark
    );
end
$$;

comment on function private.posted_in_room_after(uuid, uuid, bigint) is
  'Returns how many undeleted public messages a sender posted in a room after a watermark.';
--! EndIncluded rooms/private/posted_in_room_after.sql
--! Included rooms/private/refuse_blocked_direct.sql
-- A block by either of two users stops their direct messages.
create or replace function private.refuse_blocked_direct(room_id uuid, sender_id uuid)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if exists (
    select
    from rooms.chat_rooms r
    join rooms.room_members m on m.room_id = r.id and m.user_id <> refuse_blocked_direct.sender_id
    where r.id = refuse_blocked_direct.room_id
      and r.room_type = 'direct'
      and (
        private.is_blocked(m.user_id, refuse_blocked_direct.sender_id)
        or private.is_blocked(refuse_blocked_direct.sender_id, m.user_id)
      )
  ) then
    raise exception 'You cannot write to this person.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.refuse_blocked_direct(uuid, uuid) is 'Raises PL403 in a direct room in which one member has blocked the other.';
--! EndIncluded rooms/private/refuse_blocked_direct.sql
--! Included rooms/private/remove_from_room.sql
-- Removes a member. A room without people is deleted. If its creator leaves, the room passes to the longest-standing member,
-- moderators first. The caller has locked the room.
create or replace function private.remove_from_room(room_id uuid, user_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_role text;
  v_heir rooms.room_members;
begin
  select m.role into v_role
  from rooms.room_members m
  where m.room_id = remove_from_room.room_id and m.user_id = remove_from_room.user_id;
  if v_role is null then
    return false;
  end if;
  select o.* into v_heir
  from rooms.room_members o
  where o.room_id = remove_from_room.room_id and o.user_id <> remove_from_room.user_id
  order by o.role = 'moderator' desc, o.joined_at, o.id
  limit 1;
  if v_heir.id is null then
    -- With its members.
    delete from rooms.chat_rooms r where r.id = remove_from_room.room_id;
    return true;
  end if;
  if v_role = 'creator' then
    perform private.lock_user_counters(array[remove_from_room.user_id, v_heir.user_id]);
  end if;
  delete from rooms.room_members m
  where m.room_id = remove_from_room.room_id and m.user_id = remove_from_room.user_id;
  if v_role = 'creator' then
    update rooms.room_members m set role = 'creator' where m.id = v_heir.id;
  end if;
  return true;
end
$$;

comment on function private.remove_from_room(uuid, uuid) is
  'Ends a membership and hands over the room or deletes an empty one; returns whether there was a membership.';
--! EndIncluded rooms/private/remove_from_room.sql
--! Included rooms/private/require_reply.sql
-- A message may reply only to a message of the same room that its sender can see. The reply to a private message must be private;
-- otherwise it would reveal that message to everyone.
create or replace function private.require_reply(room_id uuid, sender_id uuid, reply_to_id uuid, is_private boolean)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if not exists (
    select
    from rooms.room_messages m
    where m.id = require_reply.reply_to_id
      and m.room_id = require_reply.room_id
      and (not m.is_private or require_reply.is_private)
      and (require_reply.sender_id is null or private.sees_message(m.id, require_reply.sender_id))
  ) then
    raise exception 'The message to reply to was not found.' using errcode = 'PL404', column = 'reply_to_id';
  end if;
end
$$;

comment on function private.require_reply(uuid, uuid, uuid, boolean) is 'Raises PL404 for a message that cannot be replied to.';
--! EndIncluded rooms/private/require_reply.sql
--! Included rooms/private/require_room_moderator.sql
create or replace function private.require_room_moderator(room_id uuid)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if private.current_room_role(require_room_moderator.room_id) not in ('creator', 'moderator') then
    raise exception 'Only moderators of the room may do this.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.require_room_moderator(uuid) is 'Raises PL403 for a member who does not moderate the room; PL404 for a non-member.';
--! EndIncluded rooms/private/require_room_moderator.sql
--! Included rooms/private/room_context.sql
-- The messages an AI member may use before it answers in a room. Its answer reaches every member, so it may use only what every
-- member may see: no message from before a member joined a room that does not share its history, none by a user whom a member
-- has blocked, no private message, no deleted one. For an answer to one member only (a private one), that member's view
-- decides. The last messages, oldest first.
create or replace function private.room_context(room_id uuid, max_count integer default 50, audience_id uuid default null)
  returns table (
    message_id uuid,
    sequence bigint,
    sender_id uuid,
    sender_type text,
    sender_name text,
    reply_to_id uuid,
    content text,
    created_at timestamptz,
    audience_version bigint
  )
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_visible_after bigint;
  v_audience uuid[];
  v_hidden uuid[];
begin
  select array_agg(m.user_id), max(m.visible_after)
  into v_audience, v_visible_after
  from rooms.room_members m
  where m.room_id = room_context.room_id
    and m.user_id is not null
    and (room_context.audience_id is null or m.user_id = room_context.audience_id);
  v_hidden := array(select distinct b.blocked_id from rooms.user_blocks b where b.user_id = any (v_audience));
  return query
    select
      last.id, last.sequence, last.sender_id, last.sender_type, u.username, last.reply_to_id, last.content, last.created_at,
      last.audience_version
    from (
      select m.*, r.audience_version
      from rooms.room_messages m
      join rooms.chat_rooms r on r.id = m.room_id
      where m.room_id = room_context.room_id
        and m.event_sequence > v_visible_after
        and not m.is_deleted
        and (m.sender_id is null or not m.sender_id = any (v_hidden))
        and (
          not m.is_private
          or (
            room_context.audience_id is not null
            and (
              m.sender_id = room_context.audience_id
              or exists (
                select
                from rooms.room_message_recipients p
                where p.message_id = m.id and p.user_id = room_context.audience_id
              )
            )
          )
        )
      order by m.event_sequence desc
      limit least(greatest(room_context.max_count, 0), 500)
    ) as last
    left join identity.users u on u.id = last.sender_id
    order by last.event_sequence;
end
$$;

comment on function private.room_context(uuid, integer, uuid) is 'Runs rooms.room_context for the service, which acts for the AI of any room.';
grant execute on function private.room_context(uuid, integer, uuid) to :PLINTH_SERVICE;
--! EndIncluded rooms/private/room_context.sql
--! Included rooms/private/rooms_to_answer.sql
-- For the worker of an AI member. Unanswered messages are read from the rooms and stored nowhere else, so a killed worker finds
-- them again. An answer replies to the last message it took into account; public messages that members posted after that are
-- unanswered.
create or replace function private.rooms_to_answer(room_id uuid default null, max_count integer default 100)
  returns table (room_id uuid, message_id uuid)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select ai.room_id, asked.id
  from rooms.room_members ai
  cross join lateral (
    select m.id, m.sequence
    from rooms.room_messages m
    where m.room_id = ai.room_id and m.sender_type = 'user' and not m.is_private and not m.is_deleted
    order by m.event_sequence desc
    limit 1
  ) asked
  left join lateral (
    select coalesce(t.sequence, m.sequence) as sequence
    from rooms.room_messages m
    left join rooms.room_messages t on t.id = m.reply_to_id
    where m.room_id = ai.room_id and m.sender_type = 'ai'
    order by m.event_sequence desc
    limit 1
  ) answered on true
  where ai.user_id is null
    and ai.role = 'ai'
    and (rooms_to_answer.room_id is null or ai.room_id = rooms_to_answer.room_id)
    and asked.sequence > coalesce(answered.sequence, 0)
  order by asked.id
  limit least(greatest(max_count, 0), 1000)
$$;

comment on function private.rooms_to_answer(uuid, integer) is
  'Returns rooms with an AI member in which a member wrote after its last answer, and the last such message; longest waiting first.';
grant execute on function private.rooms_to_answer(uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded rooms/private/rooms_to_answer.sql
--! Included rooms/private/sees_message.sql
-- Applies the visibility rules of the policies of rooms.room_messages, for functions.
create or replace function private.sees_message(message_id uuid, user_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select exists (
    select
    from rooms.room_messages msg
    join rooms.room_members m
      on m.room_id = msg.room_id and m.user_id = sees_message.user_id and msg.event_sequence > m.visible_after
    where msg.id = sees_message.message_id
      and (
        not msg.is_private
        or msg.sender_id = sees_message.user_id
        or exists (
          select from rooms.room_message_recipients r where r.message_id = msg.id and r.user_id = sees_message.user_id
        )
      )
      and (msg.sender_id is null or not private.is_blocked(msg.sender_id, sees_message.user_id))
  )
$$;

comment on function private.sees_message(uuid, uuid) is 'Returns whether a user may see a message of a room.';
--! EndIncluded rooms/private/sees_message.sql
--! Included rooms/private/sees_room.sql
-- Whether a user may know that a room exists, by the rule of the policies of rooms.chat_rooms.
create or replace function private.sees_room(room_id uuid, user_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select exists (
    select
    from rooms.chat_rooms r
    where r.id = sees_room.room_id
      and (
        r.is_public
        or exists (
          select from rooms.room_invites i where i.room_id = r.id and i.invitee_id = sees_room.user_id and i.status = 'pending'
        )
        or exists (select from rooms.room_members m where m.room_id = r.id and m.user_id = sees_room.user_id)
      )
  )
$$;

comment on function private.sees_room(uuid, uuid) is 'Returns whether a user may see a room: as a member, by an invite, or because it is public.';
--! EndIncluded rooms/private/sees_room.sql
--! Included rooms/private/set_room_password.sql
-- The password of a room, hashed and checked by the service, the only caller; it acts for the signed-in user. The password is
-- required where the room can be joined without an invite: a member passes on the room's id together with it.
create or replace function private.set_room_password(room_id uuid, password_hash text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.require_room_moderator(set_room_password.room_id);
  perform private.lock_accounts(array[plinth.current_user_id()]);
  perform private.lock_room(set_room_password.room_id);
  perform private.require_room_moderator(set_room_password.room_id);
  if set_room_password.password_hash is null then
    delete from private.room_passwords p where p.room_id = set_room_password.room_id;
  else
    insert into private.room_passwords (room_id, password_hash)
    values (set_room_password.room_id, set_room_password.password_hash)
    on conflict on constraint room_passwords_pkey
    do update set password_hash = excluded.password_hash, updated_at = now();
  end if;
  update rooms.chat_rooms r
  set has_password = set_room_password.password_hash is not null
  where r.id = set_room_password.room_id
    and r.has_password <> (set_room_password.password_hash is not null);
end
$$;

comment on function private.set_room_password(uuid, text) is
  'Sets or (null) removes the password of a room that the signed-in user moderates. PL403, PL404.';
grant execute on function private.set_room_password(uuid, text) to :PLINTH_SERVICE;
--! EndIncluded rooms/private/set_room_password.sql
--! Included rooms/private/text_without_code.sql
-- The rule of mentions. @name mentions the account of that name, ignoring case:
-- - After a letter or digit the @ is part of an email address, unless that character is of a script without spaces (你好@john).
-- - The name ends at the first character that user names lack (they have a-z, 0-9, dot, underscore, hyphen). A letter directly
--   after it makes it another name (@johné), unless it is of a script without spaces (@john你好). Dots, underscores and hyphens
--   at its end are punctuation (_thanks @john_).
-- - @john.please means john.please if there is such an account, otherwise john: a full stop without a space after it.
-- - Code, fenced (``` or ~~~) or between backticks, and URLs contain no mentions.

-- The parts of a text that are not code in Markdown.
create or replace function private.text_without_code(value text)
  returns text
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  v_line text;
  v_fence text;
  v_paragraph text;
  v_part record;
  v_end bigint;
  v_kept text := '';
  v_result text := '';
begin
  if strpos(value, '`') = 0 and strpos(value, '~~~') = 0 then
    return value;
  end if;
  foreach v_line in array string_to_array(replace(value, E'\r', ''), E'\n') loop
    if v_fence is null then
      v_fence := substring(v_line from '^ {0,3}(`{3,})[^`]*$');
      v_fence := coalesce(v_fence, substring(v_line from '^ {0,3}(~{3,})'));
      v_kept := v_kept || case when v_fence is null then v_line else '' end || E'\n';
    elsif v_line ~ ('^ {0,3}' || v_fence || left(v_fence, 1) || '*[ \t]*$') then
      v_fence := null;
    end if;
  end loop;
  -- Code between backticks ends with as many backticks as it starts with, in the same paragraph.
  foreach v_paragraph in array regexp_split_to_array(v_kept, '\n[ \t]*\n') loop
    v_end := 0;
    for v_part in
      select
        m.match[1] as text, m.place,
        case when m.match[1] like '`%' then lead(m.place) over (partition by m.match[1] order by m.place) end as ends
      from regexp_matches(v_paragraph, '`+|[^`]+', 'g') with ordinality as m (match, place)
      order by m.place
    loop
      continue when v_part.place <= v_end;
      v_end := coalesce(v_part.ends, 0);
      v_result := v_result || case when v_part.ends is null then v_part.text else ' ' end;
    end loop;
    v_result := v_result || E'\n\n';
  end loop;
  return v_result;
end
$$;

comment on function private.text_without_code(text) is 'Returns a text without fenced code and code between backticks.';
--! EndIncluded rooms/private/text_without_code.sql
--! Included rooms/private/uncounted_in_room_after.sql
-- The same for tallies that apply to all members; the null user needs another query.
create or replace function private.uncounted_in_room_after(room_id uuid, watermark bigint)
  returns bigint
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  return (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = uncounted_in_room_after.room_id
      and t.kind = 'uncounted'
      and t.user_id is null
      and t.level = 0
      and t.bucket >= watermark + 1
      and t.bucket < ((watermark + 64) >> 6) << 6
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = uncounted_in_room_after.room_id
      and t.kind = 'uncounted'
      and t.user_id is null
      and t.level = 1
      and t.bucket >= (watermark + 64) >> 6
      and t.bucket < ((watermark + 4096) >> 12) << 6
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = uncounted_in_room_after.room_id
      and t.kind = 'uncounted'
      and t.user_id is null
      and t.level = 2
      and t.bucket >= (watermark + 4096) >> 12
      and t.bucket < ((watermark + 262144) >> 18) << 6
  ) + (
    select coalesce(sum(t.amount), 0)
    from private.room_tallies t
    where t.room_id = uncounted_in_room_after.room_id
      and t.kind = 'uncounted'
      and t.user_id is null
      and t.level = 3
      and t.bucket >= (watermark + 262144) >> 18
  );
end
$$;

comment on function private.uncounted_in_room_after(uuid, bigint) is
  'Returns how many messages of a room after a watermark count as unread for no member: deleted and private ones.';
--! EndIncluded rooms/private/uncounted_in_room_after.sql
--! Included rooms/triggers/chat_rooms.sql
create or replace trigger _100_lock_account
  before update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each statement
  execute function private.lock_acting_account();

-- A change of name or settings is an event. Posting changes other columns and does not run this.
create or replace function private.number_room_change()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  new.last_event_sequence := old.last_event_sequence + 1;
  return new;
end
$$;

comment on function private.number_room_change() is 'Trigger: numbers the event of a change of a room.';

create or replace trigger _100_number
  before update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each row
  when (
    (old.name, old.description, old.is_public, old.has_password, old.ai_enabled, old.history_is_shared)
    is distinct from
    (new.name, new.description, new.is_public, new.has_password, new.ai_enabled, new.history_is_shared)
  )
  execute function private.number_room_change();

create or replace function private.follow_room_change()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into rooms.room_changes (room_id, sequence, kind, user_id)
  values (
    new.id, new.last_event_sequence, 'room_changed',
    (select u.id from identity.users u where u.id = plinth.current_user_id())
  );
  perform plinth.announce('room:' || new.id, new.last_event_sequence);
  if new.ai_enabled and not old.ai_enabled then
    insert into rooms.room_members (room_id, user_id, role)
    values (new.id, null, 'ai')
    on conflict on constraint room_members_room_id_user_id_key do nothing;
  elsif old.ai_enabled and not new.ai_enabled then
    delete from rooms.room_members m where m.room_id = new.id and m.role = 'ai';
  end if;
  return null;
end
$$;

comment on function private.follow_room_change() is 'Trigger: logs a change of a room; the AI joins when enabled and leaves when disabled.';

create or replace trigger _500_follow
  after update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each row
  when (
    (old.name, old.description, old.is_public, old.has_password, old.ai_enabled, old.history_is_shared)
    is distinct from
    (new.name, new.description, new.is_public, new.has_password, new.ai_enabled, new.history_is_shared)
  )
  execute function private.follow_room_change();

-- Locks the counters of all users to notify of a room's deletion before the first is notified.
create or replace function private.lock_audience_of_room()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.lock_user_counters(array(
    select m.user_id from rooms.room_members m where m.room_id = old.id
    union
    select unnest(array[i.inviter_id, i.invitee_id]) from rooms.room_invites i where i.room_id = old.id
  ));
  return old;
end
$$;

comment on function private.lock_audience_of_room() is
  'Trigger: locks the counters of members and invited users of a deleted room, in one order.';

create or replace trigger _100_lock_audience
  before delete on rooms.chat_rooms
  for each row
  execute function private.lock_audience_of_room();
--! EndIncluded rooms/triggers/chat_rooms.sql
--! Included rooms/triggers/room_invites.sql
create or replace function private.follow_room_invite()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  -- Both sides list the invite; in the order of their ids, so that two concurrent changes do not deadlock.
  perform private.announce_user(u.id)
  from unnest(array[coalesce(new.invitee_id, old.invitee_id), coalesce(new.inviter_id, old.inviter_id)]) u (id)
  order by u.id;
  return null;
end
$$;

comment on function private.follow_room_invite() is 'Trigger: notifies the subscribers of inviter and invitee that an invite changed.';

create or replace trigger _500_follow
  after insert or delete or update of status on rooms.room_invites
  for each row
  execute function private.follow_room_invite();
--! EndIncluded rooms/triggers/room_invites.sql
--! Included rooms/triggers/room_members.sql
-- New members start with nothing unread, and see earlier messages only if the room shares its history. The room is locked: a
-- message posted concurrently is either before the mark or after it.
create or replace function private.place_room_member()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  select r.last_sequence, case when r.history_is_shared then 0 else r.last_event_sequence end
  into new.last_read_sequence, new.visible_after
  from rooms.chat_rooms r
  where r.id = new.room_id
  for no key update;
  -- Without a room the foreign key rejects the row.
  new.last_read_sequence := coalesce(new.last_read_sequence, 0);
  new.visible_after := coalesce(new.visible_after, 0);
  return new;
end
$$;

comment on function private.place_room_member() is 'Trigger: sets the start of a new member''s history and the read mark.';

create or replace trigger _100_place
  before insert on rooms.room_members
  for each row
  execute function private.place_room_member();

create or replace function private.follow_room_member()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'INSERT' then
    if new.user_id is not null then
      update rooms.chat_rooms r set audience_version = r.audience_version + 1 where r.id = new.room_id;
    end if;
    perform private.append_room_event(new.room_id, 'member_joined', null, new.user_id);
  elsif tg_op = 'DELETE' then
    perform private.append_room_event(old.room_id, 'member_left', null, old.user_id);
  elsif new.role <> old.role then
    perform private.append_room_event(new.room_id, 'member_changed', null, new.user_id);
  end if;
  if coalesce(new.user_id, old.user_id) is not null then
    perform private.announce_user(coalesce(new.user_id, old.user_id));
  end if;
  return null;
end
$$;

comment on function private.follow_room_member() is 'Trigger: logs members who join, leave or change role, and notifies the member''s own subscribers.';

create or replace trigger _500_follow
  after insert or update or delete on rooms.room_members
  for each row
  execute function private.follow_room_member();
--! EndIncluded rooms/triggers/room_members.sql
--! Included rooms/triggers/room_messages.sql
-- Numbers every message that has no numbers yet (those of rooms.post_room_message and of a restored dump have them), under the
-- room's lock: numbers have no gaps, times increase with them, and readers see them appear in order.
create or replace function private.number_room_message()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  update rooms.chat_rooms r
  set
    last_sequence = r.last_sequence + 1,
    last_event_sequence = r.last_event_sequence + 1,
    -- A message with an earlier time (imported) keeps it. No message precedes the last one, even if its time is earlier or the
    -- clock was set back.
    last_activity_at = case
      when new.created_at < now() and r.last_sequence = 0 then new.created_at
      when new.created_at < now() then greatest(new.created_at, r.last_activity_at)
      else greatest(clock_timestamp(), r.last_activity_at)
    end
  where r.id = new.room_id
  returning r.last_sequence, r.last_event_sequence, r.last_activity_at
  into new.sequence, new.event_sequence, new.created_at;
  if not found then
    -- The foreign key will reject it.
    return new;
  end if;
  new.sender_sequence := 0;
  if new.sender_id is not null then
    new.sender_sequence := coalesce((
      select m.sender_sequence
      from rooms.room_messages m
      where m.sender_id = new.sender_id and m.room_id = new.room_id
      order by m.sequence desc
      limit 1
    ), 0) + (not new.is_private)::integer;
  end if;
  perform plinth.announce('room:' || new.room_id, new.event_sequence);
  return new;
end
$$;

comment on function private.number_room_message() is 'Trigger: sets the numbers and time of a message, and announces it.';

create or replace trigger _100_number
  before insert on rooms.room_messages
  for each row
  when (new.sequence = 0)
  execute function private.number_room_message();

-- A private message is unread only for its recipients, and is counted with them.
create or replace function private.count_private_message()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.count_in_room(new.room_id, 'uncounted', null, null, new.sequence, 1);
  return new;
end
$$;

comment on function private.count_private_message() is 'Trigger: excludes a private message from the common count.';

create or replace trigger _200_count_private
  before insert on rooms.room_messages
  for each row
  when (new.is_private)
  execute function private.count_private_message();

-- Whichever user deletes or restores, the counts and the log follow.
create or replace function private.follow_room_message()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if new.is_deleted is distinct from old.is_deleted then
    perform private.append_room_event(
      new.room_id, case when new.is_deleted then 'message_deleted' else 'message_restored' end, new.id, plinth.current_user_id()
    );
    -- The old values: the same update clears the sender of a deleted account.
    perform private.count_message(old, case when new.is_deleted then -1 else 1 end);
  elsif new.content is distinct from old.content then
    perform private.append_room_event(new.room_id, 'message_edited', new.id, plinth.current_user_id());
  end if;
  return null;
end
$$;

comment on function private.follow_room_message() is 'Trigger: corrects the counts and logs the event when a message is edited, deleted or restored.';

create or replace trigger _500_follow
  after update of content, is_deleted on rooms.room_messages
  for each row
  when (new.is_deleted is distinct from old.is_deleted or new.content is distinct from old.content)
  execute function private.follow_room_message();
--! EndIncluded rooms/triggers/room_messages.sql
--! Included rooms/triggers/touch_updated_at.sql
-- See plinth.touch_updated_at. Counters do not count as a change of the room.
create or replace trigger _900_touch_updated_at
  before update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each row
  execute function plinth.touch_updated_at();

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on rooms.general_chat_settings
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded rooms/triggers/touch_updated_at.sql
--! Included rooms/triggers/user_blocks.sql
-- An AI answer in progress that uses messages of the blocked user would reach the user who blocked them.
create or replace function private.follow_user_block()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.lock_room(shared.room_id)
  from (
    select m.room_id
    from rooms.room_members m
    join rooms.room_members b on b.room_id = m.room_id and b.user_id = new.blocked_id
    where m.user_id = new.user_id
    order by m.room_id
  ) as shared;
  update rooms.chat_rooms r
  set audience_version = r.audience_version + 1
  where r.id in (
    select m.room_id
    from rooms.room_members m
    join rooms.room_members b on b.room_id = m.room_id and b.user_id = new.blocked_id
    where m.user_id = new.user_id
  );
  return null;
end
$$;

comment on function private.follow_user_block() is 'Trigger: a block changes the audience of the rooms that both users are in.';

create or replace trigger _500_follow
  after insert on rooms.user_blocks
  for each row
  execute function private.follow_user_block();
--! EndIncluded rooms/triggers/user_blocks.sql
--! Included rooms/triggers/users.sql
-- Deleting an account deletes the texts it wrote. The rows of its messages stay, empty and without a name, so that numbers,
-- replies and other users' unread counts stay correct. Runs before the delete and room by room in the order of their ids: rooms
-- are locked before messages everywhere.
create or replace function private.leave_rooms_of_user()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_room_id uuid;
begin
  for v_room_id in
    select m.room_id from rooms.room_members m where m.user_id = old.id
    union
    select m.room_id from rooms.room_messages m where m.sender_id = old.id
    order by 1
  loop
    perform from rooms.chat_rooms r where r.id = v_room_id for no key update;
    update rooms.room_messages m
    set
      sender_id = null,
      content = '',
      metadata = '{}',
      is_deleted = true,
      deleted_at = coalesce(m.deleted_at, clock_timestamp()),
      idempotency_key = null
    where m.room_id = v_room_id and m.sender_id = old.id;
    perform private.remove_from_room(v_room_id, old.id);
  end loop;
  update rooms.general_chat_messages m
  set
    sender_id = null, content = '', is_deleted = true, deleted_at = coalesce(m.deleted_at, clock_timestamp()), idempotency_key = null
  where m.sender_id = old.id;
  return old;
end
$$;

comment on function private.leave_rooms_of_user() is
  'Trigger: empties the messages of an account that is being deleted and removes it from its rooms.';

create or replace trigger _300_leave_rooms
  before delete on identity.users
  for each row
  execute function private.leave_rooms_of_user();
--! EndIncluded rooms/triggers/users.sql
--! Included rooms/policies/chat_rooms.sql
-- Members, invited users and, for public rooms, all signed-in users see a room; its moderators change it, its creator deletes
-- it. No insert: rooms.create_room and rooms.create_direct_room. No update of the counters, the password or the type.
revoke all on rooms.chat_rooms from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  update (name, description, is_public, ai_enabled, history_is_shared),
  delete
  on rooms.chat_rooms to :PLINTH_USER;

drop policy if exists select_visible on rooms.chat_rooms;
create policy select_visible on rooms.chat_rooms
  for select to :PLINTH_USER
  using (
    id in (select rooms.my_room_ids())
    or is_public
    or id in (select rooms.invited_room_ids())
  );
comment on policy select_visible on rooms.chat_rooms is 'Users see their rooms, public ones, and those they are invited to.';

drop policy if exists update_moderator on rooms.chat_rooms;
create policy update_moderator on rooms.chat_rooms
  for update to :PLINTH_USER
  using (id in (select rooms.moderated_room_ids()))
  with check (id in (select rooms.moderated_room_ids()));
comment on policy update_moderator on rooms.chat_rooms is 'Moderators change the name and settings of their rooms.';

drop policy if exists delete_creator on rooms.chat_rooms;
create policy delete_creator on rooms.chat_rooms
  for delete to :PLINTH_USER
  using (id in (select rooms.own_room_ids()));
comment on policy delete_creator on rooms.chat_rooms is 'Creators delete their rooms with all contents.';
--! EndIncluded rooms/policies/chat_rooms.sql
--! Included rooms/policies/general_chat_messages.sql
-- Every signed-in user reads it, except messages by users they have blocked; functions write. Users with moderate_general_chat
-- run the chat.
revoke all on rooms.general_chat_messages from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.general_chat_messages to :PLINTH_USER;

drop policy if exists select_unblocked on rooms.general_chat_messages;
create policy select_unblocked on rooms.general_chat_messages
  for select to :PLINTH_USER
  using (
    (select plinth.current_user_id()) is not null
    and not exists (
      select
      from rooms.user_blocks b
      where b.user_id = (select plinth.current_user_id()) and b.blocked_id = general_chat_messages.sender_id
    )
  );
comment on policy select_unblocked on rooms.general_chat_messages is
  'Signed-in users read the general chat, except messages by users they have blocked.';
--! EndIncluded rooms/policies/general_chat_messages.sql
--! Included rooms/policies/general_chat_mutes.sql
revoke all on rooms.general_chat_mutes from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (user_id, reason, muted_until),
  update (reason, muted_until),
  delete
  on rooms.general_chat_mutes to :PLINTH_USER;

drop policy if exists select_own on rooms.general_chat_mutes;
create policy select_own on rooms.general_chat_mutes
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on rooms.general_chat_mutes is 'Users see whether they are muted, and why.';

-- Moderators cannot mute users with more permissions, and muted users cannot unmute themselves.
drop policy if exists all_moderator on rooms.general_chat_mutes;
create policy all_moderator on rooms.general_chat_mutes
  for all to :PLINTH_USER
  using ((select access.has_permission('moderate_general_chat')) and user_id <> (select plinth.current_user_id()))
  with check (
    (select access.has_permission('moderate_general_chat'))
    and user_id <> (select plinth.current_user_id())
    and access.may_administer(user_id)
  );
comment on policy all_moderator on rooms.general_chat_mutes is
  'Users with moderate_general_chat mute and unmute others, but not users with more permissions.';
--! EndIncluded rooms/policies/general_chat_mutes.sql
--! Included rooms/policies/general_chat_revisions.sql
revoke all on rooms.general_chat_revisions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.general_chat_revisions to :PLINTH_USER;

drop policy if exists select_concerned on rooms.general_chat_revisions;
create policy select_concerned on rooms.general_chat_revisions
  for select to :PLINTH_USER
  using (
    author_id = (select plinth.current_user_id())
    or (select access.has_permission('moderate_general_chat'))
  );
comment on policy select_concerned on rooms.general_chat_revisions is
  'Authors read the earlier texts of their own messages, moderators of the general chat read all.';
--! EndIncluded rooms/policies/general_chat_revisions.sql
--! Included rooms/policies/general_chat_settings.sql
revoke all on rooms.general_chat_settings from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (is_open, slow_mode_seconds) on rooms.general_chat_settings to :PLINTH_USER;

drop policy if exists select_all on rooms.general_chat_settings;
create policy select_all on rooms.general_chat_settings
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on rooms.general_chat_settings is 'Signed-in users read the settings of the general chat.';

drop policy if exists update_moderator on rooms.general_chat_settings;
create policy update_moderator on rooms.general_chat_settings
  for update to :PLINTH_USER
  using ((select access.has_permission('moderate_general_chat')))
  with check ((select access.has_permission('moderate_general_chat')));
comment on policy update_moderator on rooms.general_chat_settings is 'Users with moderate_general_chat change the settings of the general chat.';
--! EndIncluded rooms/policies/general_chat_settings.sql
--! Included rooms/policies/presence.sql
-- Users see the presence of users who share a room with them, until it expires and unless they have blocked them. Written by
-- rooms.set_presence.
revoke all on rooms.presence from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.presence to :PLINTH_USER;

-- The time of the statement: several readers may share a transaction.
drop policy if exists select_fellow_member on rooms.presence;
create policy select_fellow_member on rooms.presence
  for select to :PLINTH_USER
  using (
    expires_at > statement_timestamp()
    and (
      user_id = (select plinth.current_user_id())
      or exists (
        select
        from rooms.room_members m
        where m.user_id = presence.user_id and m.room_id in (select rooms.my_room_ids())
      )
    )
    and not user_id = any ((
      select array(select b.blocked_id from rooms.user_blocks b where b.user_id = (select plinth.current_user_id()))
    )::uuid[])
  );
comment on policy select_fellow_member on rooms.presence is
  'Users see who of the people in their rooms is present, except users they have blocked.';
--! EndIncluded rooms/policies/presence.sql
--! Included rooms/policies/room_bans.sql
-- The room's moderators see the banned users and lift bans. Created by rooms.remove_room_member.
revoke all on rooms.room_bans from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, delete on rooms.room_bans to :PLINTH_USER;

drop policy if exists all_moderator on rooms.room_bans;
create policy all_moderator on rooms.room_bans
  for all to :PLINTH_USER
  using (room_id in (select rooms.moderated_room_ids()))
  with check (room_id in (select rooms.moderated_room_ids()));
comment on policy all_moderator on rooms.room_bans is 'Moderators see and lift the bans of their rooms.';
--! EndIncluded rooms/policies/room_bans.sql
--! Included rooms/policies/room_changes.sql
-- The same rule as for the messages of the room: from the start of the member's history, and without events of messages they
-- may not see. By a function: with the policy of room_messages in it, starting to read the newest event took half as long
-- again, for every subscriber of a room.
revoke all on rooms.room_changes from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_changes to :PLINTH_USER;

drop policy if exists select_member on rooms.room_changes;
create policy select_member on rooms.room_changes
  for select to :PLINTH_USER
  using (
    exists (
      select
      from rooms.room_members m
      where m.room_id = room_changes.room_id
        and m.user_id = (select plinth.current_user_id())
        and m.visible_after < room_changes.sequence
    )
    and (message_id is null or rooms.can_see_message(message_id))
  );
comment on policy select_member on rooms.room_changes is 'Members read the events of their rooms that concern messages they may see.';
--! EndIncluded rooms/policies/room_changes.sql
--! Included rooms/policies/room_invites.sql
-- An invite is visible to its inviter, its invitee and the room's moderators; functions change it.
revoke all on rooms.room_invites from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_invites to :PLINTH_USER;

drop policy if exists select_own on rooms.room_invites;
create policy select_own on rooms.room_invites
  for select to :PLINTH_USER
  using (invitee_id = (select plinth.current_user_id()) or inviter_id = (select plinth.current_user_id()));
comment on policy select_own on rooms.room_invites is 'Users see the invites they received and sent.';

drop policy if exists select_moderator on rooms.room_invites;
create policy select_moderator on rooms.room_invites
  for select to :PLINTH_USER
  using (room_id in (select rooms.moderated_room_ids()));
comment on policy select_moderator on rooms.room_invites is 'Moderators see the invites to their rooms.';
--! EndIncluded rooms/policies/room_invites.sql
--! Included rooms/policies/room_members.sql
-- Members see each other, with roles and read marks. Functions change membership, roles and marks; members change what concerns
-- only their own list.
revoke all on rooms.room_members from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (is_muted, is_archived) on rooms.room_members to :PLINTH_USER;

-- Evaluated first, and enough to read a message: one row of an index.
drop policy if exists select_own on rooms.room_members;
create policy select_own on rooms.room_members
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()) or room_id in (select rooms.my_room_ids()));
comment on policy select_own on rooms.room_members is 'Users see their memberships and those of the others in their rooms.';

drop policy if exists update_own on rooms.room_members;
create policy update_own on rooms.room_members
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on rooms.room_members is 'Users mute and archive their own rooms.';
--! EndIncluded rooms/policies/room_members.sql
--! Included rooms/policies/room_message_mentions.sql
-- Users who see a message see its mentions; written by functions.
revoke all on rooms.room_message_mentions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_message_mentions to :PLINTH_USER;

drop policy if exists select_with_message on rooms.room_message_mentions;
create policy select_with_message on rooms.room_message_mentions
  for select to :PLINTH_USER
  using (exists (select from rooms.room_messages m where m.id = room_message_mentions.message_id));
comment on policy select_with_message on rooms.room_message_mentions is 'Users who see a message see its mentions.';
--! EndIncluded rooms/policies/room_message_mentions.sql
--! Included rooms/policies/room_message_reactions.sql
-- Users who see a message see its reactions; written by functions.
revoke all on rooms.room_message_reactions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_message_reactions to :PLINTH_USER;

drop policy if exists select_with_message on rooms.room_message_reactions;
create policy select_with_message on rooms.room_message_reactions
  for select to :PLINTH_USER
  using (exists (select from rooms.room_messages m where m.id = room_message_reactions.message_id));
comment on policy select_with_message on rooms.room_message_reactions is 'Users who see a message see its reactions.';
--! EndIncluded rooms/policies/room_message_reactions.sql
--! Included rooms/policies/room_message_recipients.sql
-- The sender and recipients of a private message see its other recipients.
revoke all on rooms.room_message_recipients from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_message_recipients to :PLINTH_USER;

-- By a function: the policy of room_messages queries this table, and would recurse.
drop policy if exists select_concerned on rooms.room_message_recipients;
create policy select_concerned on rooms.room_message_recipients
  for select to :PLINTH_USER
  using (
    user_id = (select plinth.current_user_id())
    or rooms.can_see_message(message_id)
  );
comment on policy select_concerned on rooms.room_message_recipients is 'Users see the recipients of the private messages they see.';
--! EndIncluded rooms/policies/room_message_recipients.sql
--! Included rooms/policies/room_message_revisions.sql
-- Earlier texts are visible to their authors and to moderators of the room who see the message.
revoke all on rooms.room_message_revisions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_message_revisions to :PLINTH_USER;

drop policy if exists select_author on rooms.room_message_revisions;
create policy select_author on rooms.room_message_revisions
  for select to :PLINTH_USER
  using (author_id = (select plinth.current_user_id()));
comment on policy select_author on rooms.room_message_revisions is 'Users read the earlier texts of their own messages.';

drop policy if exists select_moderator on rooms.room_message_revisions;
create policy select_moderator on rooms.room_message_revisions
  for select to :PLINTH_USER
  using (
    exists (
      select
      from rooms.room_messages m
      where m.id = room_message_revisions.message_id and m.room_id in (select rooms.moderated_room_ids())
    )
  );
comment on policy select_moderator on rooms.room_message_revisions is
  'Moderators read the earlier texts of the messages they see in their rooms.';
--! EndIncluded rooms/policies/room_message_revisions.sql
--! Included rooms/policies/room_messages.sql
-- Members read messages from the start of their history, private ones only if they are concerned, and none by users they have
-- blocked. Only functions write: rooms.post_room_message and similar ones. Blocks are checked for each row and not as a list:
-- PostgreSQL assumes that an unknown list excludes nearly all of a room with few senders, and would then sort the whole room
-- for its last messages. (`offset 0` keeps it from turning the check itself into a list.) A function checks the recipients of a
-- private message and knows the whole rule: each part of a policy costs at the start of a statement, and every subscriber of a
-- room starts one for every message.
revoke all on rooms.room_messages from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_messages to :PLINTH_USER;

drop policy if exists select_member on rooms.room_messages;
create policy select_member on rooms.room_messages
  for select to :PLINTH_USER
  using (
    exists (
      select
      from rooms.room_members m
      where m.room_id = room_messages.room_id
        and m.user_id = (select plinth.current_user_id())
        and m.visible_after < room_messages.event_sequence
    )
    and (
      not is_private
      or sender_id = (select plinth.current_user_id())
      or rooms.can_see_message(id)
    )
    and not exists (
      select
      from rooms.user_blocks b
      where b.user_id = (select plinth.current_user_id()) and b.blocked_id = room_messages.sender_id
      offset 0
    )
  );
comment on policy select_member on rooms.room_messages is
  'Members read the messages from the start of their history, except private messages of others and messages by users they have blocked.';
--! EndIncluded rooms/policies/room_messages.sql
--! Included rooms/policies/typing.sql
-- Members see who else is writing in their rooms, until it expires and unless they have blocked them. Written by
-- rooms.set_typing.
revoke all on rooms.typing from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.typing to :PLINTH_USER;

-- The time of the statement: several readers may share a transaction.
drop policy if exists select_member on rooms.typing;
create policy select_member on rooms.typing
  for select to :PLINTH_USER
  using (
    expires_at > statement_timestamp()
    and room_id in (select rooms.my_room_ids())
    and not user_id = any ((
      select array(select b.blocked_id from rooms.user_blocks b where b.user_id = (select plinth.current_user_id()))
    )::uuid[])
  );
comment on policy select_member on rooms.typing is
  'Members see who is writing in their rooms, except users they have blocked.';
--! EndIncluded rooms/policies/typing.sql
--! Included rooms/policies/user_blocks.sql
-- Blocks are visible only to the user who made them. Written by rooms.block_user and rooms.unblock_user.
revoke all on rooms.user_blocks from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.user_blocks to :PLINTH_USER;

drop policy if exists select_own on rooms.user_blocks;
create policy select_own on rooms.user_blocks
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on rooms.user_blocks is 'Users see their own blocks.';
--! EndIncluded rooms/policies/user_blocks.sql
--! Included rooms/policies/user_event_counters.sql
-- Written by private.announce_user.
revoke all on rooms.user_event_counters from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.user_event_counters to :PLINTH_USER;

drop policy if exists select_own on rooms.user_event_counters;
create policy select_own on rooms.user_event_counters
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on rooms.user_event_counters is 'Users read their own counter.';
--! EndIncluded rooms/policies/user_event_counters.sql
