-- The AI Training Content Access Platform's tables, views and function. Its document gives them in prose; ids are UUIDs, so they are
-- those of Plinth's own rows. Values are Plinth's, such as the states of a subscription.

create schema compat_ai_training;
comment on schema compat_ai_training is 'Tables and views of the AI Training Content Access Platform''s document.';

create procedure compat_ai_training.let_application()
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  call compat.let_application('ai_training', 'identity.users', 'update (username, profile_data, account_status)', 'delete');
  call compat.let_application(
    'ai_training', 'access.user_roles',
    'insert (user_id, role_id, expires_at, reason)',
    'update (expires_at, reason)',
    'delete'
  );
  call compat.let_application(
    'ai_training', 'identity.user_security_settings',
    'update (session_timeout_minutes, allowed_networks)'
  );
  call compat.let_application(
    'ai_training', 'learning.user_content_permissions',
    'insert (user_id, item_id, permission, reason, expires_at)',
    'update (permission, reason, expires_at)',
    'delete'
  );
end
$$;

comment on procedure compat_ai_training.let_application() is 'Lets the application write what the triggers of these views write.';
