-- Schema private as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema private;
comment on schema private is 'Secrets and the functions of the API''s service and the job worker. No API role may enter.';
grant usage on schema private to :PLINTH_SERVICE, :PLINTH_WORKER;

-- Tables ----------------------------------------------------------------------------------------------

-- One row per user who ever got the free plan's monthly tokens.
create table private.free_quotas (
  user_id uuid not null,
  granted_month date not null,
  constraint free_quotas_pkey primary key (user_id),
  constraint free_quotas_granted_month_check check (extract(day from granted_month) = 1::numeric),
  constraint free_quotas_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.free_quotas enable row level security;

comment on table private.free_quotas is 'One row per user who ever got the free plan''s monthly tokens.';
comment on column private.free_quotas.user_id is 'The user.';
comment on column private.free_quotas.granted_month is 'First day of the latest month (UTC) whose tokens were granted.';

-- One row per event that a payment provider sent, unknown kinds too.
create table private.payment_events (
  id uuid not null default plinth.uuid_v7(),
  provider text not null,
  provider_event_id text not null,
  event_type text not null,
  provider_customer_id text,
  occurred_at timestamp with time zone not null,
  payload jsonb not null default '{}'::jsonb,
  received_at timestamp with time zone not null default now(),
  processed_at timestamp with time zone,
  outcome text,
  attempts integer not null default 0,
  next_attempt_at timestamp with time zone not null default now(),
  constraint payment_events_pkey primary key (id),
  constraint payment_events_provider_event_key unique (provider, provider_event_id),
  constraint payment_events_event_type_check check (length(event_type) >= 1 and length(event_type) <= 255),
  constraint payment_events_payload_is_a_small_object check (jsonb_typeof(payload) = 'object'::text and pg_column_size(payload) < 10000),
  constraint payment_events_processed_has_an_outcome check (processed_at is null or outcome is not null),
  constraint payment_events_provider_check check (provider ~ '^[a-z][a-z0-9_]{0,49}$'::text),
  constraint payment_events_provider_event_id_check check (length(provider_event_id) >= 1 and length(provider_event_id) <= 255)
);

alter table private.payment_events enable row level security;

create index payment_events_customer_idx on private.payment_events using btree (provider, provider_customer_id) where (processed_at is null);
create index payment_events_next_attempt_at_idx on private.payment_events using btree (next_attempt_at) where (processed_at is null);

comment on table private.payment_events is 'One row per event that a payment provider sent, unknown kinds too.';
comment on column private.payment_events.id is 'UUIDv7.';
comment on column private.payment_events.provider is 'The payment provider, such as stripe.';
comment on column private.payment_events.provider_event_id is 'The provider''s id: the same event sent again is the same row.';
comment on column private.payment_events.event_type is 'The provider''s name for what happened.';
comment on column private.payment_events.provider_customer_id is 'The provider''s id of the customer concerned; null when it names none.';
comment on column private.payment_events.occurred_at is 'When it happened, by the provider''s clock; later ones win.';
comment on column private.payment_events.payload is 'The listed fields that are needed, and no others (JSON object).';
comment on column private.payment_events.received_at is 'When it arrived first.';
comment on column private.payment_events.processed_at is 'When it was dealt with; null while it is to be done or waits.';
comment on column private.payment_events.outcome is 'applied, ignored, or why it waits.';
comment on column private.payment_events.attempts is 'How often it was tried in vain.';
comment on column private.payment_events.next_attempt_at is 'When it is tried next.';

-- One row per subscription at a payment provider: the sum of its events.
create table private.provider_subscriptions (
  provider text not null,
  provider_subscription_id text not null,
  provider_customer_id text,
  user_id uuid,
  status text,
  status_order text,
  was_live boolean not null default false,
  provider_price_id text,
  plan_id uuid,
  cancel_at_period_end boolean not null default false,
  trial_end timestamp with time zone,
  object_order text,
  started_at timestamp with time zone,
  ended_at timestamp with time zone,
  period_start timestamp with time zone,
  period_end timestamp with time zone,
  paid_period_end timestamp with time zone,
  revoked_period_end timestamp with time zone,
  updated_at timestamp with time zone not null default now(),
  constraint provider_subscriptions_pkey primary key (provider, provider_subscription_id),
  constraint provider_subscriptions_plan_id_fkey foreign key (plan_id) references billing.subscription_plans(id) on delete restrict,
  constraint provider_subscriptions_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.provider_subscriptions enable row level security;

create index provider_subscriptions_plan_id_idx on private.provider_subscriptions using btree (plan_id);
create index provider_subscriptions_user_id_idx on private.provider_subscriptions using btree (user_id);

create trigger _900_touch_updated_at
  before update on private.provider_subscriptions
  for each row
  execute function plinth.touch_updated_at();

comment on table private.provider_subscriptions is 'One row per subscription at a payment provider: the sum of its events.';
comment on column private.provider_subscriptions.provider is 'The payment provider, such as stripe.';
comment on column private.provider_subscriptions.provider_subscription_id is 'The provider''s id.';
comment on column private.provider_subscriptions.provider_customer_id is 'The provider''s id of the customer.';
comment on column private.provider_subscriptions.user_id is 'The user, once known.';
comment on column private.provider_subscriptions.status is 'State by the latest event: incomplete, trialing, active, past_due, paused or canceled.';
comment on column private.provider_subscriptions.status_order is 'Rank of the event that said so; a canceled one is last for good.';
comment on column private.provider_subscriptions.was_live is 'Whether any event saw it trialing, active, past_due or paused.';
comment on column private.provider_subscriptions.provider_price_id is 'The provider''s price by the latest event.';
comment on column private.provider_subscriptions.plan_id is 'The plan, where the event itself names one of ours.';
comment on column private.provider_subscriptions.cancel_at_period_end is 'By the latest event about the subscription itself.';
comment on column private.provider_subscriptions.trial_end is 'End of the trial, by the latest event about the subscription itself.';
comment on column private.provider_subscriptions.object_order is 'Rank of the latest event about the subscription itself.';
comment on column private.provider_subscriptions.started_at is 'The earliest beginning that an event names.';
comment on column private.provider_subscriptions.ended_at is 'When it ended; null while it has not.';
comment on column private.provider_subscriptions.period_start is 'Start of the latest period that an event names.';
comment on column private.provider_subscriptions.period_end is 'End of the latest period that an event names.';
comment on column private.provider_subscriptions.paid_period_end is 'Until when it is paid.';
comment on column private.provider_subscriptions.revoked_period_end is 'Until when payments were given back in full or are disputed.';
comment on column private.provider_subscriptions.updated_at is 'When the row last changed.';

-- One row per refresh token; a session's tokens are one family, a chain of which the last is live.
create table private.refresh_tokens (
  id uuid not null default plinth.uuid_v7(),
  session_id uuid not null,
  user_id uuid not null,
  parent_id uuid,
  token_hash bytea not null,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  used_at timestamp with time zone,
  successor_sealed bytea,
  constraint refresh_tokens_pkey primary key (id),
  constraint refresh_tokens_parent_id_key unique (parent_id),
  constraint refresh_tokens_token_hash_key unique (token_hash),
  constraint refresh_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint refresh_tokens_used_with_successor check ((used_at is null) = (successor_sealed is null)),
  constraint refresh_tokens_session_id_user_id_fkey foreign key (session_id, user_id) references identity.user_sessions(id, user_id) on delete cascade
);

alter table private.refresh_tokens enable row level security;

create index refresh_tokens_expires_at_idx on private.refresh_tokens using btree (expires_at);
create unique index refresh_tokens_one_live_per_session_key on private.refresh_tokens using btree (session_id) where (used_at is null);
create index refresh_tokens_session_id_user_id_idx on private.refresh_tokens using btree (session_id, user_id);

comment on table private.refresh_tokens is 'One row per refresh token; a session''s tokens are one family, a chain of which the last is live.';
comment on column private.refresh_tokens.id is 'UUIDv7.';
comment on column private.refresh_tokens.session_id is 'The session; all its tokens are one family.';
comment on column private.refresh_tokens.user_id is 'The session''s owner.';
comment on column private.refresh_tokens.parent_id is 'The token it replaced, which may have been cleaned up since; null for the first.';
comment on column private.refresh_tokens.token_hash is 'SHA-256 of the token; the token itself is nowhere.';
comment on column private.refresh_tokens.created_at is 'When it was issued.';
comment on column private.refresh_tokens.expires_at is 'From then on it is refused.';
comment on column private.refresh_tokens.used_at is 'When it was exchanged for its successor; null while live.';
comment on column private.refresh_tokens.successor_sealed is 'The successor, encrypted under a key derived from this token.';

-- One row per state of a subscription and event that is allowed in it.
create table private.subscription_transitions (
  from_status text not null,
  event text not null,
  to_status text not null,
  constraint subscription_transitions_pkey primary key (from_status, event)
);

alter table private.subscription_transitions enable row level security;

comment on table private.subscription_transitions is 'One row per state of a subscription and event that is allowed in it.';
comment on column private.subscription_transitions.from_status is 'The state before.';
comment on column private.subscription_transitions.event is 'What happens.';
comment on column private.subscription_transitions.to_status is 'The state after.';

-- Revoked access tokens: one row per revoked token, session or account, until none of its tokens can be valid.
create table private.token_blacklist (
  id uuid not null default plinth.uuid_v7(),
  kind text not null,
  subject_id uuid not null,
  token_version integer,
  reason text not null,
  created_at timestamp with time zone not null default clock_timestamp(),
  expires_at timestamp with time zone not null default now() + '1 day 00:05:00'::interval,
  constraint token_blacklist_pkey primary key (id),
  constraint token_blacklist_kind_check check (kind = any (array['token'::text, 'session'::text, 'user'::text])),
  constraint token_blacklist_token_version_only_for_users check (token_version is null or kind = 'user'::text)
);

alter table private.token_blacklist enable row level security;

create index token_blacklist_expires_at_idx on private.token_blacklist using btree (expires_at);
create index token_blacklist_subject_id_idx on private.token_blacklist using btree (subject_id);

create trigger _900_notify
  after insert on private.token_blacklist
  for each statement
  execute function private.notify_revocation();

comment on table private.token_blacklist is 'Revoked access tokens: one row per revoked token, session or account, until none of its tokens can be valid.';
comment on column private.token_blacklist.id is 'UUIDv7.';
comment on column private.token_blacklist.kind is 'What is revoked: one token, a session''s tokens, or a user''s.';
comment on column private.token_blacklist.subject_id is 'jti, session id or user id.';
comment on column private.token_blacklist.token_version is 'For a user: tokens of a lower version are revoked; null means all.';
comment on column private.token_blacklist.reason is 'Why, such as logout.';
comment on column private.token_blacklist.created_at is 'When it was revoked.';
comment on column private.token_blacklist.expires_at is 'From then on the row is useless and is deleted.';

-- One row per account with a password. Readable by no API role.
create table private.user_passwords (
  user_id uuid not null,
  password_hash text not null,
  hash_algorithm text not null default 'argon2id'::text,
  updated_at timestamp with time zone not null default now(),
  constraint user_passwords_pkey primary key (user_id),
  constraint user_passwords_hash_algorithm_check check (hash_algorithm = any (array['argon2id'::text, 'bcrypt'::text])),
  constraint user_passwords_password_hash_check check (
case hash_algorithm
    when 'argon2id'::text then password_hash ~ '^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'::text
    when 'bcrypt'::text then password_hash ~ '^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$'::text
    else null::boolean
end),
  constraint user_passwords_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.user_passwords enable row level security;

create index user_passwords_bcrypt_idx on private.user_passwords using btree (user_id) where (hash_algorithm = 'bcrypt'::text);

comment on table private.user_passwords is 'One row per account with a password. Readable by no API role.';
comment on column private.user_passwords.user_id is 'Whose password.';
comment on column private.user_passwords.password_hash is 'PHC string (argon2id) or modular crypt string (bcrypt).';
comment on column private.user_passwords.hash_algorithm is 'argon2id (default) or bcrypt (brought along; replaced at the next sign-in).';
comment on column private.user_passwords.updated_at is 'When the hash was last set.';

-- Functions -------------------------------------------------------------------------------------------

-- Renews, expires and cancels one subscription as time went by, up to a moment; returns the number of steps.
create or replace function private.advance_subscription(subscription_id uuid, at timestamp with time zone)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_subscription billing.user_subscriptions;
  v_before billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_end timestamptz;
  v_quota record;
  v_steps integer := 0;
begin
  loop
    select s.* into v_subscription
    from billing.user_subscriptions s
    where s.id = advance_subscription.subscription_id
    for update;
    if v_subscription.due_at is null or v_subscription.due_at > advance_subscription.at then
      -- A grant that failed or waited for the payment.
      if v_subscription.status in ('trialing', 'active') then
        perform private.grant_quota(v_subscription.id);
      end if;
      return v_steps;
    end if;
    v_steps := v_steps + 1;
    v_end := v_subscription.current_period_end;

    if v_subscription.status = 'past_due' then
      perform private.transition_subscription(v_subscription.id, 'grace_ended', v_subscription.due_at);
      continue;
    end if;
    if v_end is null then
      -- For life: only the tokens have periods.
      select * into v_quota
      from private.subscription_period('monthly', v_subscription.anchor_at, v_subscription.quota_period_end);
      update billing.user_subscriptions s
      set quota_period_start = v_quota.period_start, quota_period_end = v_quota.period_end
      where s.id = v_subscription.id;
      perform private.grant_quota(v_subscription.id);
      continue;
    end if;
    if v_subscription.cancel_at_period_end then
      perform private.transition_subscription(v_subscription.id, 'canceled', v_end);
      continue;
    end if;
    if v_subscription.pending_plan_id is not null then
      v_before := v_subscription;
      update billing.user_subscriptions s
      set
        plan_id = s.pending_plan_id,
        pending_plan_id = null,
        anchor_at = case when o.billing_cycle = n.billing_cycle then s.anchor_at else v_end end
      from billing.subscription_plans o, billing.subscription_plans n
      where s.id = v_before.id and o.id = s.plan_id and n.id = s.pending_plan_id
      returning s.* into v_subscription;
      perform private.record_subscription_change('downgraded', v_before, v_subscription, v_end);
    end if;
    select p.* into strict v_plan from billing.subscription_plans p where p.id = v_subscription.plan_id;
    if v_plan.price_cents = 0 then
      perform private.renew_subscription(v_subscription.id, 'renewed', v_end);
    elsif v_subscription.status = 'trialing' and v_subscription.provider is null then
      perform private.transition_subscription(v_subscription.id, 'trial_ended', v_end);
    else
      perform private.transition_subscription(v_subscription.id, 'payment_failed', v_end, 'payment_due');
    end if;
  end loop;
end
$$;

comment on function private.advance_subscription(subscription_id uuid, at timestamp with time zone) is 'Renews, expires and cancels one subscription as time went by, up to a moment; returns the number of steps.';
revoke execute on function private.advance_subscription(subscription_id uuid, at timestamp with time zone) from public;

-- Brings up to batch_size subscriptions that are due up to date; returns how many.
create or replace function private.advance_subscriptions(batch_size integer default 100)
  returns integer
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.advance_subscriptions_at(batch_size, now())
$$;

comment on function private.advance_subscriptions(batch_size integer) is 'Brings up to batch_size subscriptions that are due up to date; returns how many.';
revoke execute on function private.advance_subscriptions(batch_size integer) from public;
grant execute on function private.advance_subscriptions(batch_size integer) to :PLINTH_WORKER;

-- Brings up to batch_size subscriptions that are due up to a moment; returns how many.
create or replace function private.advance_subscriptions_at(batch_size integer, at timestamp with time zone)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_row record;
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_row in
    select s.id, s.user_id
    from billing.user_subscriptions s
    where s.due_at <= advance_subscriptions_at.at
    order by s.due_at
    limit batch_size
  loop
    perform from identity.users u where u.id = v_row.user_id for no key update skip locked;
    continue when not found;
    begin
      if private.advance_subscription(v_row.id, advance_subscriptions_at.at) > 0 then
        v_handled := v_handled + 1;
      end if;
    exception
      when others then
        raise warning 'subscription % could not be advanced: %', v_row.id, sqlstate;
    end;
  end loop;
  return v_handled;
end
$$;

comment on function private.advance_subscriptions_at(batch_size integer, at timestamp with time zone) is 'Brings up to batch_size subscriptions that are due up to a moment; returns how many.';
revoke execute on function private.advance_subscriptions_at(batch_size integer, at timestamp with time zone) from public;

-- Does what an event of a payment provider means; returns applied, ignored, kept_current or waiting_for_….
create or replace function private.apply_payment_event(event private.payment_events)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_news jsonb := event.payload;
  v_kind text := v_news ->> 'kind';
  v_user_id uuid;
  v_payment billing.payments;
  -- Seconds of the provider's clock, then what is further on in a subscription's life, then anything that is fixed.
  v_order text := concat_ws(
    '.',
    lpad(floor(extract(epoch from event.occurred_at))::bigint::text, 12, '0'),
    coalesce(v_news ->> 'rank', '5'),
    event.provider_event_id
  );
begin
  if v_kind is null then
    return 'ignored';
  end if;
  -- Ours, because only our own checkout writes it into the provider's objects.
  v_user_id := (select u.id from identity.users u where u.id = (v_news ->> 'user_id')::uuid);
  if v_user_id is not null and event.provider_customer_id is not null then
    insert into billing.provider_customers (provider, provider_customer_id, user_id)
    values (event.provider, event.provider_customer_id, v_user_id)
    on conflict on constraint provider_customers_pkey do nothing;
  end if;
  v_user_id := coalesce(
    (
      select c.user_id
      from billing.provider_customers c
      where c.provider = event.provider and c.provider_customer_id = event.provider_customer_id
    ),
    v_user_id
  );
  -- Account first: the one order of locks.
  perform from identity.users u where u.id = v_user_id for no key update;

  if v_kind in ('invoice', 'purchase') then
    insert into billing.payments as p (
      user_id, plan_id, provider, provider_payment_id, provider_reference, provider_subscription_id, amount_cents, currency,
      period_start, period_end, paid_at, failed_at, failure_code
    )
    select
      v_user_id,
      coalesce(
        (select sp.id from billing.subscription_plans sp where sp.id = (v_news ->> 'plan_id')::uuid),
        (
          select pp.plan_id
          from billing.plan_prices pp
          where pp.provider = event.provider and pp.provider_price_id = v_news ->> 'price'
        )
      ),
      event.provider, v_news ->> 'payment', v_news ->> 'reference', v_news ->> 'subscription',
      (v_news ->> 'amount')::bigint, upper(v_news ->> 'currency'),
      to_timestamp((v_news ->> 'period_start')::double precision), to_timestamp((v_news ->> 'period_end')::double precision),
      case when (v_news ->> 'paid')::boolean then event.occurred_at end,
      case when not (v_news ->> 'paid')::boolean then event.occurred_at end,
      v_news ->> 'failure_code'
    -- Nothing was asked for (a trial, a full discount): that is no payment.
    where (v_news ->> 'amount')::bigint > 0
    on conflict on constraint payments_provider_payment_key do update
    set
      user_id = coalesce(p.user_id, excluded.user_id),
      plan_id = coalesce(p.plan_id, excluded.plan_id),
      provider_reference = coalesce(p.provider_reference, excluded.provider_reference),
      amount_cents = case when p.paid_at is null then excluded.amount_cents else p.amount_cents end,
      paid_at = least(p.paid_at, excluded.paid_at),
      failed_at = greatest(p.failed_at, excluded.failed_at),
      failure_code = case
        when excluded.failed_at >= coalesce(p.failed_at, '-infinity') then coalesce(excluded.failure_code, p.failure_code)
        else p.failure_code
      end;
  elsif v_kind = 'transaction' then
    update billing.payments p
    set provider_reference = coalesce(p.provider_reference, v_news ->> 'reference')
    where p.provider = event.provider and p.provider_payment_id = v_news ->> 'payment';
    return case when found then 'applied' else 'waiting_for_payment' end;
  elsif v_kind in ('refund', 'dispute') then
    update billing.payments p
    set
      refunded_cents = greatest(p.refunded_cents, least(coalesce((v_news ->> 'refunded')::bigint, 0), p.amount_cents)),
      disputed_at = case when v_kind = 'dispute' then least(p.disputed_at, event.occurred_at) else p.disputed_at end
    where p.provider = event.provider
      and (p.provider_payment_id in (v_news ->> 'payment', v_news ->> 'reference') or p.provider_reference = v_news ->> 'reference')
    returning p.* into v_payment;
    if v_payment.id is null then
      return 'waiting_for_payment';
    end if;
    -- Who has the money back for the current period has no longer paid for it.
    if v_payment.status in ('refunded', 'disputed') and v_payment.provider_subscription_id is not null then
      update private.provider_subscriptions m
      set revoked_period_end = greatest(m.revoked_period_end, coalesce(v_payment.period_end, 'infinity'))
      where m.provider = event.provider and m.provider_subscription_id = v_payment.provider_subscription_id;
      return private.apply_provider_subscription(event.provider, v_payment.provider_subscription_id, event.occurred_at);
    end if;
    return 'applied';
  end if;

  if v_news ->> 'subscription' is null then
    return 'applied';
  end if;
  perform private.merge_provider_subscription(
    event.provider, v_news ->> 'subscription', v_order,
    v_news || jsonb_build_object('customer', event.provider_customer_id)
  );
  if v_user_id is not null then
    update private.provider_subscriptions m
    set user_id = v_user_id
    where m.provider = event.provider
      and m.provider_subscription_id = v_news ->> 'subscription'
      and m.user_id is null;
  end if;
  return private.apply_provider_subscription(event.provider, v_news ->> 'subscription', event.occurred_at);
end
$$;

comment on function private.apply_payment_event(event private.payment_events) is 'Does what an event of a payment provider means; returns applied, ignored, kept_current or waiting_for_….';
revoke execute on function private.apply_payment_event(event private.payment_events) from public;

-- Makes a user's subscription what its provider's events say; returns applied, kept_current or waiting_for_….
create or replace function private.apply_provider_subscription(provider text, provider_subscription_id text, at timestamp with time zone)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_known private.provider_subscriptions;
  v_user_id uuid;
  v_plan billing.subscription_plans;
  v_status text;
  v_subscription billing.user_subscriptions;
  v_before billing.user_subscriptions;
  v_current billing.user_subscriptions;
  v_quota record;
  v_event text;
begin
  v_user_id := (
    select coalesce(m.user_id, c.user_id)
    from private.provider_subscriptions m
    left join billing.provider_customers c
      on c.provider = m.provider and c.provider_customer_id = m.provider_customer_id
    where m.provider = apply_provider_subscription.provider
      and m.provider_subscription_id = apply_provider_subscription.provider_subscription_id
  );
  if v_user_id is null then
    return 'waiting_for_customer';
  end if;
  -- Account first: the one order of locks.
  perform from identity.users u where u.id = v_user_id for no key update;
  update private.provider_subscriptions m
  set user_id = v_user_id
  where m.provider = apply_provider_subscription.provider
    and m.provider_subscription_id = apply_provider_subscription.provider_subscription_id
  returning m.* into strict v_known;
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = coalesce(
    v_known.plan_id,
    (
      select pp.plan_id
      from billing.plan_prices pp
      where pp.provider = v_known.provider and pp.provider_price_id = v_known.provider_price_id
    )
  );
  if v_plan.id is null then
    return 'waiting_for_price';
  end if;
  if v_known.period_start is null then
    return 'waiting_for_period';
  end if;
  if not v_known.was_live then
    -- Never paid: a checkout that somebody gave up.
    return 'applied';
  end if;
  v_status := v_known.status;
  if v_status in ('trialing', 'active', 'past_due', 'paused')
    and v_known.revoked_period_end >= coalesce(v_known.period_end, 'infinity')
  then
    v_status := 'expired';
  end if;
  if v_status not in ('trialing', 'active', 'past_due', 'paused', 'canceled', 'expired') then
    return 'applied';
  end if;
  if v_known.period_end is null then
    select * into v_quota
    from private.subscription_period('monthly', v_known.period_start, greatest(apply_provider_subscription.at, v_known.period_start));
  else
    select v_known.period_start as period_start, v_known.period_end as period_end into v_quota;
  end if;

  select s.* into v_subscription
  from billing.user_subscriptions s
  where s.provider = v_known.provider and s.provider_subscription_id = v_known.provider_subscription_id
  for update;

  if v_status in ('trialing', 'active', 'past_due', 'paused') then
    select s.* into v_current
    from billing.user_subscriptions s
    where s.user_id = v_user_id
      and s.status in ('trialing', 'active', 'past_due', 'paused')
      and s.id is distinct from v_subscription.id;
    if v_current.id is not null and v_subscription.status is distinct from 'canceled' then
      if v_current.provider is null
        and (
          v_current.status in ('trialing', 'past_due')
          or exists (select from billing.subscription_plans p where p.id = v_current.plan_id and p.price_cents = 0)
        )
      then
        perform private.transition_subscription(v_current.id, 'canceled', apply_provider_subscription.at, 'replaced');
      else
        perform private.record_security_event(
          'second_subscription', v_user_id,
          jsonb_build_object('provider', v_known.provider, 'subscription_id', v_current.id), 'warning'
        );
        return 'kept_current';
      end if;
    end if;
  end if;

  if v_subscription.id is null then
    insert into billing.user_subscriptions (
      user_id, plan_id, status, started_at, anchor_at, current_period_start, current_period_end, cancel_at_period_end,
      trial_end, past_due_since, paused_at, ended_at, quota_period_start, quota_period_end, provider, provider_subscription_id
    ) values (
      v_user_id, v_plan.id, v_status, v_known.started_at, v_known.period_start, v_known.period_start, v_known.period_end,
      v_known.cancel_at_period_end,
      case when v_status = 'trialing' then coalesce(v_known.trial_end, v_known.period_end) else v_known.trial_end end,
      case when v_status = 'past_due' then apply_provider_subscription.at end,
      case when v_status = 'paused' then apply_provider_subscription.at end,
      case when v_status in ('canceled', 'expired') then coalesce(v_known.ended_at, apply_provider_subscription.at) end,
      v_quota.period_start, v_quota.period_end, v_known.provider, v_known.provider_subscription_id
    )
    returning * into v_subscription;
    perform private.record_subscription_change(
      case when v_status = 'trialing' then 'trial_started' else 'started' end, null, v_subscription, v_known.started_at,
      jsonb_build_object('charge_cents', case when v_status = 'trialing' then 0 else v_plan.price_cents end)
    );
  else
    if v_subscription.plan_id <> v_plan.id then
      perform private.follow_provider_plan(v_subscription, v_plan, v_known, apply_provider_subscription.at);
    end if;
    v_before := v_subscription;
    update billing.user_subscriptions s
    set
      started_at = least(s.started_at, v_known.started_at),
      anchor_at = v_known.period_start,
      current_period_start = v_known.period_start,
      current_period_end = v_known.period_end,
      quota_period_start = case when v_known.period_end is null then s.quota_period_start else v_known.period_start end,
      quota_period_end = coalesce(v_known.period_end, s.quota_period_end),
      cancel_at_period_end = v_known.cancel_at_period_end,
      trial_end = case when s.status = 'trialing' or v_status = 'trialing' then coalesce(v_known.trial_end, v_known.period_end) else v_known.trial_end end,
      ended_at = case when s.status = 'canceled' then coalesce(v_known.ended_at, s.ended_at) else s.ended_at end
    where s.id = v_subscription.id
    returning s.* into v_subscription;
    if v_before.current_period_start < v_subscription.current_period_start
      and v_status = v_before.status
    then
      perform private.record_subscription_change('renewed', v_before, v_subscription, v_subscription.current_period_start);
    end if;
    v_event := case
      when v_status = v_subscription.status then null
      when v_subscription.status = 'canceled' then null
      when v_status = 'canceled' then 'canceled'
      when v_status = 'expired' then 'revoked'
      -- What ran out here is revived by a payment only.
      when v_subscription.status = 'expired' and v_status = 'active' then 'payment_succeeded'
      when v_subscription.status = 'expired' then null
      else 'provider_' || v_status
    end;
    if v_event is not null then
      perform private.transition_subscription(
        v_subscription.id, v_event,
        case when v_status = 'canceled' then coalesce(v_known.ended_at, apply_provider_subscription.at) else apply_provider_subscription.at end
      );
      update billing.user_subscriptions s
      set ended_at = v_known.ended_at
      where s.id = v_subscription.id and s.status = 'canceled' and v_known.ended_at is not null;
    end if;
  end if;
  update billing.payments p
  set subscription_id = v_subscription.id
  where p.provider = v_known.provider
    and p.provider_subscription_id = v_known.provider_subscription_id
    and p.subscription_id is null;
  perform private.grant_quota(v_subscription.id);
  return 'applied';
end
$$;

comment on function private.apply_provider_subscription(provider text, provider_subscription_id text, at timestamp with time zone) is 'Makes a user''s subscription what its provider''s events say; returns applied, kept_current or waiting_for_….';
revoke execute on function private.apply_provider_subscription(provider text, provider_subscription_id text, at timestamp with time zone) from public;

-- Sets a new password, ends the other sessions and all access tokens; no row when refused. Counts and audits either way.
create or replace function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea)
  returns table(token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user identity.users;
  v_session identity.user_sessions;
  v_refusal text;
begin
  select u.* into v_user from identity.users u where u.id = change_password.user_id for no key update;
  select s.* into v_session
  from identity.user_sessions s
  where s.id = change_password.session_id and s.user_id = v_user.id and s.ended_at is null and s.expires_at > now()
  for update;

  v_refusal := case
    when v_session.id is null or v_user.account_status <> 'active' then 'session_ended'
    when v_user.locked_until > now() then 'account_locked'
    when not coalesce(change_password.password_matches, false) then 'wrong_password'
    -- Changed between the check and now.
    when v_user.token_version is distinct from change_password.checked_token_version then 'wrong_password'
  end;
  if v_refusal is not null then
    if v_refusal = 'wrong_password' then
      perform security.track_login_attempt(
        v_user.id, v_user.username, plinth.client_ip(), plinth.user_agent(), 'failed', 'wrong_password'
      );
    end if;
    perform private.record_security_event(
      'password_change_failed', change_password.user_id, jsonb_build_object('reason', v_refusal), 'warning'
    );
    return;
  end if;

  update private.user_passwords p
  set
    password_hash = change_password.new_password_hash,
    hash_algorithm = change_password.new_hash_algorithm,
    updated_at = now()
  where p.user_id = v_user.id;

  update identity.users u
  set password_changed_at = now(), token_version = u.token_version + 1, failed_login_attempts = 0
  where u.id = v_user.id
  returning u.token_version into token_version;

  perform private.end_sessions(v_user.id, 'password_changed', v_session.id);
  -- The old family of this session ends as well; its tokens are forgotten, so they are simply unknown.
  delete from private.refresh_tokens t where t.session_id = v_session.id;
  refresh_expires_at := private.issue_refresh_token(v_session.id, change_password.refresh_token_hash);
  perform private.record_security_event('password_changed', v_user.id);
  return next;
end
$$;

comment on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea) is 'Sets a new password, ends the other sessions and all access tokens; no row when refused. Counts and audits either way.';
revoke execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea) from public;
grant execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea) to :PLINTH_SERVICE;

