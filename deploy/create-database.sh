#!/bin/sh
# Run once by the image postgres, when it has created its data. The owner of the database may create Plinth's other roles.
set -eu
# psql reads the password itself: other processes see arguments.
psql --set=ON_ERROR_STOP=1 --username=postgres <<'SQL'
\set password `cat /run/secrets/owner_password`
create role plinth_owner login createrole password :'password';
create database plinth owner plinth_owner;
SQL
