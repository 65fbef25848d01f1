--!restore identity/private/find_data_export.sql
drop trigger _610_erase_personal_data_reads on identity.users;
drop view security.my_personal_data_reads;
drop function
  private.record_personal_data_reads(jsonb, text, text, text, text),
  private.erase_personal_data_reads(),
  private.without_account(security.personal_data_reads, uuid),
  private.privacy_report(timestamptz, timestamptz),
  private.personal_data_classes(text[]),
  private.data_export_descriptions();
-- Archives of the log stay in their files.
delete from security.archives where log = 'security.personal_data_reads';
delete from security.retention_policies where log = 'security.personal_data_reads';
drop table security.personal_data_reads;
delete from security.column_classes where schema_name = 'security' and table_name = 'personal_data_reads';
