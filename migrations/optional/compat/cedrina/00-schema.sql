-- Cedrina's database: its seven tables, with the columns and types of its document.

create schema compat_cedrina;
comment on schema compat_cedrina is 'Compatibility schema of Cedrina: its tables as views.';

create procedure compat_cedrina.let_application()
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  call compat.let_application(
    'cedrina', 'identity.users',
    'update (username, profile_data, account_status, email_verified_at, last_login_at, '
      'failed_login_attempts, locked_until, password_changed_at, metadata)',
    'delete'
  );
  call compat.let_application('cedrina', 'identity.user_settings', 'update (preferences)');
  call compat.let_application(
    'cedrina', 'access.user_roles',
    'insert (user_id, role_id, expires_at, reason)',
    'update (expires_at, reason)',
    'delete'
  );
  call compat.let_application(
    'cedrina', 'identity.oauth_profiles',
    'insert (user_id, provider, provider_user_id, token_expires_at, user_info)',
    'update (provider, provider_user_id, token_expires_at, user_info)',
    'delete'
  );
  call compat.let_application(
    'cedrina', 'identity.user_sessions',
    'update (expires_at, last_activity_at, ip_address, user_agent, device_info, security_context)',
    'delete'
  );
  call compat.let_application(
    'cedrina', 'access.casbin_rules',
    'insert (id, ptype, v0, v1, v2, v3, v4, v5, is_active)',
    'update (ptype, v0, v1, v2, v3, v4, v5, is_active)',
    'delete'
  );
  call compat.let_application(
    'cedrina', 'security.rate_limit_records',
    'insert (key_hash, algorithm, window_start, window_end, request_count, tokens_used, limit_value, metadata)',
    'update (key_hash, algorithm, window_start, window_end, request_count, tokens_used, limit_value, metadata)',
    'delete'
  );
end
$$;

comment on procedure compat_cedrina.let_application() is 'Lets the application write what the triggers of these views write.';

-- The document's ids have the type integer, so lookups need an index of that type, which is dropped with the function.
create function compat_cedrina.serial(number bigint)
  returns integer
  language sql
  immutable
  strict
  parallel safe
  set search_path = pg_catalog
as $$
  select case when serial.number between -2147483648 and 2147483647 then serial.number::integer end
$$;

comment on function compat_cedrina.serial(bigint) is
  'Returns a number in the type of the document; null for a larger one, so that it prevents no new row.';
grant execute on function compat_cedrina.serial(bigint) to :PLINTH_COMPAT, :PLINTH_APPLICATION, :PLINTH_USER, :PLINTH_ANALYST;

-- Strict, so that a condition on it turns an outer join into an inner one; and not partial, because the planner ignores the
-- statistics of a partial index.
create unique index external_ids_cedrina_number_idx on plinth.external_ids (system, relation, compat_cedrina.serial(number));
comment on index plinth.external_ids_cedrina_number_idx is 'Finds the rows of compat_cedrina by their numbers.';

call compat.number_rows('cedrina', 'users', 'identity.users', 'id');
call compat.number_rows('cedrina', 'oauth_profiles', 'identity.oauth_profiles', 'user_id');
call compat.number_rows('cedrina', 'sessions', 'identity.user_sessions', 'user_id');
call compat.number_rows('cedrina', 'password_reset_tokens', 'private.password_reset_tokens', 'user_id');
-- Of no person: an event keeps its number when the account is deleted, as the document's audit_logs do.
update plinth.external_ids x set user_id = null where x.system = 'cedrina' and x.relation = 'audit_logs' and x.user_id is not null;
call compat.number_rows('cedrina', 'audit_logs', 'security.security_audit_log');
call compat.number_rows('cedrina', 'rate_limit_records', 'security.rate_limit_records');

-- Users may not read it, so the application inherits no grant.
grant select on security.rate_limit_records to :PLINTH_APPLICATION;
