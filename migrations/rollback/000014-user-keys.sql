--!restore security/triggers/audit_trail.sql
drop function
  private.find_conversation_memory(uuid),
  private.set_conversation_memory(uuid, uuid, text, bigint),
  private.find_user_key(uuid),
  private.store_user_key(uuid, text),
  private.delete_user_key(uuid),
  private.find_lookup_key(text),
  private.store_lookup_key(text, text),
  private.find_login(text, bytea),
  private.register_user(text, text, text, text, text, bytea);
drop table llm.conversation_memories;
drop table private.lookup_keys;
drop table private.user_keys;
drop trigger _110_drop_stale_email_hash on identity.users;
drop function identity.drop_stale_email_hash();
alter table identity.users drop column hashed_email;
--!restore private/functions/find_login.sql
--!restore private/functions/register_user.sql
--!restore identity/triggers/users.sql
