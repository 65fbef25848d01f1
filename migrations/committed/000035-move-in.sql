--! Previous: sha1:849dced131693022f4e4cddb85a13c9f7eb8220a
--! Hash: sha1:b881886a316cb7ae837344aba01bf31db678bee9
--! Message: move in

-- Move in: the ids that rows had in the system they come from.
create table plinth.external_ids (
  system text not null,
  relation text not null,
  external_id text not null,
  row_id uuid not null,
  user_id uuid references identity.users on delete cascade,
  -- In canonical form only: 7 and 007 are two ids. 18 digits always fit.
  number bigint generated always as (case when external_id ~ '^(0|-?[1-9][0-9]{0,17})$' then external_id::bigint end) stored,
  created_at timestamptz not null default now(),
  primary key (system, relation, external_id),
  constraint external_ids_system_relation_row_id_key unique (system, relation, row_id),
  constraint external_ids_system_relation_number_key unique (system, relation, number),
  constraint external_ids_system_check check (system ~ '^[a-z][a-z0-9_]{0,62}$'),
  constraint external_ids_relation_check check (relation ~ '^[a-z][a-z0-9_]{0,62}$'),
  constraint external_ids_external_id_check check (length(external_id) between 1 and 200)
);

alter table plinth.external_ids enable row level security;

-- The ids of one person; also serves the foreign key.
create index external_ids_user_id_idx on plinth.external_ids (user_id);

comment on table plinth.external_ids is
  'One row per row that came from another system, with its id there.';
comment on column plinth.external_ids.system is
  'The other system: headphone, socializer, rovertchat, cedrina, ai_training or another lower-case name.';
comment on column plinth.external_ids.relation is 'Name of the table in the other system, such as users or chat_rooms.';
comment on column plinth.external_ids.external_id is
  'Id of the row in the other system; the values of a composite key are separated by colons.';
comment on column plinth.external_ids.row_id is
  'Id of the row here; for a row without an id of its own, an id made from its key.';
comment on column plinth.external_ids.user_id is 'The user that the row belongs to; null if it belongs to no person.';
comment on column plinth.external_ids.number is 'Value of external_id as a number; null if it is not an integer of up to 18 digits.';
comment on column plinth.external_ids.created_at is 'Time when the row was imported or numbered.';

insert into security.column_classes (schema_name, table_name, column_name, class)
select 'plinth', 'external_ids', unnest(t.columns::text[]), t.class
from (values
  ('none', '{system, relation, created_at}'),
  ('pseudonym', '{external_id, number, row_id, user_id}')
) t (class, columns);

--! Included plinth/policies/external_ids.sql
-- Users resolve the old ids of their own rows, such as those in bookmarked addresses. Only the owner writes them: an import, and the
-- triggers of the compatibility schemas.
revoke all on plinth.external_ids from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on plinth.external_ids to :PLINTH_USER;

drop policy if exists select_own on plinth.external_ids;
create policy select_own on plinth.external_ids
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on plinth.external_ids is 'Users read the ids of their own rows.';
--! EndIncluded plinth/policies/external_ids.sql
--! Included identity/views/my_external_ids.sql
-- plinth.external_ids for the API, which has no other table of that schema.
create or replace view identity.my_external_ids
  with (security_invoker = true)
as
select e.system, e.relation, e.external_id, e.row_id, e.user_id
from plinth.external_ids e;

comment on view identity.my_external_ids is
  E'@name external_ids\n'
  '@primaryKey system,relation,external_id\n'
  'Ids that the caller''s rows had in the system they were imported from. Grain: one row per id.';
comment on column identity.my_external_ids.system is
  'The other system: headphone, socializer, rovertchat, cedrina, ai_training or another name.';
