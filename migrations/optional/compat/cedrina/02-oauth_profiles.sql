create view compat_cedrina.oauth_profiles as
select
  compat_cedrina.serial(x.number) as id,
  compat_cedrina.serial(u.number) as user_id,
  o.provider::varchar as provider,
  case when (select compat.reads_personal_data()) then o.provider_user_id::varchar end as provider_user_id,
  null::text as access_token,
  null::text as refresh_token,
  o.token_expires_at,
  case when (select compat.reads_personal_data()) then o.user_info end as user_info,
  o.created_at,
  o.updated_at
from identity.oauth_profiles o
join plinth.external_ids x on x.system = 'cedrina' and x.relation = 'oauth_profiles' and x.row_id = o.id
join plinth.external_ids u on u.system = 'cedrina' and u.relation = 'users' and u.row_id = o.user_id;

comment on view compat_cedrina.oauth_profiles is 'Accounts at other providers. Grain: one row per account and provider.';
comment on column compat_cedrina.oauth_profiles.id is 'Number of the profile.';
comment on column compat_cedrina.oauth_profiles.user_id is 'Number of the account.';
comment on column compat_cedrina.oauth_profiles.provider is 'Name of the provider, in lower case.';
comment on column compat_cedrina.oauth_profiles.provider_user_id is 'Id of the person at the provider; null for analysts.';
comment on column compat_cedrina.oauth_profiles.access_token is
  'Always null: tokens are stored encrypted, with a key that the database does not have. The server stores those of a sign-in.';
comment on column compat_cedrina.oauth_profiles.refresh_token is 'Always null, as access_token.';
comment on column compat_cedrina.oauth_profiles.token_expires_at is 'Time when the access token expires.';
comment on column compat_cedrina.oauth_profiles.user_info is 'Claims of the provider (JSON object); null for analysts.';
comment on column compat_cedrina.oauth_profiles.created_at is 'Time when it was linked.';
comment on column compat_cedrina.oauth_profiles.updated_at is 'Time of the last change.';

create function compat_cedrina.write_oauth_profiles()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('cedrina', 'oauth_profiles', old.id) end;
begin
  if tg_op = 'DELETE' then
    delete from identity.oauth_profiles o where o.id = v_id;
    return case when found then old end;
  end if;
  if new.access_token is not null or new.refresh_token is not null then
    raise notice 'The tokens of the provider were not stored, because only the server can encrypt them: let the user sign in with the provider.';
  end if;
  if tg_op = 'INSERT' then
    insert into identity.oauth_profiles as o (user_id, provider, provider_user_id, token_expires_at, user_info)
    values (
      compat.row_id('cedrina', 'users', new.user_id), lower(new.provider collate "C"), new.provider_user_id, new.token_expires_at,
      coalesce(new.user_info, '{}')
    )
    returning o.id into v_id;
    perform compat.renumber('cedrina', 'oauth_profiles', v_id, new.id);
  else
    update identity.oauth_profiles o
    set
      provider = lower(new.provider collate "C"), provider_user_id = new.provider_user_id, token_expires_at = new.token_expires_at,
      user_info = coalesce(new.user_info, '{}')
    where o.id = v_id;
  end if;
  select v.* into new from compat_cedrina.oauth_profiles v where v.id = compat.number_of('cedrina', 'oauth_profiles', v_id);
  return new;
end
$$;

comment on function compat_cedrina.write_oauth_profiles() is
  'Trigger: links, changes and unlinks accounts at providers, with a NOTICE for tokens.';

call compat.write_through('cedrina', 'oauth_profiles', 'insert or update or delete');

grant insert, update (provider, provider_user_id, access_token, refresh_token, token_expires_at, user_info, updated_at), delete
  on compat_cedrina.oauth_profiles to :PLINTH_APPLICATION;
