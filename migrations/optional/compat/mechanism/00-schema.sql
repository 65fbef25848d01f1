-- The mechanism of the compatibility schemas: plinth compat enable runs this folder before the one of a system, as the owner and in
-- one transaction. README.md beside it says how the files of a system use it.

create schema if not exists compat;
comment on schema compat is 'Mechanism of the compatibility schemas, see plinth compat.';
grant usage on schema compat to :PLINTH_COMPAT, :PLINTH_APPLICATION, :PLINTH_USER, :PLINTH_ANALYST;
