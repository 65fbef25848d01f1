drop function private.import_subscription(uuid, uuid, text, timestamptz, timestamptz, timestamptz);
--!restore plinth/functions/touch_updated_at.sql
drop view identity.my_external_ids;
drop table plinth.external_ids;
delete from security.column_classes where schema_name = 'plinth' and table_name = 'external_ids';
