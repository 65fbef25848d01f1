-- Certificates are lost, and holds end: export what you need first.
drop trigger _100_begin_erasure on identity.users;
drop trigger _900_measure_erasure on identity.users;
drop trigger _900_certify_erasure on identity.users;
--!restore identity/triggers/users.sql
--!restore security/triggers/users.sql
--!restore identity/private/delete_due_account.sql
--!restore security/private/record_data_change.sql
--!restore security/private/record_security_event.sql
--!restore security/private/forget_data_changes.sql
--!restore security/private/erase_errors.sql
--!restore security/private/erase_security_events.sql
--!restore security/private/erase_login_attempts.sql
--!restore security/private/begin_attach.sql
--!restore rooms/private/count_message.sql
--!restore rooms/triggers/users.sql
drop function
  private.personal_data_class(regclass, name),
  private.without_account(security.login_attempts, uuid),
  private.without_account(security.security_audit_log, uuid),
  private.without_account(security.audit_trail, uuid),
  private.without_account(security.error_logs, uuid),
  private.without_account(billing.usage_events, uuid),
  private.without_account_by_class(regclass, jsonb, uuid),
  private.without_id(jsonb, uuid),
  private.names_of_account(identity.users),
  private.archive_marks(identity.users),
  private.erase_failed_sign_ins(uuid, timestamptz[], inet[]),
  private.erase_jobs(identity.users),
  private.erase_rate_limits(identity.users),
  private.row_changes(jsonb),
  private.begin_erasure(),
  private.measure_erasure(),
  private.certify_erasure(),
  private.place_legal_hold(uuid, text),
  private.release_legal_hold(uuid),
  private.erase_archived_lines(text, text[], uuid[]),
  private.pending_archive_erasures(),
  private.archives_with_files(),
  private.replace_archive_file(uuid, text, text, bigint, text, bigint, boolean, uuid[], bigint[]),
  private.finish_archive_erasure(uuid),
  private.unsigned_certificates(),
  private.sign_certificate(uuid, text);
drop view security.personal_data;
drop table
  private.erasures_in_progress, private.archive_erasures, security.erasure_certificates, security.legal_holds,
  security.column_classes;
comment on column identity.account_deletions.last_failure is
  'SQLSTATE of the last failed attempt, and the table and constraint that prevent the deletion, if any; null if none failed.';
