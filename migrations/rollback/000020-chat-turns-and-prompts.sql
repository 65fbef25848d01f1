drop trigger _200_place_message on llm.messages;
drop trigger _200_count_prompt_version on llm.prompts;
drop trigger _500_keep_prompt_version on llm.prompts;
drop policy select_public on llm.prompts;
drop policy select_shared on llm.prompts;
drop function
  llm.place_message(),
  llm.count_prompt_version(),
  llm.keep_prompt_version(),
  llm.message_deltas_after(uuid, integer, integer),
  llm.messages_current_content(llm.messages),
  llm.start_turn(uuid, uuid, uuid, bigint, text, integer),
  llm.append_delta(uuid, integer, text, text),
  llm.finish_turn(uuid, text, integer, jsonb, bigint),
  llm.break_off_turn(uuid, text, text, bigint),
  llm.cancel_turn(uuid),
  llm.send_chat_message(uuid, text, uuid, jsonb, text),
  llm.edit_chat_message(uuid, text, jsonb, text),
  llm.chats_export_json(llm.chats),
  llm.chats_export_markdown(llm.chats),
  llm.chats_active_path(llm.chats, integer, integer),
  llm.messages_alternatives(llm.messages),
  llm.select_branch(uuid),
  llm.rate_message(uuid, text, text),
  llm.search_chat_messages(text, integer, integer, boolean),
  llm.use_prompt(uuid, text),
  llm.prompts_usage_count(llm.prompts),
  llm.render_prompt(uuid, jsonb, text, integer),
  llm.label_prompt(uuid, text, integer),
  private.import_chats(jsonb, uuid),
  private.delete_old_prompt_use_keys(integer),
  private.delete_ended_turns(integer),
  private.break_off_expired_turns(integer),
  private.turn_context(uuid, integer),
  private.start_turn(uuid, uuid, uuid, uuid, bigint, bigint, text, integer),
  private.append_delta(uuid, integer, text, text),
  private.finish_turn(uuid, text, integer, jsonb, bigint, bigint, bigint, bigint),
  private.break_off_turn(uuid, text, text, bigint, bigint, bigint, bigint),
  private.write_delta(uuid, integer, text, text, uuid, text),
  private.open_turn(uuid, uuid, uuid, uuid, bigint, bigint, text, integer, text),
  private.end_turn(uuid, text, text, text, text, jsonb, integer, bigint, bigint, bigint, bigint, uuid, text, boolean),
  private.correct_turn_usage(private.turns, uuid, bigint, bigint, bigint, bigint),
  private.bill_turn(private.turns, uuid, bigint, bigint, bigint, bigint, uuid),
  private.estimated_tokens(integer),
  private.insert_attachments(llm.messages, jsonb),
  private.move_head(uuid, uuid, uuid),
  llm.newest_message_id(uuid, uuid),
  private.title_of(text),
  private.can_user_use_model(uuid, uuid);

drop table
  private.prompt_use_keys, llm.prompt_shares, llm.prompt_labels, llm.prompt_versions,
  llm.message_feedback, llm.message_attachments, llm.message_deltas, private.turns;
drop function llm.refuse_version_change(), private.bill_deleted_turn();

alter table llm.prompts
  drop column variables,
  drop column visibility,
  drop column current_version,
  drop constraint prompts_id_user_id_key;
drop function llm.are_prompt_variables(jsonb), llm.fits_prompt_variable(jsonb, jsonb);

revoke insert (parent_id) on llm.messages from :PLINTH_USER;
alter table llm.chats drop column head_id, drop column import_key;
drop index llm.messages_search_idx;
alter table llm.messages
  drop column parent_id,
  drop column depth,
  drop column state,
  drop column finish_reason,
  drop column error_code,
  drop column error_message,
  drop column last_sequence,
  drop column idempotency_key,
  drop constraint messages_user_id_chat_id_id_key;
-- A chat's messages in order (UUIDv7 sorts by time).
create index messages_user_id_chat_id_id_idx on llm.messages (user_id, chat_id, id);
drop extension btree_gin;

--!restore llm/functions/use_prompt.sql
--!restore llm/policies/prompts.sql
--!restore llm/policies/messages.sql
