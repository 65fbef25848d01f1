--! Previous: sha1:7ba9f1f63027ee07932027a135e3c5f488639a88
--! Hash: sha1:c49918ac52beaf44d6f874ad89d66801d819d7a0
--! Message: numbers given here

-- Numbers that a compatibility schema gave to rows created here are not ids of the other system: an import must not mistake them.
alter table plinth.external_ids add column is_numbered_here boolean not null default false;
comment on column plinth.external_ids.is_numbered_here is
  'Whether a compatibility schema numbered a row that was created here. An import that brings a row with this id takes it over.';
insert into security.column_classes (schema_name, table_name, column_name, class)
values ('plinth', 'external_ids', 'is_numbered_here', 'none');
