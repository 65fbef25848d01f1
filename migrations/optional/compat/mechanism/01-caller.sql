-- Under a view, current_user is the role that uses the view, while grants and policies are those of the view's owner. Claims are
-- read here directly: an analyst may not call plinth.current_user_id().
create or replace function compat.reads_all()
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select
    pg_has_role(current_user, ':PLINTH_ANALYST', 'usage')
    or pg_has_role(current_user, ':PLINTH_APPLICATION', 'usage')
      and nullif(current_setting('jwt.claims.user_id', true), '') is null
$$;

comment on function compat.reads_all() is
  'Returns whether the caller reads all rows: an analyst, or the application while it acts for no user.';

create or replace function compat.writes_all()
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select
    pg_has_role(current_user, ':PLINTH_APPLICATION', 'usage')
    and nullif(current_setting('jwt.claims.user_id', true), '') is null
$$;

comment on function compat.writes_all() is
  'Returns whether the caller writes all rows: the application while it acts for no user.';

create or replace function compat.is_application()
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select pg_has_role(current_user, ':PLINTH_APPLICATION', 'usage')
$$;

comment on function compat.is_application() is 'Returns whether the caller is the application, also while it acts for a user.';

create or replace function compat.reads_personal_data()
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select pg_has_role(current_user, ':PLINTH_USER', 'usage')
$$;

comment on function compat.reads_personal_data() is
  'Returns whether the caller reads names, addresses and texts: users and the application, which inherits from them; not analysts.';

grant execute on function compat.reads_all(), compat.writes_all(), compat.is_application(), compat.reads_personal_data()
  to :PLINTH_COMPAT, :PLINTH_APPLICATION, :PLINTH_USER, :PLINTH_ANALYST;

create or replace function compat.check_user(user_id uuid)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if nullif(current_setting('jwt.claims.user_id', true), '') <> coalesce(check_user.user_id::text, '') then
    raise exception 'The claims name another user.' using errcode = 'PL403';
  end if;
end
$$;

comment on function compat.check_user(uuid) is
  'Raises PL403 if the claims name another user. Functions with the owner''s rights call it first.';

-- Plinth's functions decide by the claims, as in the API. A user, and the application under claims, act for themselves already.
create or replace function compat.act_for(user_id uuid)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_claim constant text := coalesce(current_setting('jwt.claims.user_id', true), '');
begin
  if compat.writes_all() then
    perform set_config('jwt.claims.user_id', act_for.user_id::text, true);
  end if;
  return v_claim;
end
$$;

comment on function compat.act_for(uuid) is
  'Lets the application act for a user from here on, unless the claims name one; returns the claim as it was, for compat.act_as_before.';

create or replace function compat.act_as(user_id uuid)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform compat.check_user(act_as.user_id);
  return compat.act_for(act_as.user_id);
end
$$;

comment on function compat.act_as(uuid) is
  'Lets the application act for a user from here on; returns the claim as it was, for compat.act_as_before. PL403 if the claims name another user.';

create or replace function compat.act_as_before(claim text)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  select set_config('jwt.claims.user_id', act_as_before.claim, true)
$$;

comment on function compat.act_as_before(text) is 'Ends what compat.act_as or compat.act_for began.';

grant execute on function compat.check_user(uuid), compat.act_for(uuid), compat.act_as(uuid), compat.act_as_before(text)
  to :PLINTH_APPLICATION, :PLINTH_USER;
