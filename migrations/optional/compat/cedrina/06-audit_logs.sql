-- The document's own spelling of an event, its source and details that are no object are in metadata, under cedrina.
create view compat_cedrina.audit_logs as
select
  compat_cedrina.serial(x.number) as id,
  compat_cedrina.serial(u.number) as user_id,
  coalesce(p.metadata #>> '{cedrina,event_type}', l.event_type)::varchar as event_type,
  coalesce(p.metadata #> '{cedrina,event_data}', p.event_data) as event_data,
  p.ip_address as client_ip,
  p.user_agent,
  p.correlation_id::varchar as correlation_id,
  l.created_at,
  upper(l.severity collate "C")::varchar collate "default" as severity,
  coalesce(p.metadata #>> '{cedrina,source}', l.source)::varchar as source,
  p.metadata - 'cedrina' as metadata
from security.security_audit_log l
-- Personal data. Joined and not CASE, so that a lookup by correlation_id uses its index.
left join security.security_audit_log p
  on p.id = l.id
  and p.created_at = l.created_at
  and (select compat.reads_personal_data())
left join plinth.external_ids x on x.system = 'cedrina' and x.relation = 'audit_logs' and x.row_id = l.id
left join plinth.external_ids u on u.system = 'cedrina' and u.relation = 'users' and u.row_id = l.user_id;

comment on view compat_cedrina.audit_logs is 'Security events. Grain: one row per event.';
comment on column compat_cedrina.audit_logs.id is 'Number of the event.';
comment on column compat_cedrina.audit_logs.user_id is 'Number of the account concerned; null without one, or if it was deleted.';
comment on column compat_cedrina.audit_logs.event_type is 'Type of the event, as the application wrote it; for analysts, its normal form.';
comment on column compat_cedrina.audit_logs.event_data is 'Details of the event; null for analysts.';
comment on column compat_cedrina.audit_logs.client_ip is 'Address of the client; null for analysts.';
comment on column compat_cedrina.audit_logs.user_agent is 'Program of the client; null for analysts.';
comment on column compat_cedrina.audit_logs.correlation_id is 'Id of the request; null for analysts.';
comment on column compat_cedrina.audit_logs.created_at is 'Time of the event. A new event has the time of its transaction.';
comment on column compat_cedrina.audit_logs.severity is 'Severity: DEBUG, INFO, WARNING, ERROR or CRITICAL.';
comment on column compat_cedrina.audit_logs.source is 'Source that the application named, or the database role; for analysts, the role.';
comment on column compat_cedrina.audit_logs.metadata is 'Data of the application (JSON object); null for analysts.';

-- With the owner's rights, because no role writes the log; only the application may write the view. The log is append-only: what is
-- written stays, and months end up in archives.
create function compat_cedrina.write_audit_logs()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid;
  v_event security.security_audit_log;
  v_kept jsonb;
begin
  if tg_op <> 'INSERT' then
    raise exception 'The audit log is append-only.'
      using errcode = 'PL403', hint = 'Old months are archived by their retention policy, see plinth archive.';
  end if;
  v_user_id := compat.row_id('cedrina', 'users', new.user_id);
  perform compat.check_user(v_user_id);
  v_event.event_type := coalesce(
    nullif(left(btrim(regexp_replace(lower(new.event_type collate "C"), '[^a-z0-9]+', '_', 'g'), '_'), 100), ''), 'event'
  );
  if v_event.event_type ~ '^[0-9]' then
    v_event.event_type := left('event_' || v_event.event_type, 100);
  end if;
  v_kept := jsonb_strip_nulls(jsonb_build_object('event_type', nullif(new.event_type, v_event.event_type), 'source', new.source));
  if jsonb_typeof(new.event_data) <> 'object' then
    v_kept := v_kept || jsonb_build_object('event_data', new.event_data);
  end if;
  v_event.metadata := case when jsonb_typeof(new.metadata) = 'object' then new.metadata - 'cedrina' else '{}' end
    || case when v_kept = '{}' then v_kept else jsonb_build_object('cedrina', v_kept) end;
  insert into security.security_audit_log as l
    (user_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id, metadata,
     actor_kind, acting_role, has_ignored_claims)
  select
    v_user_id, v_event.event_type, case when jsonb_typeof(new.event_data) = 'object' then new.event_data else '{}' end,
    lower(coalesce(new.severity, 'info') collate "C"), session_user, new.client_ip, new.user_agent, new.correlation_id,
    v_event.metadata, a.actor_kind, a.acting_role, a.has_ignored_claims
  from private.audit_actor() a
  returning l.* into v_event;
  new.id := compat.new_number('cedrina', 'audit_logs', v_event.id, new.id);
  new.created_at := v_event.created_at;
  new.severity := upper(v_event.severity collate "C");
  new.source := coalesce(new.source, v_event.source);
  new.metadata := v_event.metadata - 'cedrina';
  return new;
end
$$;

comment on function compat_cedrina.write_audit_logs() is
  'Trigger: adds an event. PL403 for a change or a deletion, because the log is append-only.';

call compat.write_through('cedrina', 'audit_logs', 'insert or update or delete');

grant insert, update, delete on compat_cedrina.audit_logs to :PLINTH_APPLICATION;
