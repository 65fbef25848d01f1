create view compat_rovertchat.modelproviders as
select
  p.id,
  p.name::varchar as name,
  case when (select compat.reads_personal_data()) then p.api_url::varchar end as api_url,
  p.auth_type::varchar as auth_type,
  p.created_by,
  p.created_at at time zone 'UTC' as created_at,
  p.is_active
from llm.model_providers p;

comment on view compat_rovertchat.modelproviders is 'Providers of models. Grain: one row per provider.';
comment on column compat_rovertchat.modelproviders.id is 'Id of the provider.';
comment on column compat_rovertchat.modelproviders.name is 'Unique name.';
comment on column compat_rovertchat.modelproviders.api_url is 'Base URL of its API; null for analysts.';
comment on column compat_rovertchat.modelproviders.auth_type is 'Authentication method: none, api_key, bearer or oauth2.';
comment on column compat_rovertchat.modelproviders.created_by is 'The administrator who added it, or null.';
comment on column compat_rovertchat.modelproviders.created_at is 'Time when it was added, in UTC.';
comment on column compat_rovertchat.modelproviders.is_active is 'Whether it is active.';

create function compat_rovertchat.write_modelproviders()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    delete from llm.model_providers p where p.id = old.id;
    return case when found then old end;
  end if;
  if tg_op = 'INSERT' then
    insert into llm.model_providers as p (id, name, api_url, auth_type, created_by, created_at, is_active)
    values (
      coalesce(new.id, plinth.uuid_v7()), new.name, new.api_url, coalesce(new.auth_type, 'api_key'),
      coalesce(plinth.current_user_id(), new.created_by), compat_rovertchat.utc(new.created_at), new.is_active is not false
    )
    returning p.id into new.id;
  else
    update llm.model_providers p
    set name = new.name, api_url = new.api_url, auth_type = new.auth_type, is_active = new.is_active
    where p.id = old.id;
  end if;
  select v.* into new from compat_rovertchat.modelproviders v where v.id = new.id;
  return new;
end
$$;

comment on function compat_rovertchat.write_modelproviders() is 'Trigger: creates, changes and deletes providers.';

call compat.write_through('rovertchat', 'modelproviders', 'insert or update or delete');
