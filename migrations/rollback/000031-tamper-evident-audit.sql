drop trigger _800_commit_audit_row on security.security_audit_log;
drop trigger _800_commit_audit_row on security.audit_trail;
--!restore security/private/record_data_change.sql
--!restore security/private/record_security_event.sql
--!restore security/private/erase_security_events.sql
--!restore security/private/forget_data_changes.sql
drop function
  private.close_audit_block(integer),
  private.commit_audit_row(),
  private.commit_archived_erasure(text, jsonb, jsonb, uuid),
  private.audit_block_hash(bigint, bytea, bytea, integer, timestamptz),
  private.audit_root(bigint),
  private.audit_row_hash(text, jsonb, boolean),
  private.erasable_audit_columns(text),
  private.audit_actor();
drop table private.audit_commitments, private.audit_blocks;
alter table security.security_audit_log
  drop column actor_kind,
  drop column acting_role,
  drop column api_token_id,
  drop column session_id,
  drop column job_name,
  drop column migration,
  drop column has_ignored_claims,
  drop column fixed_salt,
  drop column content_salt;
alter table security.audit_trail
  drop column actor_kind,
  drop column acting_role,
  drop column api_token_id,
  drop column session_id,
  drop column job_name,
  drop column migration,
  drop column has_ignored_claims,
  drop column fixed_salt,
  drop column content_salt;
