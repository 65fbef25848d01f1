drop schema app_private cascade;
drop schema app cascade;
