--!restore identity/private/data_export_sources.sql
--!restore identity/private/data_export_query.sql
--!restore identity/private/write_data_export.sql
--!restore identity/private/delete_due_account.sql
--!restore identity/triggers/users.sql

drop function private.erase_declared_rows(uuid);
drop function private.smart_tag(text, text);

comment on column identity.account_deletions.last_failure is 'SQLSTATE of the last failed attempt; null if none failed.';