-- Changes the plan of a trialing or active subscription at once; returns the change with its proration. PL409, PL422.
create or replace function private.change_subscription_plan(subscription_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.subscription_changes
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_before billing.user_subscriptions;
  v_after billing.user_subscriptions;
  v_old billing.subscription_plans;
  v_new billing.subscription_plans;
  v_proration record;
  v_charge bigint;
  v_restarts boolean;
  v_period record;
  v_quota record;
  v_tokens bigint := 0;
begin
  select s.* into v_before
  from billing.user_subscriptions s
  where s.id = change_subscription_plan.subscription_id
  for update;
  select p.* into v_old from billing.subscription_plans p where p.id = v_before.plan_id;
  select p.* into v_new from billing.subscription_plans p where p.id = change_subscription_plan.plan_id;
  if v_before.id is null or v_new.id is null then
    raise exception 'There is no such subscription or plan.' using errcode = 'PL404', column = 'plan_id';
  end if;
  if v_before.status not in ('trialing', 'active') then
    raise exception 'A subscription that is % cannot change its plan.', v_before.status using errcode = 'PL409';
  end if;
  if v_old.id = v_new.id then
    raise exception 'The subscription is on that plan already.' using errcode = 'PL409', column = 'plan_id';
  end if;
  if v_old.billing_cycle = 'lifetime' then
    raise exception 'A lifetime plan is paid for good and does not change.' using errcode = 'PL409', column = 'plan_id';
  end if;
  perform private.require_same_currency(v_old, v_new);

  v_restarts := v_before.status = 'active'
    and (v_old.billing_cycle <> v_new.billing_cycle or (v_old.price_cents = 0 and v_new.price_cents > 0));
  select * into v_proration
  from private.proration(
    v_old.price_cents, v_new.price_cents, v_before.current_period_start, v_before.current_period_end,
    change_subscription_plan.at
  );
  v_charge := case when v_restarts then v_new.price_cents else v_proration.charge_cents end;
  if v_before.status = 'trialing' then
    v_proration.credit_cents := 0;
    v_charge := 0;
  end if;

  if v_restarts then
    select * into v_period
    from private.subscription_period(v_new.billing_cycle, change_subscription_plan.at, change_subscription_plan.at);
    v_quota := v_period;
    if v_period.period_end is null then
      select * into v_quota
      from private.subscription_period('monthly', change_subscription_plan.at, change_subscription_plan.at);
    end if;
    update billing.user_subscriptions s
    set
      plan_id = v_new.id,
      pending_plan_id = null,
      anchor_at = change_subscription_plan.at,
      current_period_start = v_period.period_start,
      current_period_end = v_period.period_end,
      quota_period_start = v_quota.period_start,
      quota_period_end = v_quota.period_end,
      quota_granted_from = case when v_old.code <> 'free' then s.quota_granted_from end
    where s.id = v_before.id;
    perform private.grant_quota(v_before.id);
  else
    if v_before.quota_granted_from = v_before.quota_period_start and v_proration.period_seconds > 0 then
      v_tokens := private.grant_quota_difference(
        v_before, v_old, v_new, v_proration.unused_seconds, v_proration.period_seconds, change_subscription_plan.at
      );
    end if;
    update billing.user_subscriptions s
    set plan_id = v_new.id, pending_plan_id = null
    where s.id = v_before.id;
  end if;
  select s.* into strict v_after from billing.user_subscriptions s where s.id = v_before.id;
  return private.record_subscription_change(
    case when private.is_upgrade(v_old, v_new) then 'upgraded' else 'downgraded' end,
    v_before, v_after, change_subscription_plan.at,
    jsonb_build_object(
      'credit_cents', v_proration.credit_cents, 'charge_cents', v_charge, 'period_seconds', v_proration.period_seconds,
      'unused_seconds', v_proration.unused_seconds, 'tokens_granted', v_tokens
    )
  );
end
$$;

comment on function private.change_subscription_plan(subscription_id uuid, plan_id uuid, at timestamp with time zone) is 'Changes the plan of a trialing or active subscription at once; returns the change with its proration. PL409, PL422.';
revoke execute on function private.change_subscription_plan(subscription_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- Opens a session for an account that has shown enough; the one way there for all kinds of sign-in.
create or replace function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  select o.session_id, o.token_version, o.refresh_expires_at
  into session_id, token_version, refresh_expires_at
  from private.open_session(
    complete_sign_in.user_id, complete_sign_in.methods, complete_sign_in.refresh_token_hash, complete_sign_in.device_name
  ) o;
  return next;
end
$$;

comment on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) is 'Opens a session for an account that has shown enough; the one way there for all kinds of sign-in.';
revoke execute on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) from public;