comment on column identity.my_external_ids.relation is 'Name of the table in the other system, such as users or chats.';
comment on column identity.my_external_ids.external_id is 'Id of the row in the other system.';
comment on column identity.my_external_ids.row_id is E'@notNull\nId of the row here.';
comment on column identity.my_external_ids.user_id is 'The user that the row belongs to: the caller.';
revoke all on identity.my_external_ids from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.my_external_ids to :PLINTH_USER;
--! EndIncluded identity/views/my_external_ids.sql
--! Included plinth/functions/touch_updated_at.sql
-- The database sets updated_at: a client's value is overwritten, and an update that changes nothing leaves it alone, so that a
-- repeated import shows up as unchanged. A table with generated columns names them as the trigger's arguments: they are not
-- computed yet when this runs. An import moves rows in with the times they had: it sets plinth.keeps_times, which counts only in
-- sessions of the table's owner. Any session may set it, and the API runs functions with the owner's rights, but its sessions are
-- those of another role.
create or replace function plinth.touch_updated_at()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_generated text[] := coalesce(tg_argv[0:], '{}');
begin
  if current_setting('plinth.keeps_times', true) = 'on'
    and new.updated_at <> old.updated_at
    and pg_has_role(session_user, (select c.relowner from pg_class c where c.oid = tg_relid), 'member')
  then
    return new;
  end if;
  new.updated_at := old.updated_at;
  if to_jsonb(new) - v_generated is distinct from to_jsonb(old) - v_generated then
    new.updated_at := clock_timestamp();
  end if;
  return new;
end
$$;

comment on function plinth.touch_updated_at() is
  'Trigger: sets updated_at when a row really changed; its arguments name the table''s generated columns.';
--! EndIncluded plinth/functions/touch_updated_at.sql
--! Included billing/private/import_subscription.sql
-- A subscription that began in another system, without its history. A current one starts here in the period that ends at period_end,
-- so that it renews when it would have there. If the other system did not renew it in time, it is past due from that moment, as any
-- other. The only change of one that has ended is `imported`.
create or replace function private.import_subscription(
  user_id uuid,
  plan_id uuid,
  status text,
  period_end timestamptz,
  started_at timestamptz default null,
  ended_at timestamptz default null
)
  returns uuid
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_plan billing.subscription_plans;
  v_end timestamptz := import_subscription.period_end;
  v_cycle interval;
  v_subscription billing.user_subscriptions;
begin
  if import_subscription.status in ('active', 'canceled', 'expired') is not true then
    raise exception 'The status of an imported subscription must be active, canceled or expired.'
      using errcode = 'PL422', column = 'status';
  end if;
  select p.* into v_plan from billing.subscription_plans p where p.id = import_subscription.plan_id;
  if not found then
    raise exception 'Plan not found.' using errcode = 'PL404', column = 'plan_id';
  end if;
  v_cycle := case v_plan.billing_cycle when 'yearly' then interval '1 year' else interval '1 month' end;
  if import_subscription.status = 'active' or (import_subscription.status = 'canceled' and v_end > now()) then
    v_subscription := private.start_subscription(
      import_subscription.user_id, v_plan.id, false,
      coalesce((v_end at time zone 'UTC' - v_cycle) at time zone 'UTC', now())
    );
    update billing.user_subscriptions s
    set
      started_at = least(import_subscription.started_at, s.started_at),
      created_at = least(import_subscription.started_at, s.created_at),
      -- Its last period is paid.
      cancel_at_period_end = import_subscription.status = 'canceled'
    where s.id = v_subscription.id;
    return v_subscription.id;
  end if;
  v_end := coalesce(import_subscription.ended_at, v_end, now());
  insert into billing.user_subscriptions (
    user_id, plan_id, status, started_at, anchor_at, current_period_start, current_period_end, ended_at,
    quota_period_start, quota_period_end, created_at
  )
  select
    import_subscription.user_id, v_plan.id, import_subscription.status, b.began_at, b.began_at, b.began_at,
    case when v_plan.billing_cycle <> 'lifetime' then v_end end, v_end, b.began_at, v_end, b.began_at
  from (
    select least(import_subscription.started_at, (v_end at time zone 'UTC' - v_cycle) at time zone 'UTC') as began_at
  ) b
  returning * into v_subscription;
  perform private.record_subscription_change('imported', null, v_subscription, v_end);
  return v_subscription.id;
end
$$;

comment on function private.import_subscription(uuid, uuid, text, timestamptz, timestamptz, timestamptz) is
  'Adds a subscription of another system: active, canceled (until the end of its period) or expired; returns its id. PL404, PL422, 23505 for a second current one.';
--! EndIncluded billing/private/import_subscription.sql
