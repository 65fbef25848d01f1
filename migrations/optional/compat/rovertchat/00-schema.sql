-- rovertChat's database: the seven tables of its document. Ids are UUIDs on both sides, so no row needs a number. Times have no zone
-- in the document and are UTC.

create schema compat_rovertchat;
comment on schema compat_rovertchat is 'Compatibility schema of rovertChat: its tables as views.';

create procedure compat_rovertchat.let_application()
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  call compat.let_application(
    'rovertchat', 'identity.users',
    'insert (id, username, email, account_status, token_version, last_login_at, created_at)',
    'update (username, email, account_status, token_version, last_login_at)',
    'delete'
  );
  call compat.let_application(
    'rovertchat', 'identity.user_settings',
    'update (default_model_id, display_name, avatar_url, preferences)'
  );
  call compat.let_application(
    'rovertchat', 'access.user_roles',
    'insert (user_id, role_id, expires_at, reason)',
    'update (expires_at, reason)',
    'delete'
  );
  call compat.let_application(
    'rovertchat', 'access.user_model_access',
    'insert (id, user_id, model_id, granted_by, granted_at, is_active)',
    'update (is_active)',
    'delete'
  );
  call compat.let_application(
    'rovertchat', 'llm.model_providers',
    'insert (id, name, api_url, auth_type, created_by, created_at, is_active)',
    'update (name, api_url, auth_type, is_active)',
    'delete'
  );
  call compat.let_application(
    'rovertchat', 'llm.models',
    'insert (id, provider_id, name, display_name, description, config, created_at, updated_at, is_active)',
    'update (name, display_name, description, config, is_active)',
    'delete'
  );
  call compat.let_application(
    'rovertchat', 'llm.chats',
    'insert (id, user_id, title, is_archived, created_at, updated_at)',
    'update (title, is_archived, updated_at)',
    'delete'
  );
  call compat.let_application(
    'rovertchat', 'llm.messages',
    'insert (id, chat_id, user_id, role, content, thinking, tool_calls, images, model_id, created_at, '
      'tokens_used, extended_metadata)',
    'update (content, thinking, tool_calls, images, tokens_used, extended_metadata)'
  );
end
$$;

comment on procedure compat_rovertchat.let_application() is 'Lets the application write what the triggers of these views write.';

create type compat_rovertchat.userrole as enum ('guest', 'user', 'admin');
comment on type compat_rovertchat.userrole is 'The roles of the document. An account with other roles is a user.';