-- Deletes up to batch_size expired refresh tokens and revocations; returns how many.
create or replace function private.delete_expired_tokens(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_refresh integer;
  v_blacklist integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with expired as (
    select t.id
    from private.refresh_tokens t
    where t.expires_at <= now()
    order by t.expires_at
    limit batch_size
    for update skip locked
  )
  delete from private.refresh_tokens t using expired e where t.id = e.id;
  get diagnostics v_refresh = row_count;

  with expired as (
    select b.id
    from private.token_blacklist b
    where b.expires_at <= now()
    order by b.expires_at
    limit batch_size - v_refresh
    for update skip locked
  )
  delete from private.token_blacklist b using expired e where b.id = e.id;
  get diagnostics v_blacklist = row_count;
  return v_refresh + v_blacklist;
end
$$;

comment on function private.delete_expired_tokens(batch_size integer) is 'Deletes up to batch_size expired refresh tokens and revocations; returns how many.';
revoke execute on function private.delete_expired_tokens(batch_size integer) from public;
grant execute on function private.delete_expired_tokens(batch_size integer) to :PLINTH_WORKER;

-- Ends up to batch_size expired sessions and deletes those ended 90 days ago; returns how many.
create or replace function private.end_expired_sessions(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_ended integer;
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with expired as (
    select s.id
    from identity.user_sessions s
    left join identity.user_security_settings ss on ss.user_id = s.user_id
    where s.ended_at is null
      and (
        s.expires_at <= now()
        or s.last_activity_at
          <= now() - coalesce(make_interval(mins => ss.session_timeout_minutes), interval '30 days')
      )
    limit batch_size
    for update of s skip locked
  )
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'expired'
  from expired e
  where s.id = e.id;
  get diagnostics v_ended = row_count;

  with old as (
    select s.id
    from identity.user_sessions s
    where s.ended_at < now() - interval '90 days'
    limit batch_size - v_ended
    for update skip locked
  )
  delete from identity.user_sessions s using old o where s.id = o.id;
  get diagnostics v_deleted = row_count;
  return v_ended + v_deleted;
end
$$;

comment on function private.end_expired_sessions(batch_size integer) is 'Ends up to batch_size expired sessions and deletes those ended 90 days ago; returns how many.';
revoke execute on function private.end_expired_sessions(batch_size integer) from public;
grant execute on function private.end_expired_sessions(batch_size integer) to :PLINTH_WORKER;

-- Ends a user's live sessions but one; returns how many.
create or replace function private.end_sessions(user_id uuid, reason text, except_session_id uuid default null::uuid)
  returns integer
  language sql
  set search_path to 'pg_catalog'
as $$
  with ended as (
    update identity.user_sessions s
    set ended_at = now(), end_reason = end_sessions.reason
    where s.user_id = end_sessions.user_id
      and s.ended_at is null
      and s.id is distinct from end_sessions.except_session_id
    returning s.id
  )
  select count(*)::integer from ended
$$;

comment on function private.end_sessions(user_id uuid, reason text, except_session_id uuid) is 'Ends a user''s live sessions but one; returns how many.';
revoke execute on function private.end_sessions(user_id uuid, reason text, except_session_id uuid) from public;

-- Grants the tokens that the user's plan, or the free plan, gives for the current period, unless they were granted.
create or replace function private.ensure_current_grants(user_id uuid)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.ensure_grants_at(ensure_current_grants.user_id, now())
$$;

comment on function private.ensure_current_grants(user_id uuid) is 'Grants the tokens that the user''s plan, or the free plan, gives for the current period, unless they were granted.';
revoke execute on function private.ensure_current_grants(user_id uuid) from public;

-- Grants the tokens of the periods that a moment falls into, once.
create or replace function private.ensure_grants_at(user_id uuid, at timestamp with time zone)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_month date := date_trunc('month', ensure_grants_at.at at time zone 'UTC')::date;
  v_subscription_id uuid;
  v_status text;
  v_is_settled boolean;
  v_is_free boolean;
begin
  for v_try in 1 .. 2 loop
    select
      s.id,
      s.status,
      s.status not in ('trialing', 'active')
        or (s.quota_granted_from = s.quota_period_start and s.due_at > ensure_grants_at.at),
      p.code = 'free' or s.status = 'paused'
    into v_subscription_id, v_status, v_is_settled, v_is_free
    from billing.user_subscriptions s
    join billing.subscription_plans p on p.id = s.plan_id
    where s.user_id = ensure_grants_at.user_id
      and s.status in ('trialing', 'active', 'past_due', 'paused');
    if v_subscription_id is null then
      v_is_settled := true;
      v_is_free := true;
    end if;
    if v_is_settled
      and (
        not v_is_free
        or exists (
          select
          from private.free_quotas q
          where q.user_id = ensure_grants_at.user_id and q.granted_month >= v_month
        )
      )
    then
      return;
    end if;
    perform from identity.users u where u.id = ensure_grants_at.user_id for no key update;
    if not found then
      return;
    end if;
    if v_subscription_id is not null then
      perform private.advance_subscription(v_subscription_id, ensure_grants_at.at);
    end if;
    -- The subscription may have ended just now: look again.
    if v_is_free then
      perform private.grant_free_quota(ensure_grants_at.user_id, ensure_grants_at.at);
    end if;
  end loop;
end
$$;

comment on function private.ensure_grants_at(user_id uuid, at timestamp with time zone) is 'Grants the tokens of the periods that a moment falls into, once.';
revoke execute on function private.ensure_grants_at(user_id uuid, at timestamp with time zone) from public;

-- Makes the missing monthly partitions of all logs, from this month to months_ahead later; returns the names made.
create or replace function private.ensure_partitions(months_ahead integer default 3)
  returns table(partition_name text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
as $$
declare
  v_table record;
  v_month timestamptz;
  v_next timestamptz;
  v_name text;
  v_default text;
begin
  if months_ahead is null or months_ahead not between 0 and 120 then
    raise exception 'months_ahead must be from 0 to 120.' using errcode = 'PL422';
  end if;
  for v_table in
    select c.oid, n.nspname, c.relname
    from pg_partitioned_table p
    join pg_class c on c.oid = p.partrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
    where p.partstrat = 'r'
      and p.partnatts = 1
      and a.attname = 'created_at'
      and n.nspname in ('identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'private')
    order by n.nspname, c.relname
  loop
    v_default := v_table.relname || '_default';
    if to_regclass(format('%I.%I', v_table.nspname, v_default)) is null then
      perform private.lock_for_new_partition(v_table.oid);
    end if;
    if to_regclass(format('%I.%I', v_table.nspname, v_default)) is null then
      execute format('create table %1$I.%2$I partition of %1$I.%3$I default', v_table.nspname, v_default, v_table.relname);
      execute format('alter table %I.%I enable row level security', v_table.nspname, v_default);
      execute format(
        'comment on table %I.%I is %L', v_table.nspname, v_default,
        format('Rows of %s whose month has no partition yet.', v_table.relname)
      );
      partition_name := format('%I.%I', v_table.nspname, v_default);
      return next;
    end if;

    for v_month in
      select generate_series(
        date_trunc('month', now()), date_trunc('month', now()) + make_interval(months => months_ahead), interval '1 month'
      )
    loop
      v_next := v_month + interval '1 month';
      v_name := v_table.relname || to_char(v_month, '_YYYY_MM');
      continue when to_regclass(format('%I.%I', v_table.nspname, v_name)) is not null;
      perform private.lock_for_new_partition(v_table.oid);
      -- Another maker may have been first.
      continue when to_regclass(format('%I.%I', v_table.nspname, v_name)) is not null;
      execute format(
        'create table %1$I.%2$I (like %1$I.%3$I including defaults including constraints)',
        v_table.nspname, v_name, v_table.relname
      );
      -- Reached through the parent, the parent's policies decide; reached directly there are none, so no rows.
      execute format('alter table %I.%I enable row level security', v_table.nspname, v_name);
      execute format(
        'comment on table %I.%I is %L', v_table.nspname, v_name,
        format('Rows of %s made in %s.', v_table.relname, to_char(v_month, 'YYYY-MM'))
      );
      execute format(
        'with moved as (delete from %1$I.%2$I where created_at >= $1 and created_at < $2 returning *)
         insert into %1$I.%3$I select * from moved',
        v_table.nspname, v_default, v_name
      ) using v_month, v_next;
      execute format(
        'alter table %1$I.%2$I attach partition %1$I.%3$I for values from (%4$L) to (%5$L)',
        v_table.nspname, v_table.relname, v_name, v_month, v_next
      );
      partition_name := format('%I.%I', v_table.nspname, v_name);
      return next;
    end loop;
  end loop;
end
$$;

comment on function private.ensure_partitions(months_ahead integer) is 'Makes the missing monthly partitions of all logs, from this month to months_ahead later; returns the names made.';
revoke execute on function private.ensure_partitions(months_ahead integer) from public;
grant execute on function private.ensure_partitions(months_ahead integer) to :PLINTH_WORKER;

-- Who the signed-in user is at a payment provider, or null.
create or replace function private.find_customer(provider text)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select c.provider_customer_id
  from billing.provider_customers c
  where c.user_id = plinth.current_user_id() and c.provider = find_customer.provider
  order by c.created_at desc, c.provider_customer_id
  limit 1
$$;

comment on function private.find_customer(provider text) is 'Who the signed-in user is at a payment provider, or null.';
revoke execute on function private.find_customer(provider text) from public;
grant execute on function private.find_customer(provider text) to :PLINTH_SERVICE;

-- Password hash of the account with this username or e-mail address; one row of nulls when there is none.
create or replace function private.find_login(identifier text)
  returns table(user_id uuid, password_hash text, hash_algorithm text, token_version integer, bcrypt_is_in_use boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select
    account.id,
    account.password_hash,
    account.hash_algorithm,
    account.token_version,
    exists (select from private.user_passwords b where b.hash_algorithm = 'bcrypt')
  from (values (true)) as always (one)
  left join (
    select u.id, u.username, u.email, u.token_version, p.password_hash, p.hash_algorithm
    from identity.users u
    join private.user_passwords p on p.user_id = u.id
  ) account
    -- A username has no @ and an address has one, so at most one account answers.
    on account.username = lower(trim(find_login.identifier))
    or account.email = lower(trim(find_login.identifier))
$$;

comment on function private.find_login(identifier text) is 'Password hash of the account with this username or e-mail address; one row of nulls when there is none.';
revoke execute on function private.find_login(identifier text) from public;
grant execute on function private.find_login(identifier text) to :PLINTH_SERVICE;

-- Password hash of an account, to check the current password before a change.
create or replace function private.find_password(user_id uuid)
  returns table(password_hash text, hash_algorithm text, token_version integer)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select p.password_hash, p.hash_algorithm, u.token_version
  from private.user_passwords p
  join identity.users u on u.id = p.user_id
  where p.user_id = find_password.user_id
$$;

comment on function private.find_password(user_id uuid) is 'Password hash of an account, to check the current password before a change.';
revoke execute on function private.find_password(user_id uuid) from public;
grant execute on function private.find_password(user_id uuid) to :PLINTH_SERVICE;

-- Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits either way.
create or replace function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text default null::text, new_password_hash text default null::text, new_hash_algorithm text default null::text, challenge_hash bytea default null::bytea)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user identity.users;
  v_refusal text;
begin
  select u.* into v_user from identity.users u where u.id = finish_login.user_id for no key update;

  v_refusal := case
    when v_user.id is null then 'unknown_account'
    when v_user.locked_until > now() then 'account_locked'
    when not coalesce(finish_login.password_matches, false) then 'wrong_password'
    -- Changed between the check and now.
    when v_user.token_version is distinct from finish_login.checked_token_version then 'wrong_password'
    when v_user.account_status <> 'active' then 'account_disabled'
    when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
  end;

  perform security.track_login_attempt(
    v_user.id,
    -- A name of nobody may be a password typed into the wrong field: it is kept so that repeats can be told, not read.
    case
      when v_user.id is null and finish_login.identifier !~ '@'
      then 'sha256:' || left(encode(sha256(convert_to(lower(finish_login.identifier), 'UTF8')), 'hex'), 16)
      else finish_login.identifier
    end,
    plinth.client_ip(),
    plinth.user_agent(),
    case v_refusal when 'account_locked' then 'locked' else case when v_refusal is null then 'success' else 'failed' end end,
    v_refusal
  );

  if v_refusal is not null then
    perform private.record_security_event(
      'login_failed', v_user.id, jsonb_build_object('reason', v_refusal),
      case when v_refusal in ('wrong_password', 'unknown_account') then 'info' else 'warning' end
    );
    return;
  end if;

  if finish_login.new_password_hash is not null then
    update private.user_passwords p
    set
      password_hash = finish_login.new_password_hash,
      hash_algorithm = finish_login.new_hash_algorithm,
      updated_at = now()
    where p.user_id = v_user.id;
  end if;

  return query
    select c.session_id, c.token_version, c.refresh_expires_at, c.challenge_expires_at, c.challenge_methods
    from private.complete_sign_in(
      v_user.id, array['pwd'], finish_login.refresh_token_hash, finish_login.device_name, finish_login.challenge_hash
    ) c;
end
$$;

comment on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) is 'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits either way.';
revoke execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) from public;
grant execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) to :PLINTH_SERVICE;

-- Puts a subscription on the plan that its provider bills, with its proration in the history.
create or replace function private.follow_provider_plan(subscription billing.user_subscriptions, plan billing.subscription_plans, known private.provider_subscriptions, at timestamp with time zone)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_old billing.subscription_plans;
  v_after billing.user_subscriptions;
  v_proration record;
  v_same_period boolean := known.period_end is not distinct from subscription.current_period_end;
  v_tokens bigint := 0;
begin
  select p.* into strict v_old from billing.subscription_plans p where p.id = subscription.plan_id;
  select * into v_proration
  from private.proration(
    v_old.price_cents, plan.price_cents, subscription.current_period_start, subscription.current_period_end,
    follow_provider_plan.at
  );
  if v_same_period
    and subscription.quota_granted_from = subscription.quota_period_start
    and v_proration.period_seconds > 0
    and subscription.status in ('trialing', 'active')
  then
    v_tokens := private.grant_quota_difference(
      subscription, v_old, plan, v_proration.unused_seconds, v_proration.period_seconds, follow_provider_plan.at
    );
  end if;
  update billing.user_subscriptions s
  set plan_id = plan.id, pending_plan_id = null
  where s.id = subscription.id
  returning s.* into v_after;
  perform private.record_subscription_change(
    case when private.is_upgrade(v_old, plan) then 'upgraded' else 'downgraded' end,
    subscription, v_after, follow_provider_plan.at,
    jsonb_build_object(
      'credit_cents', case when subscription.status = 'trialing' or v_old.currency <> plan.currency then 0 else v_proration.credit_cents end,
      'charge_cents', case
        when subscription.status = 'trialing' then 0
        when v_same_period then v_proration.charge_cents
        else plan.price_cents
      end,
      'period_seconds', v_proration.period_seconds, 'unused_seconds', v_proration.unused_seconds,
      'tokens_granted', v_tokens
    )
  );
end
$$;

comment on function private.follow_provider_plan(subscription billing.user_subscriptions, plan billing.subscription_plans, known private.provider_subscriptions, at timestamp with time zone) is 'Puts a subscription on the plan that its provider bills, with its proration in the history.';
revoke execute on function private.follow_provider_plan(subscription billing.user_subscriptions, plan billing.subscription_plans, known private.provider_subscriptions, at timestamp with time zone) from public;

-- Grants the free plan's tokens of the month unless the user has them; returns whether it did.
create or replace function private.grant_free_quota(user_id uuid, at timestamp with time zone)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_month timestamptz := date_trunc('month', grant_free_quota.at at time zone 'UTC') at time zone 'UTC';
  v_next timestamptz := (date_trunc('month', grant_free_quota.at at time zone 'UTC') + interval '1 month') at time zone 'UTC';
  v_plan billing.subscription_plans;
begin
  select p.* into v_plan
  from billing.subscription_plans p
  where p.code = 'free' and p.superseded_at is null and p.is_active
  order by p.currency = 'USD' desc, p.currency
  limit 1;
  if v_plan.id is null then
    return false;
  end if;
  insert into private.free_quotas as q (user_id, granted_month)
  values (grant_free_quota.user_id, (v_month at time zone 'UTC')::date)
  on conflict on constraint free_quotas_pkey do update
  set granted_month = excluded.granted_month
  where q.granted_month < excluded.granted_month;
  if not found then
    return false;
  end if;
  if v_plan.rollover_limit > 0 then
    perform private.close_plan_grant(
      grant_free_quota.user_id, v_plan.id, v_month, v_plan.rollover_limit, v_next,
      format('free-close:%s:%s', grant_free_quota.user_id, to_char(v_month at time zone 'UTC', 'YYYY-MM'))
    );
  end if;
  if v_plan.token_quota is distinct from 0 then
    perform private.grant_tokens(
      grant_free_quota.user_id, v_plan.token_quota, 'plan', v_plan.id, 100, v_month, v_next,
      format('free:%s:%s', grant_free_quota.user_id, to_char(v_month at time zone 'UTC', 'YYYY-MM'))
    );
  end if;
  return true;
end
$$;

comment on function private.grant_free_quota(user_id uuid, at timestamp with time zone) is 'Grants the free plan''s tokens of the month unless the user has them; returns whether it did.';
revoke execute on function private.grant_free_quota(user_id uuid, at timestamp with time zone) from public;

-- Grants up to batch_size users without a plan, who signed in within 60 days, the free plan's tokens of this month.
create or replace function private.grant_free_quotas(batch_size integer default 500)
  returns integer
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.grant_free_quotas_at(batch_size, now())
$$;

comment on function private.grant_free_quotas(batch_size integer) is 'Grants up to batch_size users without a plan, who signed in within 60 days, the free plan''s tokens of this month.';
revoke execute on function private.grant_free_quotas(batch_size integer) from public;
grant execute on function private.grant_free_quotas(batch_size integer) to :PLINTH_WORKER;

-- Grants up to batch_size users the free plan's tokens of the month around a moment; returns how many.
create or replace function private.grant_free_quotas_at(batch_size integer, at timestamp with time zone)
  returns integer
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_month date := date_trunc('month', grant_free_quotas_at.at at time zone 'UTC')::date;
  v_user_id uuid;
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_user_id in
    select u.id
    from identity.users u
    left join private.free_quotas q on q.user_id = u.id
    where u.is_active
      and u.last_login_at > grant_free_quotas_at.at - interval '60 days'
      and (q.granted_month is null or q.granted_month < v_month)
      and not exists (
        select
        from billing.user_subscriptions s
        join billing.subscription_plans p on p.id = s.plan_id
        where s.user_id = u.id and s.status in ('trialing', 'active', 'past_due') and p.code <> 'free'
      )
    order by u.id
    limit batch_size
    for no key update of u skip locked
  loop
    exit when not exists (select from billing.subscription_plans p where p.code = 'free' and p.superseded_at is null and p.is_active);
    if private.grant_free_quota(v_user_id, grant_free_quotas_at.at) then
      v_handled := v_handled + 1;
    end if;
  end loop;
  return v_handled;
end
$$;

comment on function private.grant_free_quotas_at(batch_size integer, at timestamp with time zone) is 'Grants up to batch_size users the free plan''s tokens of the month around a moment; returns how many.';
revoke execute on function private.grant_free_quotas_at(batch_size integer, at timestamp with time zone) from public;

-- Grants the tokens of a subscription's quota period once, carrying over what the plan lets; returns whether it did.
create or replace function private.grant_quota(subscription_id uuid)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_subscription billing.user_subscriptions;
  v_plan billing.subscription_plans;
begin
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = grant_quota.subscription_id;
  select p.* into strict v_plan from billing.subscription_plans p where p.id = v_subscription.plan_id;
  if v_subscription.status not in ('trialing', 'active')
    or v_subscription.quota_granted_from >= v_subscription.quota_period_start
  then
    return false;
  end if;
  if v_plan.code = 'free' then
    perform private.grant_free_quota(v_subscription.user_id, v_subscription.quota_period_start);
  else
    if v_subscription.provider is not null
      and v_subscription.status = 'active'
      and v_plan.price_cents > 0
      and not exists (
        select
        from private.provider_subscriptions m
        where m.provider = v_subscription.provider
          and m.provider_subscription_id = v_subscription.provider_subscription_id
          and m.paid_period_end >= coalesce(v_subscription.current_period_end, 'infinity')
      )
    then
      return false;
    end if;
    if v_subscription.quota_granted_from is not null then
      perform private.close_plan_grant(
        v_subscription.user_id, v_subscription.id, v_subscription.quota_period_start, v_plan.rollover_limit,
        v_subscription.quota_period_end,
        format('close:%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start))
      );
    end if;
    if v_plan.token_quota is distinct from 0 then
      perform private.grant_tokens(
        v_subscription.user_id, v_plan.token_quota, 'plan', v_subscription.id, 100, v_subscription.quota_period_start,
        v_subscription.quota_period_end,
        format('plan:%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start))
      );
    end if;
  end if;
  update billing.user_subscriptions s
  set quota_granted_from = s.quota_period_start
  where s.id = v_subscription.id;
  return true;
end
$$;

comment on function private.grant_quota(subscription_id uuid) is 'Grants the tokens of a subscription''s quota period once, carrying over what the plan lets; returns whether it did.';
revoke execute on function private.grant_quota(subscription_id uuid) from public;

-- Grants what a new plan's quota has over the old one's for the rest of the period; returns how many tokens.
create or replace function private.grant_quota_difference(subscription billing.user_subscriptions, old_plan billing.subscription_plans, new_plan billing.subscription_plans, unused_seconds bigint, period_seconds bigint, at timestamp with time zone)
  returns bigint
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_key text := format('%s:%s:%s', subscription.id, extract(epoch from subscription.quota_period_start), new_plan.id);
  v_tokens bigint;
begin
  if old_plan.token_quota is null and new_plan.token_quota is null then
    return 0;
  end if;
  v_tokens := div(new_plan.token_quota::numeric * unused_seconds, period_seconds)
    - coalesce(div(old_plan.token_quota::numeric * unused_seconds, period_seconds), 0);
  if old_plan.token_quota is null then
    -- Unlimited ends here, or there would be no limit left to speak of.
    perform private.close_plan_grant(
      subscription.user_id, subscription.id, grant_quota_difference.at, 0, grant_quota_difference.at, 'unlimited-end:' || v_key
    );
  end if;
  if v_tokens <= 0 or unused_seconds = 0 then
    return 0;
  end if;
  perform private.grant_tokens(
    subscription.user_id, v_tokens, 'plan', subscription.id, 100, grant_quota_difference.at, subscription.quota_period_end,
    'upgrade:' || v_key
  );
  return coalesce(v_tokens, 0);
end
$$;

comment on function private.grant_quota_difference(subscription billing.user_subscriptions, old_plan billing.subscription_plans, new_plan billing.subscription_plans, unused_seconds bigint, period_seconds bigint, at timestamp with time zone) is 'Grants what a new plan''s quota has over the old one''s for the rest of the period; returns how many tokens.';
revoke execute on function private.grant_quota_difference(subscription billing.user_subscriptions, old_plan billing.subscription_plans, new_plan billing.subscription_plans, unused_seconds bigint, period_seconds bigint, at timestamp with time zone) from public;

-- billing.grant_subscription at a moment.
create or replace function private.grant_subscription_at(user_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_current billing.user_subscriptions := private.lock_subscriber(grant_subscription_at.user_id, grant_subscription_at.at);
begin
  if v_current.id is null then
    perform private.offered_plan(grant_subscription_at.plan_id);
    return private.start_subscription(grant_subscription_at.user_id, grant_subscription_at.plan_id, false, grant_subscription_at.at);
  end if;
  perform private.require_own_billing(v_current);
  if v_current.plan_id = grant_subscription_at.plan_id then
    return private.renew_subscription(v_current.id, 'payment_succeeded', grant_subscription_at.at);
  end if;
  perform private.offered_plan(grant_subscription_at.plan_id);
  perform private.change_subscription_plan(v_current.id, grant_subscription_at.plan_id, grant_subscription_at.at);
  select s.* into strict v_current from billing.user_subscriptions s where s.id = v_current.id;
  return v_current;
end
$$;

comment on function private.grant_subscription_at(user_id uuid, plan_id uuid, at timestamp with time zone) is 'billing.grant_subscription at a moment.';
revoke execute on function private.grant_subscription_at(user_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- Imports an array of models with prices; one answer a model: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_models(models jsonb, make_public boolean default false)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_model jsonb;
  v_provider_id uuid;
  v_model_id uuid;
  v_inserted boolean;
  v_changed boolean;
  v_count integer;
begin
  for v_model, ordinal in
    select m.value, m.ordinality::integer from jsonb_array_elements(import_models.models) with ordinality m
  loop
    message := null;
    begin
      -- Without this a file that forgot its prices would remove them.
      if jsonb_typeof(v_model -> 'priceHistory') is distinct from 'array' then
        raise exception 'priceHistory must be an array.' using errcode = 'PL422';
      end if;
      insert into llm.model_providers as p (name) values (trim(v_model ->> 'vendor'))
      on conflict on constraint model_providers_name_key do nothing;
      select p.id into strict v_provider_id from llm.model_providers p where p.name = trim(v_model ->> 'vendor');

      insert into llm.models as m (provider_id, name, display_name, is_public)
      values (v_provider_id, trim(v_model ->> 'id'), trim(v_model ->> 'name'), import_models.make_public)
      on conflict on constraint models_provider_id_name_key do update
      set display_name = excluded.display_name, is_public = m.is_public or excluded.is_public
      where (m.display_name, m.is_public) is distinct from (excluded.display_name, m.is_public or excluded.is_public)
      returning m.id, m.xmax = 0 into v_model_id, v_inserted;
      v_changed := found;
      if not found then
        v_inserted := false;
        select m.id into strict v_model_id
        from llm.models m
        where m.provider_id = v_provider_id and m.name = trim(v_model ->> 'id');
      end if;

      -- What is as wanted stays, the rest makes room before the new periods come in.
      delete from billing.model_prices p
      where p.model_id = v_model_id
        and p.currency = 'USD'
        and not exists (
          select
          from private.wanted_prices(v_model -> 'priceHistory') w
          where (w.input_price, w.output_price, w.cached_input_price, w.effective_from, w.effective_to) is not distinct from (
            p.input_price_per_million_tokens, p.output_price_per_million_tokens,
            p.cached_input_price_per_million_tokens, p.effective_from, p.effective_to
          )
        );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      insert into billing.model_prices (
        model_id, input_price_per_million_tokens, output_price_per_million_tokens,
        cached_input_price_per_million_tokens, effective_from, effective_to
      )
      select v_model_id, w.input_price, w.output_price, w.cached_input_price, w.effective_from, w.effective_to
      from private.wanted_prices(v_model -> 'priceHistory') w
      where not exists (
        select
        from billing.model_prices p
        where p.model_id = v_model_id
          and p.currency = 'USD'
          and (w.effective_from, w.effective_to) is not distinct from (p.effective_from, p.effective_to)
      );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      outcome := case when v_inserted then 'inserted' when v_changed then 'updated' else 'unchanged' end;
    exception
      when data_exception or integrity_constraint_violation or no_data_found or sqlstate 'PL422' then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_models(models jsonb, make_public boolean) is 'Imports an array of models with prices; one answer a model: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_models(models jsonb, make_public boolean) from public;

-- Imports an array of library prompts; one answer a row: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_prompts(prompts jsonb)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_prompt jsonb;
  v_inserted boolean;
begin
  for v_prompt, ordinal in
    select p.value, p.ordinality::integer from jsonb_array_elements(import_prompts.prompts) with ordinality p
  loop
    message := null;
    begin
      insert into llm.prompts as p (user_id, name, content, prompt_type, is_for_developers, contributors)
      values (
        null,
        btrim(v_prompt ->> 'name', E' \t\r\n'),
        v_prompt ->> 'content',
        lower(coalesce(v_prompt ->> 'type', 'text')),
        coalesce((v_prompt ->> 'forDevelopers')::boolean, false),
        array(select jsonb_array_elements_text(coalesce(v_prompt -> 'contributors', '[]')))
      )
      on conflict on constraint prompts_user_id_name_key do update
      set
        content = excluded.content,
        prompt_type = excluded.prompt_type,
        is_for_developers = excluded.is_for_developers,
        contributors = excluded.contributors
      where (p.content, p.prompt_type, p.is_for_developers, p.contributors)
        is distinct from (excluded.content, excluded.prompt_type, excluded.is_for_developers, excluded.contributors)
      -- xmax is 0 in a row that this statement made, and not in one that it changed.
      returning p.xmax = 0 into v_inserted;
      outcome := case when not found then 'unchanged' when v_inserted then 'inserted' else 'updated' end;
    exception
      when data_exception or integrity_constraint_violation then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_prompts(prompts jsonb) is 'Imports an array of library prompts; one answer a row: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_prompts(prompts jsonb) from public;

-- Whether an access token with these claims is still to be believed.
create or replace function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select exists (
    select
    from identity.users u
    join identity.user_sessions s on s.user_id = u.id
    where u.id = is_token_live.user_id
      and u.account_status = 'active'
      and u.token_version = is_token_live.token_version
      and s.id = is_token_live.session_id
      and s.ended_at is null
      and s.expires_at > now()
      and not exists (
        select from private.token_blacklist b where b.kind = 'token' and b.subject_id = is_token_live.token_id
      )
  )
$$;

comment on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) is 'Whether an access token with these claims is still to be believed.';
revoke execute on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) from public;
grant execute on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) to :PLINTH_SERVICE;

-- Whether a change from one plan to the other takes effect at once.
create or replace function private.is_upgrade(old_plan billing.subscription_plans, new_plan billing.subscription_plans)
  returns boolean
  language sql
  immutable
  set search_path to 'pg_catalog'
as $$
  select
    (new_plan.access_level, array_position(array['monthly', 'yearly', 'lifetime'], new_plan.billing_cycle), new_plan.price_cents)
    > (old_plan.access_level, array_position(array['monthly', 'yearly', 'lifetime'], old_plan.billing_cycle), old_plan.price_cents)
$$;

comment on function private.is_upgrade(old_plan billing.subscription_plans, new_plan billing.subscription_plans) is 'Whether a change from one plan to the other takes effect at once.';
revoke execute on function private.is_upgrade(old_plan billing.subscription_plans, new_plan billing.subscription_plans) from public;

-- Adds a refresh token to a session; returns when it expires.
create or replace function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid default null::uuid)
  returns timestamp with time zone
  language sql
  set search_path to 'pg_catalog'
as $$
  insert into private.refresh_tokens (session_id, user_id, parent_id, token_hash, expires_at)
  select
    s.id,
    s.user_id,
    issue_refresh_token.parent_id,
    issue_refresh_token.token_hash,
    least(s.expires_at, now() + coalesce(make_interval(mins => ss.session_timeout_minutes), interval '30 days'))
  from identity.user_sessions s
  left join identity.user_security_settings ss on ss.user_id = s.user_id
  where s.id = issue_refresh_token.session_id
  returning expires_at
$$;

comment on function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid) is 'Adds a refresh token to a session; returns when it expires.';
revoke execute on function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid) from public;

