create view compat_socializer.error_logs as
select
  x.number as id,
  u.number as user_id,
  e.error_code as error_type,
  case when (select compat.reads_personal_data()) then e.message end as error_message,
  case when (select compat.reads_personal_data()) then e.context end as context,
  e.created_at
from security.error_logs e
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'error_logs' and x.row_id = e.id
left join plinth.external_ids u on u.system = 'socializer' and u.relation = 'users' and u.row_id = e.user_id;

comment on view compat_socializer.error_logs is 'Errors of the last 90 days, Plinth''s own too. Grain: one row per error; users see none.';
comment on column compat_socializer.error_logs.id is 'Number of the error.';
comment on column compat_socializer.error_logs.user_id is 'Number of the user, or null.';
comment on column compat_socializer.error_logs.error_type is 'Class of the error.';
comment on column compat_socializer.error_logs.error_message is 'Message; null for analysts.';
comment on column compat_socializer.error_logs.context is 'Context (JSON object); null for analysts.';
comment on column compat_socializer.error_logs.created_at is 'Time of the error.';

create function compat_socializer.log_error(user_id uuid, error_type text, error_message text, context jsonb)
  returns bigint
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id constant uuid := plinth.uuid_v7();
begin
  perform compat.check_user(log_error.user_id);
  perform private.record_error(
    v_id, log_error.user_id, coalesce(log_error.error_message, ''), log_error.error_type, null, log_error.context, null, now()
  );
  return compat.number_of('socializer', 'error_logs', v_id);
end
$$;

comment on function compat_socializer.log_error(uuid, text, text, jsonb) is 'Adds an error to the log; returns its number.';
grant execute on function compat_socializer.log_error(uuid, text, text, jsonb) to :PLINTH_APPLICATION;

create function compat_socializer.write_error_logs()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  new.id := compat_socializer.log_error(
    compat.row_id('socializer', 'users', new.user_id), new.error_type, new.error_message, new.context
  );
  new.created_at := now();
  return new;
end
$$;

comment on function compat_socializer.write_error_logs() is 'Trigger: adds an error to the log.';

call compat.write_through('socializer', 'error_logs', 'insert');

grant insert on compat_socializer.error_logs to :PLINTH_APPLICATION;
