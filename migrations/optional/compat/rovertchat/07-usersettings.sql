create view compat_rovertchat.usersettings as
select
  s.user_id,
  s.default_model_id,
  case when t.are_read then s.display_name::varchar end as display_name,
  case when t.are_read then s.avatar_url::varchar end as avatar_url,
  case when t.are_read then s.preferences::json end as preferences
from identity.user_settings s
cross join (select (select compat.reads_personal_data()) as are_read) t;

comment on view compat_rovertchat.usersettings is 'Settings, which each account has from the start. Grain: one row per account.';
comment on column compat_rovertchat.usersettings.user_id is 'The account.';
comment on column compat_rovertchat.usersettings.default_model_id is 'Preferred model, or null.';
comment on column compat_rovertchat.usersettings.display_name is 'Name shown to others; null for analysts.';
comment on column compat_rovertchat.usersettings.avatar_url is 'URL of the picture; null for analysts.';
comment on column compat_rovertchat.usersettings.preferences is 'Other preferences (JSON object); null for analysts.';

create function compat_rovertchat.write_usersettings()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  update identity.user_settings s
  set
    default_model_id = new.default_model_id,
    display_name = new.display_name,
    avatar_url = new.avatar_url,
    preferences = coalesce(new.preferences::jsonb, '{}')
  where s.user_id = new.user_id;
  if not found then
    raise exception 'There is no user %.', new.user_id using errcode = '23503', table = 'usersettings', column = 'user_id';
  end if;
  select v.* into new from compat_rovertchat.usersettings v where v.user_id = new.user_id;
  return new;
end
$$;

comment on function compat_rovertchat.write_usersettings() is
  'Trigger: changes settings; an INSERT fills those that the account has from the start.';

call compat.write_through('rovertchat', 'usersettings', 'insert or update');