-- Revocations not older than max_age, which is the longest life of an access token.
create or replace function private.list_revocations(max_age interval default '1 day 00:05:00'::interval)
  returns table(kind text, subject_id uuid, token_version integer, expires_at timestamp with time zone)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select b.kind, b.subject_id, b.token_version, b.expires_at
  from private.token_blacklist b
  where b.expires_at > now()
    and b.created_at > now() - list_revocations.max_age
$$;

comment on function private.list_revocations(max_age interval) is 'Revocations not older than max_age, which is the longest life of an access token.';
revoke execute on function private.list_revocations(max_age interval) from public;
grant execute on function private.list_revocations(max_age interval) to :PLINTH_SERVICE;

-- Locks a partitioned table, the tables it refers to and its default partition; tries for some seconds, then 55P03.
create or replace function private.lock_for_new_partition(partitioned_table regclass)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
  set lock_timeout to '200ms'
as $$
declare
  v_tables text := (
    select string_agg(format('only %s', t.name), ', ' order by t.position, t.name)
    from (
      select 1 as position, partitioned_table::text as name
      union
      select 2, k.confrelid::regclass::text
      from pg_constraint k
      where k.conrelid = partitioned_table and k.contype = 'f'
    ) t
  );
  v_default regclass := (
    select i.inhrelid
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = partitioned_table
      and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
  );
  v_tries integer := 0;
