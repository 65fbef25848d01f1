-- Headphone Mode's database: its twelve tables, with the columns of its document.

create schema compat_headphone;
comment on schema compat_headphone is 'Compatibility schema of Headphone Mode: its tables as views.';

create procedure compat_headphone.let_application()
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  call compat.let_application('headphone', 'identity.users', 'update (username)', 'delete');
  call compat.let_application('headphone', 'identity.user_sessions', 'update (expires_at)');
  call compat.let_application('headphone', 'identity.user_settings', 'update (preferences)');
  call compat.let_application('headphone', 'access.roles', 'insert (role_name)', 'update (role_name)', 'delete');
  call compat.let_application('headphone', 'access.permissions', 'insert (permission_name)', 'delete');
  call compat.let_application('headphone', 'access.role_permissions', 'insert (role_id, permission_id)', 'delete');
  call compat.let_application('headphone', 'access.user_roles', 'insert (user_id, role_id)', 'delete');
  call compat.let_application(
    'headphone', 'llm.prompts',
    'insert (user_id, name, content, created_at)',
    'update (name, content)',
    'delete'
  );
end
$$;

comment on procedure compat_headphone.let_application() is 'Lets the application write what the triggers of these views write.';

call compat.number_rows('headphone', 'users', 'identity.users', 'id');
