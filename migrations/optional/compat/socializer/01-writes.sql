-- The application acts for the user whom a row names, so that Plinth's functions decide as they do in the API. A user, and the
-- application under claims, act for themselves already.
create function compat_socializer.act_for(user_id uuid)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_claim constant text := coalesce(current_setting('jwt.claims.user_id', true), '');
begin
  if v_claim = '' then
    perform compat.act_as(act_for.user_id);
  end if;
  return v_claim;
end
$$;

comment on function compat_socializer.act_for(uuid) is
  'Acts for a user unless the claims name one; returns the claim as it was, for compat_socializer.act_as_before.';

create function compat_socializer.act_as(user_id uuid)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform compat.check_user(act_as.user_id);
  return compat_socializer.act_for(act_as.user_id);
end
$$;

comment on function compat_socializer.act_as(uuid) is
  'Acts for a user; returns the claim as it was, for compat_socializer.act_as_before. PL403 if the claims name another user.';

create function compat_socializer.act_as_before(claim text)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  if act_as_before.claim = '' then
    perform compat.act_as_before('');
  end if;
end
$$;

comment on function compat_socializer.act_as_before(text) is 'Ends what act_as or act_for began.';
grant execute
  on function compat_socializer.act_for(uuid), compat_socializer.act_as(uuid), compat_socializer.act_as_before(text)
  to :PLINTH_APPLICATION, :PLINTH_USER;
