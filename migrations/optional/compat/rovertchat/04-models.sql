create view compat_rovertchat.models as
select
  m.id,
  m.provider_id,
  m.name::varchar as name,
  m.display_name::varchar as display_name,
  m.description,
  case when (select compat.reads_personal_data()) then m.config::json end as config,
  m.created_at at time zone 'UTC' as created_at,
  m.updated_at at time zone 'UTC' as updated_at,
  m.is_active
from llm.models m;

comment on view compat_rovertchat.models is 'Models; users see those they may use. Grain: one row per model.';
comment on column compat_rovertchat.models.id is 'Id of the model.';
comment on column compat_rovertchat.models.provider_id is 'The provider.';
comment on column compat_rovertchat.models.name is 'Name, unique at its provider.';
comment on column compat_rovertchat.models.display_name is 'Name shown to users.';
comment on column compat_rovertchat.models.description is 'Description.';
comment on column compat_rovertchat.models.config is 'Configuration of the model (JSON object); null for analysts.';
comment on column compat_rovertchat.models.created_at is 'Time when the model was added, in UTC.';
comment on column compat_rovertchat.models.updated_at is 'Time of the last change, in UTC; the database sets it.';
comment on column compat_rovertchat.models.is_active is 'Whether the model is available.';

create function compat_rovertchat.write_models()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    delete from llm.models m where m.id = old.id;
    return case when found then old end;
  end if;
  if tg_op = 'INSERT' then
    insert into llm.models as m (id, provider_id, name, display_name, description, config, created_at, updated_at, is_active)
    values (
      coalesce(new.id, plinth.uuid_v7()), new.provider_id, new.name, coalesce(new.display_name, new.name),
      coalesce(new.description, ''), coalesce(new.config::jsonb, '{}'), compat_rovertchat.utc(new.created_at),
      compat_rovertchat.utc(coalesce(new.updated_at, new.created_at)), new.is_active is not false
    )
    returning m.id into new.id;
  else
    update llm.models m
    set
      name = new.name,
      display_name = new.display_name,
      description = coalesce(new.description, ''),
      config = coalesce(new.config::jsonb, '{}'),
      is_active = new.is_active
    where m.id = old.id;
  end if;
  select v.* into new from compat_rovertchat.models v where v.id = new.id;
  return new;
end
$$;

comment on function compat_rovertchat.write_models() is 'Trigger: creates, changes and deletes models.';

call compat.write_through('rovertchat', 'models', 'insert or update or delete');
