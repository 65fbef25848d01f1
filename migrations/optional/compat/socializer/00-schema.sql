-- Socializer's database: its twelve tables, with the columns of its document.

create schema compat_socializer;
comment on schema compat_socializer is 'Compatibility schema of Socializer: its tables as views.';

create procedure compat_socializer.let_application()
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  call compat.let_application('socializer', 'identity.users', 'update (username, metadata)', 'delete');
  call compat.let_application('socializer', 'learning.skills', 'insert (skill_name)', 'update (skill_name)', 'delete');
  call compat.let_application('socializer', 'learning.user_skills', 'update (level)', 'delete');
  call compat.let_application(
    'socializer', 'learning.training',
    'insert (user_id, skill_id)',
    'update (status, progress)',
    'delete'
  );
  call compat.let_application('socializer', 'rooms.chat_rooms', 'update (name, ai_enabled, is_public)', 'delete');
  call compat.let_application(
    'socializer', 'rooms.room_messages',
    'insert (room_id, sender_id, sender_type, message_type, content, metadata)'
  );
end
$$;

comment on procedure compat_socializer.let_application() is 'Lets the application write what the triggers of these views write.';

call compat.number_rows('socializer', 'users', 'identity.users', 'id');
call compat.number_rows('socializer', 'token_blacklist', 'private.token_blacklist');
call compat.number_rows('socializer', 'error_logs', 'security.error_logs');
call compat.number_rows('socializer', 'skills', 'learning.skills');
call compat.number_rows('socializer', 'user_preferences', 'identity.user_preferences', 'user_id');
-- Rooms, messages and invites outlive the account that made them, and so do their numbers.
call compat.number_rows('socializer', 'chat_rooms', 'rooms.chat_rooms');
call compat.number_rows('socializer', 'room_members', 'rooms.room_members', 'user_id');
call compat.number_rows('socializer', 'room_messages', 'rooms.room_messages');
call compat.number_rows('socializer', 'general_chat_messages', 'rooms.general_chat_messages');
call compat.number_rows('socializer', 'room_invites', 'rooms.room_invites');