begin
  loop
    begin
      execute format('lock table %s in share row exclusive mode', v_tables);
      if v_default is not null then
        execute format('lock table only %s in access exclusive mode', v_default);
      end if;
      return;
    exception
      when lock_not_available or deadlock_detected then
        v_tries := v_tries + 1;
        if v_tries >= 50 then
          raise;
        end if;
        perform pg_sleep(0.05 + random() / 10);
    end;
  end loop;
end
$$;

comment on function private.lock_for_new_partition(partitioned_table regclass) is 'Locks a partitioned table, the tables it refers to and its default partition; tries for some seconds, then 55P03.';
revoke execute on function private.lock_for_new_partition(partitioned_table regclass) from public;

-- Locks an account and returns its current subscription, brought up to a moment, or null. PL401, PL404.
create or replace function private.lock_subscriber(user_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_subscription billing.user_subscriptions;
begin
  if lock_subscriber.user_id is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  perform from identity.users u where u.id = lock_subscriber.user_id and u.is_active for no key update;
  if not found then
    raise exception 'There is no such account.' using errcode = 'PL404', column = 'user_id';
  end if;
  perform private.advance_subscription(s.id, lock_subscriber.at)
  from billing.user_subscriptions s
  where s.user_id = lock_subscriber.user_id
    and s.due_at <= lock_subscriber.at;
  select s.* into v_subscription
  from billing.user_subscriptions s
  where s.user_id = lock_subscriber.user_id
    and s.status in ('trialing', 'active', 'past_due', 'paused');
  return v_subscription;
end
$$;

comment on function private.lock_subscriber(user_id uuid, at timestamp with time zone) is 'Locks an account and returns its current subscription, brought up to a moment, or null. PL401, PL404.';
revoke execute on function private.lock_subscriber(user_id uuid, at timestamp with time zone) from public;

-- How long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.
create or replace function private.lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable parallel safe
as $$
  select case
    when failed_attempts < 5 then interval '0'
    else least(interval '1 hour', interval '1 minute' * power(2, least(failed_attempts - 5, 10)))
  end
$$;

comment on function private.lockout_duration(failed_attempts integer) is 'How long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.';
revoke execute on function private.lockout_duration(failed_attempts integer) from public;

-- Merges one event's news into private.provider_subscriptions; the order of calls makes no difference.
create or replace function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_status text := news ->> 'status';
  v_order text collate "C" := case when news ->> 'status' = 'canceled' then 'z' else '' end || event_order;
  v_object_order text collate "C" := case when news ->> 'kind' = 'subscription' then event_order end;
  v_period_end timestamptz := to_timestamp((news ->> 'period_end')::double precision);
  -- For life: paid for, and without an end.
  v_is_for_life boolean := coalesce((news ->> 'for_life')::boolean, false);
begin
  insert into private.provider_subscriptions (provider, provider_subscription_id)
  values (merge_provider_subscription.provider, merge_provider_subscription.provider_subscription_id)
  on conflict on constraint provider_subscriptions_pkey do nothing;

  update private.provider_subscriptions m
  set
    provider_customer_id = coalesce(m.provider_customer_id, news ->> 'customer'),
    status = case when v_status is not null and v_order > coalesce(m.status_order, '') collate "C" then v_status else m.status end,
    status_order = case when v_status is not null then greatest(v_order, m.status_order collate "C") else m.status_order end,
    was_live = m.was_live or coalesce(v_status in ('trialing', 'active', 'past_due', 'paused'), false),
    provider_price_id = case
      when v_object_order > coalesce(m.object_order, '') collate "C" then coalesce(news ->> 'price', m.provider_price_id)
      else coalesce(m.provider_price_id, news ->> 'price')
    end,
    plan_id = coalesce(m.plan_id, (news ->> 'plan_id')::uuid),
    cancel_at_period_end = case
      when v_object_order > coalesce(m.object_order, '') collate "C"
        then coalesce((news ->> 'cancel_at_period_end')::boolean, false)
      else m.cancel_at_period_end
    end,
    trial_end = case
      when v_object_order > coalesce(m.object_order, '') collate "C"
        then to_timestamp((news ->> 'trial_end')::double precision)
      else m.trial_end
    end,
    object_order = greatest(v_object_order, m.object_order collate "C"),
    started_at = least(
      m.started_at,
      to_timestamp(coalesce(news ->> 'started_at', news ->> 'period_start')::double precision)
    ),
    ended_at = coalesce(m.ended_at, to_timestamp((news ->> 'ended_at')::double precision)),
    period_start = case
      when m.period_end is null or v_period_end > m.period_end
        then coalesce(to_timestamp((news ->> 'period_start')::double precision), m.period_start)
      else m.period_start
    end,
    period_end = greatest(m.period_end, v_period_end),
    paid_period_end = case
      when coalesce((news ->> 'paid')::boolean, false)
        then greatest(m.paid_period_end, case when v_is_for_life then 'infinity' else v_period_end end)
      else m.paid_period_end
    end
  where m.provider = merge_provider_subscription.provider
    and m.provider_subscription_id = merge_provider_subscription.provider_subscription_id;
end
$$;

comment on function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb) is 'Merges one event''s news into private.provider_subscriptions; the order of calls makes no difference.';
revoke execute on function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb) from public;

