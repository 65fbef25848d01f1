call compat.read_private(
  'cedrina', 'private.password_reset_tokens', 'user_id',
  'id', 'user_id', 'is_used', 'created_at', 'expires_at', 'used_at', 'client_ip', 'user_agent', 'security_context'
);

create view compat_cedrina.password_reset_tokens as
select
  compat_cedrina.serial(x.number) as id,
  compat_cedrina.serial(u.number) as user_id,
  null::varchar as token_hash,
  t.is_used,
  t.created_at,
  t.expires_at,
  t.used_at,
  case when (select compat.reads_personal_data()) then t.client_ip end as client_ip,
  case when (select compat.reads_personal_data()) then t.user_agent end as user_agent,
  case when (select compat.reads_personal_data()) then t.security_context end as security_context
from private.password_reset_tokens t
join plinth.external_ids x on x.system = 'cedrina' and x.relation = 'password_reset_tokens' and x.row_id = t.id
join plinth.external_ids u on u.system = 'cedrina' and u.relation = 'users' and u.row_id = t.user_id;

comment on view compat_cedrina.password_reset_tokens is
  'Requests to reset a password. Grain: one row per request for which mail was sent; kept for 30 days.';
comment on column compat_cedrina.password_reset_tokens.id is 'Number of the request.';
comment on column compat_cedrina.password_reset_tokens.user_id is 'Number of the account.';
comment on column compat_cedrina.password_reset_tokens.token_hash is
  'Always null: hashes stay in the schema private. The mutation resetPassword checks a token.';
comment on column compat_cedrina.password_reset_tokens.is_used is 'Whether the password was set with the token.';
comment on column compat_cedrina.password_reset_tokens.created_at is 'Time of the request.';
comment on column compat_cedrina.password_reset_tokens.expires_at is 'Time when the token expires.';
comment on column compat_cedrina.password_reset_tokens.used_at is 'Time when the password was set.';
comment on column compat_cedrina.password_reset_tokens.client_ip is 'Address of the client; null for analysts.';
comment on column compat_cedrina.password_reset_tokens.user_agent is 'Program of the client; null for analysts.';
comment on column compat_cedrina.password_reset_tokens.security_context is 'Details of the request (JSON object); null for analysts.';

-- With the owner's rights, because the table is private; only the application may write the view.
create function compat_cedrina.write_password_reset_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := compat.row_id('cedrina', 'users', case when tg_op = 'DELETE' then old.user_id else new.user_id end);
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('cedrina', 'password_reset_tokens', old.id) end;
  v_token private.password_reset_tokens;
begin
  perform compat.check_user(v_user_id);
  if tg_op = 'DELETE' then
    delete from private.password_reset_tokens t where t.id = v_id;
    return old;
  elsif tg_op = 'INSERT' then
    -- Another hash than SHA-256 is hashed once more: no token matches it then.
    insert into private.password_reset_tokens as t
      (user_id, token_hash, created_at, expires_at, used_at, client_ip, user_agent, security_context)
    values (
      v_user_id,
      case when new.token_hash ~ '^[0-9a-fA-F]{64}$' then decode(new.token_hash, 'hex') else sha256(convert_to(new.token_hash, 'UTF8')) end,
      coalesce(new.created_at, now()), new.expires_at,
      coalesce(new.used_at, case when new.is_used then now() end), new.client_ip, new.user_agent, coalesce(new.security_context, '{}')
    )
    returning t.* into v_token;
    perform compat.renumber('cedrina', 'password_reset_tokens', v_token.id, new.id);
  else
    -- A token that was used stays used.
    update private.password_reset_tokens t
    set
      used_at = coalesce(t.used_at, new.used_at, case when new.is_used then now() end),
      expires_at = new.expires_at, client_ip = new.client_ip, user_agent = new.user_agent, security_context = new.security_context
    where t.id = v_id
    returning t.* into v_token;
  end if;
  new.id := compat.number_of('cedrina', 'password_reset_tokens', v_token.id);
  new.token_hash := null;
  new.is_used := v_token.is_used;
  new.created_at := v_token.created_at;
  new.used_at := v_token.used_at;
  new.security_context := v_token.security_context;
  return new;
end
$$;

comment on function compat_cedrina.write_password_reset_tokens() is 'Trigger: records, ends and deletes requests to reset a password.';

call compat.write_through('cedrina', 'password_reset_tokens', 'insert or update or delete');

grant insert, update (is_used, expires_at, used_at, client_ip, user_agent, security_context), delete
  on compat_cedrina.password_reset_tokens to :PLINTH_APPLICATION;
