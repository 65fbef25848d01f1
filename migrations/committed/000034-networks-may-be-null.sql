--! Previous: sha1:3d48548725fa7e6d8955ccd09ea47b9b1ad667c9
--! Hash: sha1:0f28f65929d03328bc44c636d13ed88164d1ff55
--! Message: networks may be null

-- In the API an argument without a default has to be given. Here null says something: any network.
--! Included identity/functions/set_allowed_networks.sql
-- Invoker rights: it is the user's own update, with a word of insistence that an update cannot carry.
create or replace function identity.set_allowed_networks(networks cidr[] default null, force boolean default false)
  returns identity.user_security_settings
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_settings identity.user_security_settings;
begin
  perform set_config('plinth.allow_lockout', case when set_allowed_networks.force then 'on' else 'off' end, true);
  update identity.user_security_settings s
  set allowed_networks = set_allowed_networks.networks
  where s.user_id = plinth.current_user_id()
  returning s.* into v_settings;
  perform set_config('plinth.allow_lockout', 'off', true);
  if v_settings.user_id is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  return v_settings;
end
$$;

comment on function identity.set_allowed_networks(cidr[], boolean) is
  'Sets the networks one may sign in, refresh and use API tokens from; null, or leaving them out, for any. PL422 when the address that asks is not in them, unless forced.';
grant execute on function identity.set_allowed_networks(cidr[], boolean) to :PLINTH_USER;
--! EndIncluded identity/functions/set_allowed_networks.sql