-- Whether the request comes from a network the user allows.
create or replace function private.network_is_allowed(user_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select not exists (
    select
    from identity.user_security_settings s
    where s.user_id = network_is_allowed.user_id
      and s.allowed_networks is not null
      and not coalesce(plinth.client_ip() <<= any (s.allowed_networks), false)
  )
$$;

comment on function private.network_is_allowed(user_id uuid) is 'Whether the request comes from a network the user allows.';
revoke execute on function private.network_is_allowed(user_id uuid) from public;

-- Trigger: tells every server of a revocation through NOTIFY plinth_revocation.
create or replace function private.notify_revocation()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform pg_notify('plinth_revocation', '');
  return null;
end
$$;

comment on function private.notify_revocation() is 'Trigger: tells every server of a revocation through NOTIFY plinth_revocation.';
revoke execute on function private.notify_revocation() from public;

-- The plan, if new subscriptions may choose it; PL404.
create or replace function private.offered_plan(plan_id uuid)
  returns billing.subscription_plans
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
declare
  v_plan billing.subscription_plans;
begin
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = offered_plan.plan_id and p.is_active and p.superseded_at is null;
  if v_plan.id is null then
    raise exception 'There is no such plan on offer.' using errcode = 'PL404', column = 'plan_id';
  end if;
  return v_plan;
end
$$;

comment on function private.offered_plan(plan_id uuid) is 'The plan, if new subscriptions may choose it; PL404.';
revoke execute on function private.offered_plan(plan_id uuid) from public;

-- Makes a session and its first refresh token; returns both and the token version to sign with.
create or replace function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  insert into identity.user_sessions (user_id, device_name, authentication_methods, ip_address, user_agent)
  values (
    open_session.user_id, open_session.device_name, open_session.methods, plinth.client_ip(), left(plinth.user_agent(), 1000)
  )
  returning id into session_id;
  select u.token_version into token_version from identity.users u where u.id = open_session.user_id;
  refresh_expires_at := private.issue_refresh_token(session_id, open_session.refresh_token_hash);
  perform private.record_security_event(
    'login_succeeded', open_session.user_id,
    jsonb_build_object('session_id', session_id, 'methods', to_jsonb(open_session.methods))
  );
  return next;
end
$$;

comment on function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text) is 'Makes a session and its first refresh token; returns both and the token version to sign with.';
revoke execute on function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text) from public;

-- Pauses an active subscription; PL409 when it is not active, free, for life, or billed by a provider.
create or replace function private.pause_subscription(subscription_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_subscription billing.user_subscriptions;
begin
  select s.* into strict v_subscription
  from billing.user_subscriptions s
  where s.id = pause_subscription.subscription_id
  for update;
  if v_subscription.provider is not null
    or v_subscription.current_period_end is null
    or exists (select from billing.subscription_plans p where p.id = v_subscription.plan_id and p.price_cents = 0)
  then
    raise exception 'Only a paid period that no provider bills can be paused.' using errcode = 'PL409';
  end if;
  v_subscription := private.transition_subscription(v_subscription.id, 'paused', pause_subscription.at);
  if v_subscription.quota_granted_from = v_subscription.quota_period_start then
    perform private.close_plan_grant(
      v_subscription.user_id, v_subscription.id, pause_subscription.at, 9223372036854775807, null,
      format('pause:%s:%s', v_subscription.id, extract(epoch from pause_subscription.at))
    );
  end if;
  return v_subscription;
end
$$;

comment on function private.pause_subscription(subscription_id uuid, at timestamp with time zone) is 'Pauses an active subscription; PL409 when it is not active, free, for life, or billed by a provider.';
revoke execute on function private.pause_subscription(subscription_id uuid, at timestamp with time zone) from public;

-- What a provider must know to sell a plan to the signed-in user. PL401, PL404, PL409 when it is not sold or they pay already.
create or replace function private.prepare_checkout(plan_id uuid, provider text)
  returns table(user_id uuid, email text, provider_customer_id text, provider_price_id text, billing_cycle text, trial_days integer)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_plan billing.subscription_plans;
  v_price_id text;
begin
  select u.* into v_user from identity.users u where u.id = plinth.current_user_id() and u.is_active;
  if v_user.id is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = prepare_checkout.plan_id and p.is_active and p.superseded_at is null;
  if v_plan.id is null then
    raise exception 'There is no such plan on offer.' using errcode = 'PL404', column = 'plan_id';
  end if;
  v_price_id := (
    select pp.provider_price_id
    from billing.plan_prices pp
    where pp.plan_id = v_plan.id and pp.provider = prepare_checkout.provider
    order by pp.created_at desc, pp.provider_price_id
    limit 1
  );
  if v_plan.price_cents = 0 or v_price_id is null then
    raise exception 'The plan is not sold there.' using errcode = 'PL409', column = 'plan_id';
  end if;
  if exists (
    select
    from billing.user_subscriptions s
    join billing.subscription_plans p on p.id = s.plan_id
    where s.user_id = v_user.id
      and s.status in ('trialing', 'active', 'past_due', 'paused')
      and p.price_cents > 0
      and (s.provider is not null or s.status in ('active', 'paused'))
  ) then
    raise exception 'You have a paid subscription.'
      using errcode = 'PL409', hint = 'Change it where it is billed: createBillingPortal.';
  end if;
  return query
  select
    v_user.id,
    v_user.email,
    (
      select c.provider_customer_id
      from billing.provider_customers c
      where c.user_id = v_user.id and c.provider = prepare_checkout.provider
      order by c.created_at desc, c.provider_customer_id
      limit 1
    ),
    v_price_id,
    v_plan.billing_cycle,
    case
      when v_plan.billing_cycle = 'lifetime'
        or exists (
          select
          from billing.user_subscriptions s
          where s.user_id = v_user.id and s.trial_end is not null
        )
      then 0
      else v_plan.trial_days
    end;
end
$$;

comment on function private.prepare_checkout(plan_id uuid, provider text) is 'What a provider must know to sell a plan to the signed-in user. PL401, PL404, PL409 when it is not sold or they pay already.';
revoke execute on function private.prepare_checkout(plan_id uuid, provider text) from public;
grant execute on function private.prepare_checkout(plan_id uuid, provider text) to :PLINTH_SERVICE;

-- Processes one event of the inbox, once, and then those of the same customer that waited for it; returns its outcome.
create or replace function private.process_payment_event(event_id uuid)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_event private.payment_events;
  v_waiting private.payment_events;
  v_outcome text;
  v_progress boolean;
begin
  select e.* into v_event from private.payment_events e where e.id = process_payment_event.event_id for update;
  if v_event.id is null or v_event.processed_at is not null then
    return v_event.outcome;
  end if;
  v_outcome := private.settle_payment_event(v_event);
  if v_outcome not in ('applied', 'ignored') then
    return v_outcome;
  end if;
  loop
    v_progress := false;
    for v_waiting in
      select e.*
      from private.payment_events e
      where e.processed_at is null
        and e.provider = v_event.provider
        and e.attempts > 0
        and (e.provider_customer_id = v_event.provider_customer_id or e.provider_customer_id is null)
      order by e.occurred_at, e.provider_event_id
      limit 50
      for update skip locked
    loop
      v_progress := private.settle_payment_event(v_waiting) in ('applied', 'ignored') or v_progress;
    end loop;
    exit when not v_progress;
  end loop;
  return v_outcome;
end
$$;

comment on function private.process_payment_event(event_id uuid) is 'Processes one event of the inbox, once, and then those of the same customer that waited for it; returns its outcome.';
revoke execute on function private.process_payment_event(event_id uuid) from public;
grant execute on function private.process_payment_event(event_id uuid) to :PLINTH_SERVICE;

-- Processes up to batch_size events that a server left behind or that wait; returns how many were tried.
create or replace function private.process_payment_events(batch_size integer default 50)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_event private.payment_events;
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_event in
    select e.*
    from private.payment_events e
    where e.processed_at is null and e.next_attempt_at <= now()
    order by e.occurred_at, e.provider_event_id
    limit batch_size
    for update skip locked
  loop
    perform private.process_payment_event(v_event.id);
    v_handled := v_handled + 1;
  end loop;
  return v_handled;
end
$$;

comment on function private.process_payment_events(batch_size integer) is 'Processes up to batch_size events that a server left behind or that wait; returns how many were tried.';
revoke execute on function private.process_payment_events(batch_size integer) from public;
grant execute on function private.process_payment_events(batch_size integer) to :PLINTH_WORKER;

-- Credit (zero or negative) and charge in cents for changing plans at a moment of a period; both zero without a period.
create or replace function private.proration(old_price_cents bigint, new_price_cents bigint, period_start timestamp with time zone, period_end timestamp with time zone, at timestamp with time zone)
  returns table(period_seconds bigint, unused_seconds bigint, credit_cents bigint, charge_cents bigint)
  language sql
  immutable
  set search_path to 'pg_catalog'
as $$
  with parts as (
    select
      greatest(floor(extract(epoch from period_end)) - floor(extract(epoch from period_start)), 0) as whole,
      floor(extract(epoch from period_end)) - floor(extract(epoch from proration.at)) as remaining
  ),
  clamped as (
    select p.whole, least(greatest(p.remaining, 0), p.whole) as unused from parts p
  )
  select
    coalesce(c.whole, 0)::bigint,
    coalesce(c.unused, 0)::bigint,
    case when c.whole > 0 then -div(old_price_cents * c.unused * 2 + c.whole, c.whole * 2) else 0 end::bigint,
    case when c.whole > 0 then div(new_price_cents * c.unused * 2 + c.whole, c.whole * 2) else 0 end::bigint
  from clamped c
$$;

comment on function private.proration(old_price_cents bigint, new_price_cents bigint, period_start timestamp with time zone, period_end timestamp with time zone, at timestamp with time zone) is 'Credit (zero or negative) and charge in cents for changing plans at a moment of a period; both zero without a period.';
revoke execute on function private.proration(old_price_cents bigint, new_price_cents bigint, period_start timestamp with time zone, period_end timestamp with time zone, at timestamp with time zone) from public;

-- Keeps an event of a payment provider; returns its id, the same when it was there already.
create or replace function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_id uuid;
begin
  insert into private.payment_events (provider, provider_event_id, event_type, provider_customer_id, occurred_at, payload)
  values (
    receive_payment_event.provider, receive_payment_event.provider_event_id, receive_payment_event.event_type,
    receive_payment_event.provider_customer_id, receive_payment_event.occurred_at, receive_payment_event.payload
  )
  on conflict on constraint payment_events_provider_event_key do nothing
  returning id into v_id;
  if v_id is null then
    select e.id into strict v_id
    from private.payment_events e
    where e.provider = receive_payment_event.provider and e.provider_event_id = receive_payment_event.provider_event_id;
  end if;
  return v_id;
end
$$;

comment on function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb) is 'Keeps an event of a payment provider; returns its id, the same when it was there already.';
revoke execute on function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb) from public;
grant execute on function private.receive_payment_event(provider text, provider_event_id text, event_type text, provider_customer_id text, occurred_at timestamp with time zone, payload jsonb) to :PLINTH_SERVICE;

