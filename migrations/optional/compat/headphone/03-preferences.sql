call compat.number_rows('headphone', 'preferences', 'identity.user_settings', 'user_id', 'user_id');

-- The document allows JSON or text; Plinth stores an object.
create view compat_headphone.preferences as
select
  x.number as id,
  u.number as user_id,
  case
    when (select compat.reads_personal_data()) then
      case when s.preferences ?& '{preferences_data}' then s.preferences ->> 'preferences_data' else s.preferences::text end
  end as preferences_data,
  s.updated_at
from identity.user_settings s
join plinth.external_ids x on x.system = 'headphone' and x.relation = 'preferences' and x.row_id = s.user_id
join plinth.external_ids u on u.system = 'headphone' and u.relation = 'users' and u.row_id = s.user_id;

comment on view compat_headphone.preferences is 'Preferences. Grain: one row per account, from its creation on.';
comment on column compat_headphone.preferences.id is 'Number of the row.';
comment on column compat_headphone.preferences.user_id is 'Number of the account.';
comment on column compat_headphone.preferences.preferences_data is
  'Preferences as JSON or text; null for analysts. A text that is no JSON object is stored under the key preferences_data.';
comment on column compat_headphone.preferences.updated_at is 'Time of the last change.';

create function compat_headphone.preferences_of(preferences_data text)
  returns jsonb
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  if jsonb_typeof(preferences_of.preferences_data::jsonb) = 'object' then
    return preferences_of.preferences_data::jsonb;
  end if;
  return coalesce(jsonb_build_object('preferences_data', nullif(preferences_of.preferences_data, '')), '{}');
exception when invalid_text_representation then
  return jsonb_build_object('preferences_data', preferences_of.preferences_data);
end
$$;

comment on function compat_headphone.preferences_of(text) is 'Returns preferences as they are stored: an object.';
grant execute on function compat_headphone.preferences_of(text) to :PLINTH_APPLICATION, :PLINTH_USER;

create function compat_headphone.write_preferences()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := compat.row_id('headphone', 'users', case when tg_op = 'DELETE' then old.user_id else new.user_id end);
begin
  update identity.user_settings s
  set preferences = case when tg_op = 'DELETE' then '{}' else compat_headphone.preferences_of(new.preferences_data) end
  where s.user_id = v_user_id;
  if not found then
    raise exception 'The preferences of another user cannot be written.' using errcode = 'PL403';
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  if tg_op = 'INSERT' then
    new.id := compat.new_number('headphone', 'preferences', v_user_id, new.id);
  end if;
  select v.* into new from compat_headphone.preferences v where v.user_id = new.user_id;
  return new;
end
$$;

comment on function compat_headphone.write_preferences() is
  'Trigger: replaces the preferences of an account, which exist from its creation on. A deleted row becomes an empty object.';

call compat.write_through('headphone', 'preferences', 'insert or update or delete');

grant insert, update (preferences_data, updated_at), delete on compat_headphone.preferences to :PLINTH_APPLICATION, :PLINTH_USER;
