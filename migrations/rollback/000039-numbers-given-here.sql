delete from security.column_classes c
where c.schema_name = 'plinth' and c.table_name = 'external_ids' and c.column_name = 'is_numbered_here';
alter table plinth.external_ids drop column is_numbered_here;