-- Adds a row to security.security_audit_log with the request's context.
create or replace function private.record_security_event(event_type text, user_id uuid, event_data jsonb default '{}'::jsonb, severity text default 'info'::text)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  insert into security.security_audit_log
    (user_id, actor_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id)
  values (
    -- The account may be gone (a token of a deleted user), the event still counts. Locked as the foreign key would, so that
    -- it cannot go between the look and the insert.
    (select u.id from identity.users u where u.id = record_security_event.user_id for key share),
    (select u.id from identity.users u where u.id = plinth.current_user_id() for key share),
    record_security_event.event_type,
    coalesce(record_security_event.event_data, '{}'),
    record_security_event.severity,
    session_user,
    plinth.client_ip(),
    left(plinth.user_agent(), 1000),
    plinth.correlation_id()
  )
$$;

comment on function private.record_security_event(event_type text, user_id uuid, event_data jsonb, severity text) is 'Adds a row to security.security_audit_log with the request''s context.';
revoke execute on function private.record_security_event(event_type text, user_id uuid, event_data jsonb, severity text) from public;

-- Adds a row to billing.subscription_changes and to the audit log.
create or replace function private.record_subscription_change(event text, before billing.user_subscriptions, after billing.user_subscriptions, effective_at timestamp with time zone, details jsonb default '{}'::jsonb)
  returns billing.subscription_changes
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_change billing.subscription_changes;
begin
  insert into billing.subscription_changes (
    subscription_id, user_id, event, from_status, to_status, from_plan_id, to_plan_id, credit_cents, charge_cents, currency,
    period_seconds, unused_seconds, tokens_granted, effective_at
  )
  select
    after.id, after.user_id, record_subscription_change.event, before.status, after.status, before.plan_id, after.plan_id,
    coalesce((details ->> 'credit_cents')::bigint, 0), coalesce((details ->> 'charge_cents')::bigint, 0), p.currency,
    (details ->> 'period_seconds')::bigint, (details ->> 'unused_seconds')::bigint,
    coalesce((details ->> 'tokens_granted')::bigint, 0), record_subscription_change.effective_at
  from billing.subscription_plans p
  where p.id = after.plan_id
  returning * into strict v_change;
  perform private.record_security_event(
    'subscription_changed',
    after.user_id,
    jsonb_build_object(
      'subscription_id', after.id, 'change_id', v_change.id, 'event', v_change.event,
      'from_status', v_change.from_status, 'to_status', v_change.to_status
    )
  );
  return v_change;
end
$$;

comment on function private.record_subscription_change(event text, before billing.user_subscriptions, after billing.user_subscriptions, effective_at timestamp with time zone, details jsonb) is 'Adds a row to billing.subscription_changes and to the audit log.';
revoke execute on function private.record_subscription_change(event text, before billing.user_subscriptions, after billing.user_subscriptions, effective_at timestamp with time zone, details jsonb) from public;

-- Recomputes analytics.subscription_metrics without blocking its readers.
create or replace function private.refresh_subscription_metrics()
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  refresh materialized view concurrently analytics.subscription_metrics;
  return 0;
end
$$;

comment on function private.refresh_subscription_metrics() is 'Recomputes analytics.subscription_metrics without blocking its readers.';
revoke execute on function private.refresh_subscription_metrics() from public;
grant execute on function private.refresh_subscription_metrics() to :PLINTH_WORKER;

-- Makes an account with settings, password and the role user; returns its id. 23505 names the taken field.
create or replace function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user_id uuid;
begin
  insert into identity.users (username, email, password_changed_at)
  values (register_user.username, register_user.email, now())
  returning id into v_user_id;

  insert into identity.user_settings (user_id, display_name) values (v_user_id, nullif(trim(register_user.display_name), ''));
  insert into identity.user_security_settings (user_id) values (v_user_id);
  insert into private.user_passwords (user_id, password_hash, hash_algorithm)
  values (v_user_id, register_user.password_hash, register_user.hash_algorithm);
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';

  perform private.record_security_event('user_registered', v_user_id);
  return v_user_id;
end
$$;

comment on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text) is 'Makes an account with settings, password and the role user; returns its id. 23505 names the taken field.';
revoke execute on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text) from public;
grant execute on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text) to :PLINTH_SERVICE;

-- Moves a subscription into its next period by the event renewed or payment_succeeded and grants its tokens.
create or replace function private.renew_subscription(subscription_id uuid, event text, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_before billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_anchor timestamptz;
  v_period record;
begin
  select s.* into strict v_before
  from billing.user_subscriptions s
  where s.id = renew_subscription.subscription_id
  for update;
  select p.* into strict v_plan from billing.subscription_plans p where p.id = v_before.plan_id;
  if v_before.current_period_end is null then
    return private.transition_subscription(v_before.id, renew_subscription.event, renew_subscription.at);
  end if;
  v_anchor := case when v_before.status = 'expired' then renew_subscription.at else v_before.anchor_at end;
  select * into v_period
  from private.subscription_period(
    v_plan.billing_cycle, v_anchor, case when v_before.status = 'expired' then v_anchor else v_before.current_period_end end
  );
  -- A period whose first day fell off the anchor (after a change of plan) begins where the last one ended.
  if v_before.status <> 'expired' then
    v_period.period_start := v_before.current_period_end;
  end if;
  perform private.transition_subscription(
    v_before.id, renew_subscription.event, v_period.period_start,
    case when renew_subscription.event = 'payment_succeeded' then 'renewed' end
  );
  update billing.user_subscriptions s
  set
    anchor_at = v_anchor,
    current_period_start = v_period.period_start,
    current_period_end = v_period.period_end,
    quota_period_start = v_period.period_start,
    quota_period_end = coalesce(v_period.period_end, (v_period.period_start at time zone 'UTC' + interval '1 month') at time zone 'UTC')
  where s.id = v_before.id;
  perform private.grant_quota(v_before.id);
  select s.* into strict v_before from billing.user_subscriptions s where s.id = v_before.id;
  return v_before;
end
$$;

comment on function private.renew_subscription(subscription_id uuid, event text, at timestamp with time zone) is 'Moves a subscription into its next period by the event renewed or payment_succeeded and grants its tokens.';
revoke execute on function private.renew_subscription(subscription_id uuid, event text, at timestamp with time zone) from public;

-- PL403 unless the signed-in user has manage_users and every permission of the account.
create or replace function private.require_administration(user_id uuid)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if not access.has_permission('manage_users') then
    raise exception 'This needs the permission manage_users.' using errcode = 'PL403';
  end if;
  if not access.may_administer(require_administration.user_id) then
    raise exception 'The account may do more than you.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.require_administration(user_id uuid) is 'PL403 unless the signed-in user has manage_users and every permission of the account.';
revoke execute on function private.require_administration(user_id uuid) from public;

-- PL404 without a subscription, PL409 when a payment provider bills it.
create or replace function private.require_own_billing(subscription billing.user_subscriptions)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if subscription.id is null then
    raise exception 'You have no subscription.' using errcode = 'PL404';
  end if;
  -- Changed only here, the provider would go on charging.
  if subscription.provider is not null then
    raise exception 'The subscription is billed by %.', subscription.provider
      using errcode = 'PL409', hint = 'Change it where it is billed: createBillingPortal.';
  end if;
end
$$;

comment on function private.require_own_billing(subscription billing.user_subscriptions) is 'PL404 without a subscription, PL409 when a payment provider bills it.';
revoke execute on function private.require_own_billing(subscription billing.user_subscriptions) from public;

-- PL422 when both plans cost something in different currencies.
create or replace function private.require_same_currency(old_plan billing.subscription_plans, new_plan billing.subscription_plans)
  returns void
  language plpgsql
  immutable
  set search_path to 'pg_catalog'
as $$
begin
  if old_plan.currency <> new_plan.currency and old_plan.price_cents > 0 and new_plan.price_cents > 0 then
    raise exception 'A subscription paid in % cannot change to a plan in %.', old_plan.currency, new_plan.currency
      using errcode = 'PL422', column = 'plan_id';
  end if;
end
$$;

comment on function private.require_same_currency(old_plan billing.subscription_plans, new_plan billing.subscription_plans) is 'PL422 when both plans cost something in different currencies.';
revoke execute on function private.require_same_currency(old_plan billing.subscription_plans, new_plan billing.subscription_plans) from public;

-- PL403 unless the signed-in user has manage_subscriptions.
create or replace function private.require_subscription_manager()
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
as $$
begin
  if not access.has_permission('manage_subscriptions') then
    raise exception 'This needs the permission manage_subscriptions.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.require_subscription_manager() is 'PL403 unless the signed-in user has manage_subscriptions.';
revoke execute on function private.require_subscription_manager() from public;

-- Trigger: revokes the access tokens of a session that ended or was deleted.
create or replace function private.revoke_session_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  insert into private.token_blacklist (kind, subject_id, reason)
  select 'session', old.id, case when tg_op = 'DELETE' then 'session_deleted' else new.end_reason end;
  -- The family dies with its session: a refresh token is live only while its session is.
  return null;
end
$$;

comment on function private.revoke_session_tokens() is 'Trigger: revokes the access tokens of a session that ended or was deleted.';
revoke execute on function private.revoke_session_tokens() from public;

-- Trigger: revokes a user's access tokens when token_version grows or the account is disabled or deleted.
create or replace function private.revoke_user_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  if tg_op = 'DELETE' then
    insert into private.token_blacklist (kind, subject_id, reason)
    values ('user', old.id, 'account_deleted');
    perform private.record_security_event('account_deleted', null, jsonb_build_object('user_id', old.id), 'warning');
    return null;
  end if;
  insert into private.token_blacklist (kind, subject_id, token_version, reason)
  values ('user', new.id, new.token_version, 'token_version_raised');
  if new.account_status <> 'active' then
    update identity.user_sessions s
    set ended_at = now(), end_reason = 'account_disabled'
    where s.user_id = new.id and s.ended_at is null;
  end if;
  return null;
end
$$;

comment on function private.revoke_user_tokens() is 'Trigger: revokes a user''s access tokens when token_version grows or the account is disabled or deleted.';
revoke execute on function private.revoke_user_tokens() from public;

-- Exchanges a refresh token for its successor: rotated, replayed (same successor again) or refused.
create or replace function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea)
  returns table(outcome text, user_id uuid, session_id uuid, token_version integer, sealed bytea, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_token private.refresh_tokens;
  v_successor private.refresh_tokens;
  v_session identity.user_sessions;
  v_user identity.users;
  v_idle_limit interval;
begin
  outcome := 'refused';

  select t.* into v_token from private.refresh_tokens t where t.token_hash = rotate_refresh_token.presented_hash;
  if v_token.id is null then
    return next;
    return;
  end if;

  -- Account before session, the one order of locks (see private.finish_login).
  perform from identity.users u where u.id = v_token.user_id for key share;
  -- The session's row is the family's lock: parallel refreshes, logout and reuse wait for each other here.
  select s.* into v_session from identity.user_sessions s where s.id = v_token.session_id for update;
  select t.* into v_token from private.refresh_tokens t where t.id = v_token.id;
  select u.* into v_user from identity.users u where u.id = v_session.user_id;

  if v_token.id is null or v_session.ended_at is not null or v_user.account_status <> 'active' then
    return next;
    return;
  end if;
  select coalesce(make_interval(mins => ss.session_timeout_minutes), interval '30 days') into v_idle_limit
  from identity.users u
  left join identity.user_security_settings ss on ss.user_id = u.id
  where u.id = v_user.id;
  -- A used token is judged by its use below: a replay must not end the session because the token is old by now.
  if v_session.expires_at <= now()
    or (
      v_token.used_at is null
      and (v_token.expires_at <= now() or v_session.last_activity_at <= now() - v_idle_limit)
    )
  then
    update identity.user_sessions s set ended_at = now(), end_reason = 'expired' where s.id = v_session.id;
    return next;
    return;
  end if;

  if v_token.used_at is not null then
    select t.* into v_successor from private.refresh_tokens t where t.parent_id = v_token.id;
    if v_successor.id is null or v_successor.used_at is not null or v_token.used_at < now() - interval '1 minute' then
      update identity.user_sessions s set ended_at = now(), end_reason = 'token_reuse' where s.id = v_session.id;
      perform private.record_security_event(
        'refresh_token_reused', v_user.id, jsonb_build_object('session_id', v_session.id), 'critical'
      );
      return next;
      return;
    end if;
  end if;

  if not private.network_is_allowed(v_user.id) then
    perform private.record_security_event(
      'refresh_refused', v_user.id,
      jsonb_build_object('session_id', v_session.id, 'reason', 'network_not_allowed'), 'warning'
    );
    return next;
    return;
  end if;

  user_id := v_user.id;
  session_id := v_session.id;
  token_version := v_user.token_version;

  if v_token.used_at is not null then
    outcome := 'replayed';
    sealed := v_token.successor_sealed;
    refresh_expires_at := v_successor.expires_at;
    return next;
    return;
  end if;

  update private.refresh_tokens t
  set used_at = now(), successor_sealed = rotate_refresh_token.successor_sealed
  where t.id = v_token.id;
  refresh_expires_at :=
    private.issue_refresh_token(v_session.id, rotate_refresh_token.successor_hash, v_token.id);
  update identity.user_sessions s
  set
    last_activity_at = now(),
    ip_address = coalesce(plinth.client_ip(), s.ip_address),
    user_agent = coalesce(left(plinth.user_agent(), 1000), s.user_agent)
  where s.id = v_session.id;
  outcome := 'rotated';
  return next;
end
$$;

comment on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) is 'Exchanges a refresh token for its successor: rotated, replayed (same successor again) or refused.';
revoke execute on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) from public;
grant execute on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) to :PLINTH_SERVICE;

