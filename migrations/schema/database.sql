-- Objects outside the schemas as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create extension btree_gin with schema plinth;
create extension btree_gist with schema plinth;
create extension pg_trgm with schema plinth;
alter default privileges for role :PLINTH_OWNER revoke execute on functions from public;
