-- What was erased stays erased. Pending deletions and exports are forgotten.
drop function identity.delete_my_account();
drop function identity.cancel_account_deletion();
drop function identity.request_data_export();
drop function private.delete_due_account();
drop function private.write_data_export();
drop function private.find_data_export(uuid);
drop function private.read_data_export_part(uuid, integer);
drop function private.delete_expired_exports(integer);
drop function private.data_export_query(oid, text);
drop function private.data_export_sources();
drop function private.is_secret_column(oid, text, oid);
drop function private.without_secrets(jsonb);
drop trigger _500_forget_last_mail on private.mail_outbox;
drop function private.forget_last_mail();
drop trigger _100_keep_last_administrator on identity.users;
drop function private.keep_last_administrator();
drop function private.guard_last_administrator(uuid);
drop table private.data_export_parts;
drop table identity.data_exports;
drop table identity.account_deletions;
drop table identity.data_rights_settings;
delete from security.rate_limit_rules where rule_name = 'data_export_per_user';

update identity.user_sessions set end_reason = 'ended_by_user' where end_reason = 'account_deletion';
alter table identity.user_sessions drop constraint user_sessions_end_reason_check;
alter table identity.user_sessions add constraint user_sessions_end_reason_check check (
  end_reason in (
    'logout', 'logout_everywhere', 'ended_by_user', 'ended_by_administrator', 'password_changed', 'token_reuse',
    'account_disabled', 'expired'
  )
);

drop trigger _600_erase_traces on identity.users;
drop function private.erase_traces_of_user();
drop function private.erase_login_attempts(identity.users);
drop function private.erase_security_events(uuid);
drop function private.erase_errors(uuid);
drop index security.login_attempts_email_idx;
drop index private.mail_outbox_to_address_idx;
comment on column security.audit_trail.ip_address is 'Client address.';
comment on column security.error_logs.message is 'The error''s message without anything quoted in it.';
comment on column security.login_attempts.ip_address is 'Client address.';
comment on column security.login_attempts.user_agent is 'Client''s User-Agent header.';
comment on column security.security_audit_log.ip_address is 'Client address.';
comment on column security.security_audit_log.user_agent is 'Client''s User-Agent header.';

--!restore private/functions/record_data_change.sql
--!restore private/functions/record_security_event.sql
--!restore private/functions/record_error.sql
--!restore billing/triggers/forget_usage_account.sql