-- billing.change_plan for a user at a moment.
create or replace function private.schedule_plan_at(user_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_before billing.user_subscriptions := private.lock_subscriber(schedule_plan_at.user_id, schedule_plan_at.at);
  v_after billing.user_subscriptions;
  v_old billing.subscription_plans;
  v_new billing.subscription_plans;
  v_wanted uuid;
begin
  perform private.require_own_billing(v_before);
  if v_before.status not in ('trialing', 'active') then
    raise exception 'A subscription that is % cannot change its plan.', v_before.status using errcode = 'PL409';
  end if;
  if v_before.current_period_end is null then
    raise exception 'A lifetime plan is paid for good and does not change.' using errcode = 'PL409';
  end if;
  -- The plan one is on: the change that was planned is taken back.
  if schedule_plan_at.plan_id <> v_before.plan_id then
    v_new := private.offered_plan(schedule_plan_at.plan_id);
    select p.* into strict v_old from billing.subscription_plans p where p.id = v_before.plan_id;
    perform private.require_same_currency(v_old, v_new);
    if private.is_upgrade(v_old, v_new) and v_new.price_cents > 0 then
      raise exception 'The plan begins with its payment.'
        using errcode = 'PL402', column = 'plan_id', hint = 'Pay for it: createCheckout.';
    end if;
    v_wanted := v_new.id;
  end if;
  if v_before.pending_plan_id is not distinct from v_wanted then
    raise exception 'That is planned already.' using errcode = 'PL409', column = 'plan_id';
  end if;
  update billing.user_subscriptions s
  set pending_plan_id = v_wanted
  where s.id = v_before.id
  returning s.* into v_after;
  perform private.record_subscription_change(
    case when v_wanted is null then 'change_withdrawn' else 'change_scheduled' end, v_before, v_after, schedule_plan_at.at
  );
  return v_after;
end
$$;

comment on function private.schedule_plan_at(user_id uuid, plan_id uuid, at timestamp with time zone) is 'billing.change_plan for a user at a moment.';
revoke execute on function private.schedule_plan_at(user_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- billing.cancel_subscription and billing.resume_subscription for a user at a moment.
create or replace function private.set_cancellation_at(user_id uuid, cancel boolean, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_before billing.user_subscriptions := private.lock_subscriber(set_cancellation_at.user_id, set_cancellation_at.at);
  v_after billing.user_subscriptions;
begin
  perform private.require_own_billing(v_before);
  if cancel and v_before.status in ('past_due', 'paused') then
    -- There is no paid time left to wait for, or it stands still.
    return private.transition_subscription(v_before.id, 'canceled', set_cancellation_at.at);
  end if;
  if not cancel and v_before.status = 'paused' then
    return private.unpause_subscription(v_before.id, set_cancellation_at.at);
  end if;
  if v_before.current_period_end is null then
    raise exception 'A lifetime plan does not renew.' using errcode = 'PL409';
  end if;
  if v_before.cancel_at_period_end = cancel then
    raise exception 'The subscription % already.', case when cancel then 'ends with its period' else 'renews' end
      using errcode = 'PL409';
  end if;
  update billing.user_subscriptions s
  set cancel_at_period_end = cancel
  where s.id = v_before.id
  returning s.* into v_after;
  perform private.record_subscription_change(
    case when cancel then 'cancellation_scheduled' else 'cancellation_withdrawn' end,
    v_before, v_after, set_cancellation_at.at
  );
  return v_after;
end
$$;

comment on function private.set_cancellation_at(user_id uuid, cancel boolean, at timestamp with time zone) is 'billing.cancel_subscription and billing.resume_subscription for a user at a moment.';
revoke execute on function private.set_cancellation_at(user_id uuid, cancel boolean, at timestamp with time zone) from public;

-- Tries an event and notes the outcome: done, or when it is tried next.
create or replace function private.settle_payment_event(event private.payment_events)
  returns text
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_outcome text;
begin
  begin
    v_outcome := private.apply_payment_event(event);
  exception
    -- Two transactions in each other's way: not the event's fault, and the whole is tried again.
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      v_outcome := 'failed_' || lower(sqlstate);
  end;
  update private.payment_events e
  set
    outcome = v_outcome,
    processed_at = case
      when v_outcome in ('applied', 'ignored', 'kept_current') or e.received_at < now() - interval '30 days' then now()
    end,
    attempts = e.attempts + 1,
    next_attempt_at = now() + least(interval '1 minute' * power(2, least(e.attempts, 12)), interval '1 day')
  where e.id = event.id;
  return v_outcome;
end
$$;

comment on function private.settle_payment_event(event private.payment_events) is 'Tries an event and notes the outcome: done, or when it is tried next.';
revoke execute on function private.settle_payment_event(event private.payment_events) from public;

-- Starts a subscription, on trial or active, and grants its first tokens; 23505 when the user has a current one.
create or replace function private.start_subscription(user_id uuid, plan_id uuid, trial boolean, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_plan billing.subscription_plans;
  v_subscription billing.user_subscriptions;
  v_anchor timestamptz := start_subscription.at;
  v_period record;
  v_quota record;
begin
  select p.* into strict v_plan from billing.subscription_plans p where p.id = start_subscription.plan_id;
  if trial then
    -- Days of 24 hours in UTC. What is paid for begins when the trial ends.
    v_anchor := (start_subscription.at at time zone 'UTC' + make_interval(days => v_plan.trial_days)) at time zone 'UTC';
    select start_subscription.at as period_start, v_anchor as period_end into v_period;
  else
    if v_plan.code = 'free' then
      -- Its tokens come by calendar month, with or without a subscription.
      v_anchor := date_trunc('month', start_subscription.at at time zone 'UTC') at time zone 'UTC';
    end if;
    select * into v_period from private.subscription_period(v_plan.billing_cycle, v_anchor, start_subscription.at);
  end if;
  if v_period.period_end is null then
    select * into v_quota from private.subscription_period('monthly', v_anchor, start_subscription.at);
  else
    v_quota := v_period;
  end if;
  insert into billing.user_subscriptions (
    user_id, plan_id, status, started_at, anchor_at, current_period_start, current_period_end, trial_end,
    quota_period_start, quota_period_end
  ) values (
    start_subscription.user_id, v_plan.id, case when trial then 'trialing' else 'active' end, start_subscription.at,
    v_anchor, v_period.period_start, v_period.period_end, case when trial then v_anchor end,
    v_quota.period_start, v_quota.period_end
  )
  returning * into v_subscription;
  perform private.record_subscription_change(
    case when trial then 'trial_started' else 'started' end, null, v_subscription, start_subscription.at,
    jsonb_build_object('charge_cents', case when trial then 0 else v_plan.price_cents end)
  );
  perform private.grant_quota(v_subscription.id);
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = v_subscription.id;
  return v_subscription;
end
$$;

comment on function private.start_subscription(user_id uuid, plan_id uuid, trial boolean, at timestamp with time zone) is 'Starts a subscription, on trial or active, and grants its first tokens; 23505 when the user has a current one.';
revoke execute on function private.start_subscription(user_id uuid, plan_id uuid, trial boolean, at timestamp with time zone) from public;

-- billing.subscribe for a user at a moment.
create or replace function private.subscribe_at(user_id uuid, plan_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_current billing.user_subscriptions := private.lock_subscriber(subscribe_at.user_id, subscribe_at.at);
  v_plan billing.subscription_plans := private.offered_plan(subscribe_at.plan_id);
  v_on_free_plan boolean := exists (
    select from billing.subscription_plans p where p.id = v_current.plan_id and p.price_cents = 0
  );
begin
  if v_current.id is not null and not (v_on_free_plan and v_plan.price_cents > 0) then
    raise exception 'You have a subscription; change its plan instead.' using errcode = 'PL409';
  end if;
  if v_plan.price_cents > 0
    and (
      v_plan.trial_days = 0
      or exists (
        select
        from billing.user_subscriptions s
        where s.user_id = subscribe_at.user_id and s.trial_end is not null
      )
    )
  then
    raise exception 'The plan begins with its payment.'
      using errcode = 'PL402', column = 'plan_id', hint = 'Pay for it: createCheckout.';
  end if;
  if v_current.id is not null then
    perform private.transition_subscription(v_current.id, 'canceled', subscribe_at.at, 'replaced');
  end if;
  return private.start_subscription(subscribe_at.user_id, v_plan.id, v_plan.price_cents > 0, subscribe_at.at);
end
$$;

comment on function private.subscribe_at(user_id uuid, plan_id uuid, at timestamp with time zone) is 'billing.subscribe for a user at a moment.';
revoke execute on function private.subscribe_at(user_id uuid, plan_id uuid, at timestamp with time zone) from public;

-- First moment of the period around a moment, and of the next; null for lifetime. Counted in months from the anchor, in UTC.
create or replace function private.subscription_period(billing_cycle text, anchor_at timestamp with time zone, at timestamp with time zone)
  returns table(period_start timestamp with time zone, period_end timestamp with time zone)
  language plpgsql
  immutable
  set search_path to 'pg_catalog'
as $$
declare
  v_anchor timestamp := anchor_at at time zone 'UTC';
  v_at timestamp := subscription_period.at at time zone 'UTC';
  v_months integer := case billing_cycle when 'monthly' then 1 when 'yearly' then 12 end;
  v_number integer;
begin
  if v_months is null then
    return query select anchor_at, null::timestamptz;
    return;
  end if;
  v_number := floor(
    (
      (extract(year from v_at) - extract(year from v_anchor)) * 12
      + extract(month from v_at) - extract(month from v_anchor)
    ) / v_months
  );
  if v_anchor + make_interval(months => v_number * v_months) > v_at then
    v_number := v_number - 1;
  end if;
  return query
  select
    (v_anchor + make_interval(months => v_number * v_months)) at time zone 'UTC',
    (v_anchor + make_interval(months => (v_number + 1) * v_months)) at time zone 'UTC';
end
$$;

comment on function private.subscription_period(billing_cycle text, anchor_at timestamp with time zone, at timestamp with time zone) is 'First moment of the period around a moment, and of the next; null for lifetime. Counted in months from the anchor, in UTC.';
revoke execute on function private.subscription_period(billing_cycle text, anchor_at timestamp with time zone, at timestamp with time zone) from public;

-- Moves a subscription by an event of private.subscription_transitions; PL409 when its state does not allow it.
create or replace function private.transition_subscription(subscription_id uuid, event text, at timestamp with time zone, recorded_as text default null::text)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_before billing.user_subscriptions;
  v_after billing.user_subscriptions;
  v_status text;
begin
  select s.* into v_before
  from billing.user_subscriptions s
  where s.id = transition_subscription.subscription_id
  for update;
  if v_before.id is null then
    raise exception 'There is no such subscription.' using errcode = 'PL404';
  end if;
  v_status := (
    select t.to_status
    from private.subscription_transitions t
    where t.from_status = v_before.status and t.event = transition_subscription.event
  );
  if v_status is null then
    raise exception 'A subscription that is % does not allow this (%).', v_before.status, transition_subscription.event
      using errcode = 'PL409';
  end if;
  update billing.user_subscriptions s
  set
    status = v_status,
    past_due_since = case when v_status = 'past_due' then coalesce(s.past_due_since, transition_subscription.at) end,
    paused_at = case when v_status = 'paused' then coalesce(s.paused_at, transition_subscription.at) end,
    ended_at = case
      when v_status in ('canceled', 'expired') then coalesce(s.ended_at, transition_subscription.at)
    end,
    pending_plan_id = case when v_status not in ('canceled', 'expired') then s.pending_plan_id end
  where s.id = v_before.id
  returning s.* into v_after;
  -- Plan tokens end with the plan; those of the free plan are everybody's.
  if v_after.ended_at is not null and v_before.ended_at is null and v_after.quota_granted_from is not null
    and not exists (select from billing.subscription_plans p where p.id = v_after.plan_id and p.code = 'free')
  then
    perform private.close_plan_grant(
      v_after.user_id, v_after.id, transition_subscription.at, 0, transition_subscription.at,
      format('end:%s:%s', v_after.id, extract(epoch from transition_subscription.at))
    );
  end if;
  perform private.record_subscription_change(
    coalesce(recorded_as, transition_subscription.event), v_before, v_after, transition_subscription.at
  );
  return v_after;
end
$$;

comment on function private.transition_subscription(subscription_id uuid, event text, at timestamp with time zone, recorded_as text) is 'Moves a subscription by an event of private.subscription_transitions; PL409 when its state does not allow it.';
revoke execute on function private.transition_subscription(subscription_id uuid, event text, at timestamp with time zone, recorded_as text) from public;

-- Goes on with a paused subscription: the period ends as much later as the pause was long. PL409 when it is not paused.
create or replace function private.unpause_subscription(subscription_id uuid, at timestamp with time zone)
  returns billing.user_subscriptions
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_paused billing.user_subscriptions;
  v_subscription billing.user_subscriptions;
  v_end timestamptz;
begin
  select s.* into strict v_paused
  from billing.user_subscriptions s
  where s.id = unpause_subscription.subscription_id
  for update;
  v_subscription := private.transition_subscription(v_paused.id, 'resumed', unpause_subscription.at);
  v_end := unpause_subscription.at + (v_paused.current_period_end - v_paused.paused_at);
  update billing.user_subscriptions s
  set anchor_at = v_end, current_period_end = v_end, quota_period_end = v_end
  where s.id = v_paused.id
  returning s.* into v_subscription;
  -- Without a limit there was nothing to carry.
  if exists (select from billing.subscription_plans p where p.id = v_subscription.plan_id and p.token_quota is null) then
    perform private.grant_tokens(
      v_subscription.user_id, null, 'plan', v_subscription.id, 100, unpause_subscription.at, v_end,
      format('resume:%s:%s', v_subscription.id, extract(epoch from unpause_subscription.at))
    );
  end if;
  return v_subscription;
end
$$;

comment on function private.unpause_subscription(subscription_id uuid, at timestamp with time zone) is 'Goes on with a paused subscription: the period ends as much later as the pause was long. PL409 when it is not paused.';
revoke execute on function private.unpause_subscription(subscription_id uuid, at timestamp with time zone) from public;

-- Reads the price history of a model to import; USD per million tokens.
create or replace function private.wanted_prices(price_history jsonb)
  returns table(input_price numeric, output_price numeric, cached_input_price numeric, effective_from timestamp with time zone, effective_to timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
as $$
  select
    (h ->> 'input')::numeric(18, 6),
    (h ->> 'output')::numeric(18, 6),
    (h ->> 'inputCached')::numeric(18, 6),
    (h ->> 'from')::date,
    (h ->> 'to')::date
  from jsonb_array_elements(coalesce(price_history, '[]')) h
$$;

comment on function private.wanted_prices(price_history jsonb) is 'Reads the price history of a model to import; USD per million tokens.';
revoke execute on function private.wanted_prices(price_history jsonb) from public;
