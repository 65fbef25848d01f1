drop trigger _300_leave_rooms on identity.users;
drop view rooms.unread_counts, rooms.room_events cascade;
drop schema rooms cascade;
drop table private.room_tallies, private.direct_rooms, private.room_passwords cascade;
do $do$
declare
  v_function record;
begin
  for v_function in
    select p.oid::regprocedure as signature
    from pg_proc p
    where p.pronamespace = 'private'::regnamespace
      and p.proname in (
        'current_room_role', 'require_room_moderator', 'lock_accounts', 'lock_room', 'is_blocked', 'append_room_event',
        'announce_user', 'count_in_room', 'counted_in_room_after', 'uncounted_in_room_after', 'posted_in_room_after',
        'count_message', 'remove_from_room', 'add_to_room', 'refuse_blocked_direct', 'sees_message', 'lock_room_of_message',
        'keep_revision', 'find_mentions', 'require_reply', 'address_message', 'add_mentions', 'count_private_message', 'post_ai_message', 'set_room_password',
        'find_room_password', 'join_room_with_password', 'room_context', 'number_room_message', 'follow_room_message',
        'place_room_member', 'follow_room_member', 'number_room_change', 'follow_room_change', 'follow_room_invite',
        'follow_user_block', 'leave_rooms_of_user'
      )
  loop
    execute format('drop function %s', v_function.signature);
  end loop;
end
$do$;
drop function plinth.announce(text, bigint);
delete from security.rate_limit_rules
where rule_name in ('room_password_per_account', 'room_password_per_room', 'room_create_per_account', 'room_invite_per_account');
-- With it go the roles' shares in it.
delete from access.permissions where permission_name = 'moderate_general_chat';
