-- Answers that wait for a server would wait forever.
do $$
declare
  v_id uuid;
begin
  for v_id in select t.message_id from private.turns t where t.ended_at is null and t.writer = 'server' loop
    perform private.end_turn(v_id, 'broken_off', 'expired');
  end loop;
end
$$;

drop trigger _100_room_models on rooms.chat_rooms;
drop function
  rooms.check_room_model(),
  private.release_room_answer(uuid, uuid),
  private.break_off_room_answer(uuid, uuid, text, bigint, bigint, bigint, bigint),
  private.finish_room_answer(uuid, uuid, bigint, bigint, bigint, bigint),
  private.extend_room_lease(uuid, uuid),
  private.append_room_answer(uuid, uuid, integer, text),
  private.claim_room_answers(uuid[], integer),
  private.lock_room_turn(uuid, uuid),
  private.end_room_answer(uuid, text, text, uuid, bigint, bigint, bigint, bigint),
  private.open_room_answer(rooms.chat_rooms, uuid, uuid);
drop table private.room_turns, rooms.room_answers;
alter table rooms.chat_rooms drop column model_id;
--!restore rooms/policies/chat_rooms.sql

drop trigger _400_model_keys on llm.model_providers;
drop trigger _400_model_keys on identity.user_settings;
drop function
  private.delete_provider_key(),
  private.delete_own_model_key(),
  private.set_provider_key(uuid, text),
  private.set_own_model_key(text),
  private.break_off_lost_answers(integer),
  private.release_answer(uuid, uuid),
  private.break_off_answer(uuid, uuid, text, text, bigint, bigint, bigint, bigint),
  private.finish_answer(uuid, uuid, text, integer, jsonb, bigint, bigint, bigint, bigint),
  private.extend_answer_lease(uuid, uuid),
  private.append_answer(uuid, uuid, integer, text[], text[]),
  private.answer_context(uuid, integer),
  private.claim_answers(integer),
  llm.request_answer(uuid, uuid, uuid, bigint, jsonb, text),
  private.require_own_model(uuid),
  private.open_turn(uuid, uuid, uuid, uuid, bigint, bigint, text, integer, text, jsonb, boolean),
  private.estimated_input_tokens(uuid, jsonb);
--!restore llm/private/open_turn.sql
--!restore llm/private/bill_turn.sql
--!restore llm/private/correct_turn_usage.sql
--!restore llm/private/end_turn.sql

alter table llm.messages
  drop constraint messages_tool_calls_are_not_too_long,
  drop constraint messages_extended_metadata_is_not_too_long;
delete from access.permissions where permission_name = 'use_own_model';
drop table private.user_model_keys, private.model_provider_keys;

alter table private.turns drop constraint turns_only_servers_claim, drop constraint turns_writer_check;
update private.turns set writer = 'service' where writer = 'server';
alter table private.turns
  add constraint turns_writer_check check (writer in ('client', 'service')),
  drop column estimated_input_tokens,
  drop column claim_id,
  drop column claims,
  drop column tools,
  drop column uses_own_model;
comment on column private.turns.writer is
  'Writer that appends: client (the owner, through the API) or service (private.append_delta).';
