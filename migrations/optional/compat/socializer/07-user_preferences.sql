create view compat_socializer.user_preferences as
select
  x.number as id,
  u.number as user_id,
  p.preference_type,
  case when (select compat.reads_personal_data()) then p.preference_key end as preference_key,
  case when (select compat.reads_personal_data()) then p.preference_value end as preference_value,
  p.confidence,
  p.created_at,
  p.updated_at
from identity.user_preferences p
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'user_preferences' and x.row_id = p.id
join plinth.external_ids u on u.system = 'socializer' and u.relation = 'users' and u.row_id = p.user_id;

comment on view compat_socializer.user_preferences is 'Learned preferences. Grain: one row per user, type and key.';
comment on column compat_socializer.user_preferences.id is 'Number of the preference.';
comment on column compat_socializer.user_preferences.user_id is 'Number of the user.';
comment on column compat_socializer.user_preferences.preference_type is 'Group of the preference.';
comment on column compat_socializer.user_preferences.preference_key is 'Name of the preference; null for analysts.';
comment on column compat_socializer.user_preferences.preference_value is 'Value (JSON); null for analysts.';
comment on column compat_socializer.user_preferences.confidence is 'Confidence, from 0.0 to 1.0.';
comment on column compat_socializer.user_preferences.created_at is 'Time when the preference was first learned.';
comment on column compat_socializer.user_preferences.updated_at is 'Time of the last change.';

create function compat_socializer.write_user_preferences()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('socializer', 'user_preferences', old.id) end;
  v_before text;
begin
  v_before := compat.act_as(compat.row_id('socializer', 'users', case when tg_op = 'DELETE' then old.user_id else new.user_id end));
  if tg_op = 'DELETE' then
    delete from identity.user_preferences p where p.id = v_id;
  elsif tg_op = 'INSERT' then
    insert into identity.user_preferences (preference_type, preference_key, preference_value, confidence)
    values (new.preference_type, new.preference_key, new.preference_value, coalesce(new.confidence, 0))
    returning id into v_id;
    new.id := compat.number_of('socializer', 'user_preferences', v_id);
  else
    update identity.user_preferences p
    set preference_value = new.preference_value, confidence = new.confidence
    where p.id = v_id;
  end if;
  perform compat.act_as_before(v_before);
  return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function compat_socializer.write_user_preferences() is 'Trigger: writes the preferences of a user.';

call compat.write_through('socializer', 'user_preferences', 'insert or update or delete');

grant insert, update (preference_value, confidence), delete on compat_socializer.user_preferences to :PLINTH_APPLICATION, :PLINTH_USER;
