call compat.number_rows('headphone', 'sessions', 'identity.user_sessions', 'user_id');

create view compat_headphone.sessions as
select
  x.number as id,
  u.number as user_id,
  null::text as session_token,
  s.created_at,
  s.expires_at
from identity.user_sessions s
join plinth.external_ids x on x.system = 'headphone' and x.relation = 'sessions' and x.row_id = s.id
join plinth.external_ids u on u.system = 'headphone' and u.relation = 'users' and u.row_id = s.user_id
where s.ended_at is null;

comment on view compat_headphone.sessions is 'Sessions that have not been ended. Grain: one row per session.';
comment on column compat_headphone.sessions.id is 'Number of the session.';
comment on column compat_headphone.sessions.user_id is 'Number of the account.';
comment on column compat_headphone.sessions.session_token is
  'Always null: only the hash of a token is stored. compat_headphone.find_session returns the session of a token.';
comment on column compat_headphone.sessions.created_at is 'Time of the sign-in.';
comment on column compat_headphone.sessions.expires_at is 'Time when the session expires.';

create function compat_headphone.find_session(session_token text)
  returns setof compat_headphone.sessions
  language sql
  stable
  set search_path = pg_catalog
as $$
  select s.*
  from compat_headphone.sessions s
  where s.id = compat.number_of('headphone', 'sessions', compat.find_session(find_session.session_token))
$$;

comment on function compat_headphone.find_session(text) is
  'Returns the live session of a token, in place of a condition on session_token.';
grant execute on function compat_headphone.find_session(text) to :PLINTH_APPLICATION;

create function compat_headphone.write_sessions()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('headphone', 'sessions', old.id) end;
begin
  if tg_op = 'DELETE' then
    if compat.is_application() then
      perform compat.end_session(v_id);
    else
      perform identity.end_session(v_id);
    end if;
    return old;
  end if;
  if tg_op = 'INSERT' then
    v_id := compat.open_session(
      compat.row_id('headphone', 'users', new.user_id), new.session_token, new.expires_at, new.created_at
    );
    perform compat.renumber('headphone', 'sessions', v_id, new.id);
  else
    update identity.user_sessions s set expires_at = new.expires_at where s.id = v_id;
  end if;
  select v.* into new from compat_headphone.sessions v where v.id = compat.number_of('headphone', 'sessions', v_id);
  return new;
end
$$;

comment on function compat_headphone.write_sessions() is
  'Trigger: opens, extends and ends sessions. A deleted session has ended, and its token is not valid any more.';

call compat.write_through('headphone', 'sessions', 'insert or update or delete');

grant insert, update (expires_at), delete on compat_headphone.sessions to :PLINTH_APPLICATION;
grant delete on compat_headphone.sessions to :PLINTH_USER;
