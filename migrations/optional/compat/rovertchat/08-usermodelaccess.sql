create view compat_rovertchat.usermodelaccess as
select
  a.id,
  a.user_id,
  a.model_id,
  a.granted_by,
  a.granted_at at time zone 'UTC' as granted_at,
  a.is_active and (a.expires_at is null or a.expires_at > now()) as is_active
from access.user_model_access a;

comment on view compat_rovertchat.usermodelaccess is 'Models granted to users. Grain: one row per user and model.';
comment on column compat_rovertchat.usermodelaccess.id is 'Id of the grant.';
comment on column compat_rovertchat.usermodelaccess.user_id is 'The user who may use the model.';
comment on column compat_rovertchat.usermodelaccess.model_id is 'The model.';
comment on column compat_rovertchat.usermodelaccess.granted_by is 'The account that made or last changed the grant, or null.';
comment on column compat_rovertchat.usermodelaccess.granted_at is 'Time of the grant or its last change, in UTC.';
comment on column compat_rovertchat.usermodelaccess.is_active is 'Whether the grant applies; false also after its expiry.';

create function compat_rovertchat.write_usermodelaccess()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    delete from access.user_model_access a where a.id = old.id;
    return case when found then old end;
  end if;
  if tg_op = 'UPDATE' then
    update access.user_model_access a set is_active = new.is_active where a.id = old.id and new.is_active <> old.is_active;
  elsif compat.is_application() then
    insert into access.user_model_access as a (id, user_id, model_id, granted_by, granted_at, is_active)
    values (
      coalesce(new.id, plinth.uuid_v7()), new.user_id, new.model_id, coalesce(plinth.current_user_id(), new.granted_by),
      compat_rovertchat.utc(new.granted_at), new.is_active is not false
    )
    returning a.id into new.id;
  else
    perform compat.check_user(coalesce(new.granted_by, plinth.current_user_id()));
    perform compat_rovertchat.check_defaults(new.id::text, new.granted_at::text);
    insert into access.user_model_access as a (user_id, model_id, is_active)
    values (new.user_id, new.model_id, new.is_active is not false)
    returning a.id into new.id;
  end if;
  select v.* into new from compat_rovertchat.usermodelaccess v where v.id = new.id;
  return new;
end
$$;

comment on function compat_rovertchat.write_usermodelaccess() is
  'Trigger: grants models, suspends and deletes grants. An administrator''s own account is named as the one that granted.';

call compat.write_through('rovertchat', 'usermodelaccess', 'insert or update or delete');
