create view compat_cedrina.sessions as
select
  compat_cedrina.serial(x.number) as id,
  compat_cedrina.serial(u.number) as user_id,
  null::varchar as session_token,
  null::varchar as refresh_token,
  s.is_active,
  s.created_at,
  s.expires_at,
  s.last_activity_at,
  case when (select compat.reads_personal_data()) then s.ip_address end as client_ip,
  case when (select compat.reads_personal_data()) then s.user_agent end as user_agent,
  case when (select compat.reads_personal_data()) then s.device_info end as device_info,
  case when (select compat.reads_personal_data()) then s.security_context end as security_context
from identity.user_sessions s
join plinth.external_ids x on x.system = 'cedrina' and x.relation = 'sessions' and x.row_id = s.id
join plinth.external_ids u on u.system = 'cedrina' and u.relation = 'users' and u.row_id = s.user_id;

comment on view compat_cedrina.sessions is 'Sessions. Grain: one row per signed-in device; ended sessions are kept for 90 days.';
comment on column compat_cedrina.sessions.id is 'Number of the session.';
comment on column compat_cedrina.sessions.user_id is 'Number of the account.';
comment on column compat_cedrina.sessions.session_token is
  'Always null: only the hash of a token is stored. compat_cedrina.find_session returns the session of a token.';
comment on column compat_cedrina.sessions.refresh_token is
  'Always null, and not stored: Plinth''s refresh tokens are issued by the mutation login.';
comment on column compat_cedrina.sessions.is_active is 'Whether the session has not been ended.';
comment on column compat_cedrina.sessions.created_at is 'Time of the sign-in.';
comment on column compat_cedrina.sessions.expires_at is 'Time when the session ends at the latest.';
comment on column compat_cedrina.sessions.last_activity_at is 'Time of the last use.';
comment on column compat_cedrina.sessions.client_ip is 'Address of the client; null for analysts.';
comment on column compat_cedrina.sessions.user_agent is 'Program of the client; null for analysts.';
comment on column compat_cedrina.sessions.device_info is 'Platform and browser (JSON object); null for analysts.';
comment on column compat_cedrina.sessions.security_context is 'Addresses of the session (JSON object); null for analysts.';

create function compat_cedrina.find_session(session_token text)
  returns setof compat_cedrina.sessions
  language sql
  stable
  set search_path = pg_catalog
as $$
  select s.*
  from compat_cedrina.sessions s
  where s.id = compat.number_of('cedrina', 'sessions', compat.find_session(find_session.session_token))
$$;

comment on function compat_cedrina.find_session(text) is
  'Returns the live session of a token, in place of a condition on session_token.';
grant execute on function compat_cedrina.find_session(text) to :PLINTH_APPLICATION;

-- A session that is deleted or made inactive ends, as by the job private.end_expired_sessions or a sign-out: it stays in the list of
-- the user's sessions. Only the application deletes the row of an ended one. Users end their sessions as in the API.
create function compat_cedrina.write_sessions()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('cedrina', 'sessions', old.id) end;
begin
  if tg_op = 'INSERT' then
    v_id := compat.open_session(
      compat.row_id('cedrina', 'users', new.user_id), new.session_token, new.expires_at, new.created_at
    );
    update identity.user_sessions s
    set
      last_activity_at = coalesce(new.last_activity_at, s.last_activity_at), ip_address = new.client_ip, user_agent = new.user_agent,
      device_info = coalesce(new.device_info, s.device_info), security_context = coalesce(new.security_context, s.security_context)
    where s.id = v_id;
    if not new.is_active then
      perform compat.end_session(v_id);
    end if;
    perform compat.renumber('cedrina', 'sessions', v_id, new.id);
  else
    if tg_op = 'DELETE' and not old.is_active then
      delete from identity.user_sessions s where s.id = v_id;
      return case when found then old end;
    end if;
    if tg_op = 'UPDATE' and new.is_active and not old.is_active then
      raise exception 'An ended session stays ended.' using errcode = 'PL409', hint = 'Sign in again.';
    end if;
    if tg_op = 'UPDATE'
      and (new.expires_at, new.last_activity_at, new.client_ip, new.user_agent, new.device_info, new.security_context)
        is distinct from
          (old.expires_at, old.last_activity_at, old.client_ip, old.user_agent, old.device_info, old.security_context)
    then
      update identity.user_sessions s
      set
        expires_at = new.expires_at, last_activity_at = new.last_activity_at, ip_address = new.client_ip,
        user_agent = new.user_agent, device_info = new.device_info, security_context = new.security_context
      where s.id = v_id;
    end if;
    if tg_op = 'DELETE' or old.is_active and not new.is_active then
      if compat.is_application() then
        perform compat.end_session(v_id);
      else
        perform identity.end_session(v_id);
      end if;
    end if;
    if tg_op = 'DELETE' then
      return old;
    end if;
  end if;
  select v.* into new from compat_cedrina.sessions v where v.id = compat.number_of('cedrina', 'sessions', v_id);
  return new;
end
$$;

comment on function compat_cedrina.write_sessions() is
  'Trigger: records, changes and ends sessions. PL409 for an ended session that is to be active again.';

call compat.write_through('cedrina', 'sessions', 'insert or update or delete');

grant
  insert, delete,
  update (session_token, refresh_token, is_active, expires_at, last_activity_at, client_ip, user_agent, device_info, security_context)
  on compat_cedrina.sessions to :PLINTH_APPLICATION;
grant update (is_active), delete on compat_cedrina.sessions to :PLINTH_USER;
