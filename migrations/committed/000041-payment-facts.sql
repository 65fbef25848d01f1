--! Previous: sha1:c51722c8974b5a6f131a778af87116d52661d97f
--! Hash: sha1:2990a0ccad07c45b6bd1bf872adf6b5b2f99ce28
--! Message: payment facts

-- What a payment provider tells is kept as facts (invoices, reversals, prices), and what follows from all of them is worked
-- out anew with each event: so a fact that is taken back takes its consequence along, whatever came first.

-- One invoice of a subscription: which regular periods it bills, and what became of it.
create table private.provider_invoices (
  provider text not null,
  provider_payment_id text not null,
  provider_subscription_id text not null,
  lines jsonb not null default '[]',
  renews boolean not null default false,
  amount_cents bigint not null default 0,
  paid_order text,
  failed_order text,
  primary key (provider, provider_payment_id),
  constraint provider_invoices_subscription_fkey
    foreign key (provider, provider_subscription_id) references private.provider_subscriptions on delete cascade,
  constraint provider_invoices_lines_is_an_array check (jsonb_typeof(lines) = 'array'),
  constraint provider_invoices_amount_cents_is_not_negative check (amount_cents >= 0)
);

alter table private.provider_invoices enable row level security;

-- Serves the foreign key and the conclusion of a subscription.
create index provider_invoices_subscription_idx on private.provider_invoices (provider, provider_subscription_id);

comment on table private.provider_invoices is 'One row per invoice or purchase of a subscription at a payment provider, also of those that asked for nothing.';
comment on column private.provider_invoices.provider is 'The payment provider, such as stripe.';
comment on column private.provider_invoices.provider_payment_id is 'The provider''s id of the invoice or purchase.';
comment on column private.provider_invoices.provider_subscription_id is 'The provider''s id of the subscription.';
comment on column private.provider_invoices.lines is 'Its lines for a whole period (JSON array of price or plan, start, end in seconds); no prorations and no single items.';
comment on column private.provider_invoices.renews is 'Whether it bills the next period, so that the subscription is unpaid when it fails.';
comment on column private.provider_invoices.amount_cents is 'Amount paid, or asked for while it is unpaid, in the currency''s smallest unit.';
comment on column private.provider_invoices.paid_order is 'Rank of the event that said it was paid; null if none did.';
comment on column private.provider_invoices.failed_order is 'Rank of the latest event that said an attempt failed; null if none did.';

-- Money that went back, or may: each can be taken back itself.
create table private.payment_reversals (
  payment_id uuid not null references billing.payments on delete cascade,
  kind text not null,
  reversal_key text not null,
  amount_cents bigint not null default 0,
  is_in_force boolean not null,
  occurred_at timestamptz not null,
  latest_order text not null,
  primary key (payment_id, kind, reversal_key),
  constraint payment_reversals_kind_check check (kind in ('refunded', 'refund_failed', 'disputed')),
  constraint payment_reversals_amount_cents_is_not_negative check (amount_cents >= 0)
);

alter table private.payment_reversals enable row level security;

comment on table private.payment_reversals is 'One row per charge with refunds, failed refund, or dispute of a payment, as its latest event tells it.';
comment on column private.payment_reversals.payment_id is 'The payment.';
comment on column private.payment_reversals.kind is 'refunded (sum of a charge''s refunds), refund_failed (one refund that did not arrive) or disputed.';
comment on column private.payment_reversals.reversal_key is 'The provider''s id of the charge, refund or dispute; earlier for what was known before the ids were kept.';
comment on column private.payment_reversals.amount_cents is 'Amount in the currency''s smallest unit; 0 for disputes, which concern all of it.';
comment on column private.payment_reversals.is_in_force is 'Whether it counts: false for an inquiry, and for a dispute that was won or prevented.';
comment on column private.payment_reversals.occurred_at is 'Time of the earliest event about it.';
comment on column private.payment_reversals.latest_order is 'Rank of the latest event about it.';

alter table private.provider_subscriptions
  add column items jsonb,
  add column price_history jsonb not null default '{}',
  add column cancel_at timestamptz,
  add column standing text,
  add column paid_plan_id uuid references billing.subscription_plans on delete restrict,
  add constraint provider_subscriptions_price_history_is_an_object check (jsonb_typeof(price_history) = 'object');

-- Serves the foreign key.
create index provider_subscriptions_paid_plan_id_idx on private.provider_subscriptions (paid_plan_id);

comment on table private.provider_subscriptions is
  'One row per subscription at a payment provider: what its own events say, and what follows from them and its invoices.';
comment on column private.provider_subscriptions.status is
  'State by the latest event about the subscription itself: incomplete, trialing, active, past_due, paused or canceled.';
comment on column private.provider_subscriptions.was_live is 'Whether it ever was trialing, active, past_due or paused.';
comment on column private.provider_subscriptions.provider_price_id is 'Concluded: the price of the plan''s item; null when it is unknown.';
comment on column private.provider_subscriptions.plan_id is 'Concluded: the plan; null while no price of it is known.';
comment on column private.provider_subscriptions.period_start is 'Concluded: start of the current period.';
comment on column private.provider_subscriptions.period_end is 'Concluded: end of the current period; null for life.';
comment on column private.provider_subscriptions.paid_period_end is
  'Concluded: until when the current period is paid; infinity for life, null when it is not paid or the money went back.';
comment on column private.provider_subscriptions.revoked_period_end is
  'Concluded: end of the current period if its money went back, infinity for life; null if not.';
comment on column private.provider_subscriptions.items is
  'Items by the latest event about the subscription itself (JSON array of price, start, end in seconds).';
comment on column private.provider_subscriptions.price_history is
  'Prices of the items by each of the latest 50 events about the subscription itself (JSON object by rank of the event).';
comment on column private.provider_subscriptions.cancel_at is 'When the provider will end it, by the latest event about the subscription itself; null for never.';
comment on column private.provider_subscriptions.standing is 'Concluded: the state, with what its invoices say since the latest event about the subscription itself.';
comment on column private.provider_subscriptions.paid_plan_id is 'Concluded: the plan whose price was paid for the current period; null when none was.';

-- What was known before goes on as facts.
update private.provider_subscriptions m
set
  items = jsonb_build_array(
    jsonb_strip_nulls(
      jsonb_build_object(
        'price', m.provider_price_id, 'plan', m.plan_id,
        'start', extract(epoch from m.period_start), 'end', extract(epoch from m.period_end)
      )
    )
  )
where (m.provider_price_id is not null or m.plan_id is not null)
  and m.paid_period_end is distinct from 'infinity';

insert into private.provider_invoices (provider, provider_payment_id, provider_subscription_id, lines, amount_cents, paid_order)
select
  p.provider, p.provider_payment_id, p.provider_subscription_id,
  case
    when p.plan_id is null or p.period_start is null then '[]'
    else jsonb_build_array(
      jsonb_strip_nulls(
        jsonb_build_object(
          'plan', p.plan_id, 'start', extract(epoch from p.period_start), 'end', extract(epoch from p.period_end)
        )
      )
    )
  end,
  p.amount_cents,
  case
    when p.paid_at is not null then lpad(floor(extract(epoch from p.paid_at))::bigint::text, 12, '0') || '.20.earlier'
  end
from billing.payments p
join private.provider_subscriptions m
  on m.provider = p.provider and m.provider_subscription_id = p.provider_subscription_id;

-- A period that was paid with nothing (a full discount) left no payment.
insert into private.provider_invoices (provider, provider_payment_id, provider_subscription_id, lines, paid_order)
select
  m.provider, 'earlier ' || m.provider_subscription_id, m.provider_subscription_id,
  jsonb_build_array(
    jsonb_strip_nulls(
      jsonb_build_object(
        'price', m.provider_price_id, 'plan', m.plan_id,
        'start', extract(epoch from m.period_start), 'end', extract(epoch from nullif(m.paid_period_end, 'infinity'))
      )
    )
  ),
  '000000000000.20.earlier'
from private.provider_subscriptions m
where m.paid_period_end > m.period_start
  and (m.provider_price_id is not null or m.plan_id is not null)
  and not exists (
    select
    from billing.payments p
    where p.provider = m.provider
      and p.provider_subscription_id = m.provider_subscription_id
      and p.paid_at is not null
      and p.plan_id is not null
      and p.period_start is not null
      and coalesce(p.period_end, 'infinity') = m.paid_period_end
  );

insert into private.payment_reversals (payment_id, kind, reversal_key, amount_cents, is_in_force, occurred_at, latest_order)
select p.id, 'refunded', 'earlier', p.refunded_cents, true, p.updated_at, ''
from billing.payments p
where p.refunded_cents > 0
union all
select p.id, 'disputed', 'earlier', 0, true, p.disputed_at, ''
from billing.payments p
where p.disputed_at is not null;

update private.provider_subscriptions m set standing = m.status;

-- A provider's word ends and revives what it bills; nothing else comes back from canceled.
alter table private.subscription_transitions add column is_providers boolean not null default false;
comment on column private.subscription_transitions.is_providers is 'Whether the step is only for what a payment provider bills.';

insert into private.subscription_transitions (from_status, event, to_status, is_providers)
select f.status, 'provider_' || t.status, t.status, true
from unnest(array['canceled', 'expired']) f (status)
cross join unnest(array['trialing', 'active', 'past_due', 'paused']) t (status);

--! Included billing/triggers/subscriptions.sql
-- Subscribers agreed to a plan's terms: an offer changes by a new version, which supersedes the earlier one.
create or replace function billing.number_plan_version()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  -- One version at a time; uses a separate lock because the first version has no row to lock.
  perform pg_advisory_xact_lock(hashtextextended(concat_ws(' ', 'plinth plan', new.code, new.billing_cycle, new.currency), 0));
  new.version := 1 + coalesce(
    (
      select max(p.version)
      from billing.subscription_plans p
      where p.code = new.code and p.billing_cycle = new.billing_cycle and p.currency = new.currency
    ),
    0
  );
  update billing.subscription_plans p
  set superseded_at = now()
  where p.code = new.code
    and p.billing_cycle = new.billing_cycle
    and p.currency = new.currency
    and p.superseded_at is null;
  new.superseded_at := null;
  return new;
end
$$;

comment on function billing.number_plan_version() is 'Trigger: numbers a new version of an offer and supersedes the previous one.';

create or replace trigger _100_number_version
  before insert on billing.subscription_plans
  for each row
  execute function billing.number_plan_version();

create or replace function billing.keep_plan_terms()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if (
    old.code, old.version, old.billing_cycle, old.price_cents, old.currency, old.trial_days, old.token_quota,
    old.rollover_limit, old.features, old.access_level
  ) is distinct from (
    new.code, new.version, new.billing_cycle, new.price_cents, new.currency, new.trial_days, new.token_quota,
    new.rollover_limit, new.features, new.access_level
  ) then
    raise exception 'The terms of a plan cannot be changed. Create a new version with revisePlan.' using errcode = 'PL409';
  end if;
  return new;
end
$$;

comment on function billing.keep_plan_terms() is 'Trigger: rejects changes to the terms of a plan''s version (PL409).';

create or replace trigger _100_keep_terms
  before update on billing.subscription_plans
  for each row
  execute function billing.keep_plan_terms();

create or replace trigger _900_touch_updated_at
  before update on billing.subscription_plans
  for each row
  execute function plinth.touch_updated_at();

-- Plans and prices concern money: every change is an event, from any writer and by any path.
create or replace function billing.record_plan_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_row jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
begin
  perform private.record_security_event(
    case tg_table_name when 'plan_prices' then 'plan_price_changed' else 'plan_changed' end,
    null,
    jsonb_build_object('operation', lower(tg_op))
      || (v_row - array['features', 'plan_name', 'created_at', 'updated_at', 'superseded_at'])
  );
  return null;
end
$$;

comment on function billing.record_plan_change() is 'Trigger: records a change of plans or their prices in the audit log.';

create or replace trigger _500_record_change
  after insert or update or delete on billing.subscription_plans
  for each row
  execute function billing.record_plan_change();

create or replace trigger _500_record_change
  after insert or update or delete on billing.plan_prices
  for each row
  execute function billing.record_plan_change();

-- No transition outside the state machine, not even from psql.
create or replace function billing.check_subscription_status()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if not exists (
    select
    from private.subscription_transitions t
    where t.from_status = old.status
      and t.to_status = new.status
      and (new.provider is not null or not t.is_providers)
  ) then
    raise exception 'A subscription with status % cannot become %.', old.status, new.status using errcode = 'PL409';
  end if;
  return new;
end
$$;

comment on function billing.check_subscription_status() is
  'Trigger: rejects transitions that private.subscription_transitions does not list (PL409).';

create or replace trigger _100_check_status
  before update of status on billing.user_subscriptions
  for each row
  when (old.status <> new.status)
  execute function billing.check_subscription_status();

-- Generated columns are not computed yet when it runs.
create or replace trigger _900_touch_updated_at
  before update on billing.user_subscriptions
  for each row
  execute function plinth.touch_updated_at('renewal_date', 'due_at');

create or replace trigger _900_touch_updated_at
  before update on billing.payments
  for each row
  execute function plinth.touch_updated_at('status');

create or replace trigger _900_touch_updated_at
  before update on private.provider_subscriptions
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded billing/triggers/subscriptions.sql
--! Included private/functions/plan_period.sql
-- Chooses the plan's entry among several items or lines: one whose price sells a plan (or that names one); of several the highest
-- plan's, then the latest. Position means nothing: an add-on may come before it and a single item after.
create or replace function private.plan_period(provider text, lines jsonb)
  returns table (plan_id uuid, provider_price_id text, period_start timestamptz, period_end timestamptz)
  language sql
  stable
  set search_path = pg_catalog
as $$
  select
    p.id,
    l.line ->> 'price',
    to_timestamp((l.line ->> 'start')::double precision),
    to_timestamp((l.line ->> 'end')::double precision)
  from jsonb_array_elements(lines) l (line)
  join billing.subscription_plans p
    on p.id = coalesce(
      (l.line ->> 'plan')::uuid,
      (
        select pp.plan_id
        from billing.plan_prices pp
        where pp.provider = plan_period.provider and pp.provider_price_id = l.line ->> 'price'
      )
    )
  order by p.access_level desc, p.price_cents desc, (l.line ->> 'end')::double precision desc nulls first, p.id
  limit 1
$$;

comment on function private.plan_period(text, jsonb) is
  'Returns the plan, its price and its period among items or lines of a provider; no row when no price there sells a plan.';
--! EndIncluded private/functions/plan_period.sql
--! Included private/functions/provider_payments.sql
-- The plan of an invoice or purchase, and its period if it is for a whole one. A proration has a plan but no period.
create or replace function private.payment_period(provider text, news jsonb)
  returns table (plan_id uuid, period_start timestamptz, period_end timestamptz)
  language sql
  stable
  set search_path = pg_catalog
as $$
  select
    coalesce(
      (select sp.id from billing.subscription_plans sp where sp.id = (news ->> 'plan_id')::uuid),
      b.plan_id,
      case when news ? 'lines' then (select a.plan_id from private.plan_period(payment_period.provider, news -> 'lines') a) end
    ),
    case when news ? 'lines' then b.period_start else to_timestamp((news ->> 'period_start')::double precision) end,
    case when news ? 'lines' then b.period_end else to_timestamp((news ->> 'period_end')::double precision) end
  from (values (true)) one (row)
  left join lateral private.plan_period(
    payment_period.provider,
    case
      when news ? 'lines' then jsonb_path_query_array(news -> 'lines', '$[*] ? (@.regular == true)')
      else jsonb_build_array(jsonb_build_object('price', news -> 'price'))
    end
  ) b on true
$$;

comment on function private.payment_period(text, jsonb) is
  'Returns the plan of an event''s payment and its period; null without one.';

-- The data of one event about returned money. A refund may fail, and a dispute may be an inquiry or be won. Each is therefore
-- stored by its own id with its latest state, and the payment shows the sum of those in force.
create or replace function private.merge_payment_reversal(payment_id uuid, event_order text, occurred_at timestamptz, news jsonb)
  returns billing.payments
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_kind text := case news ->> 'kind' when 'refund' then 'refunded' when 'dispute' then 'disputed' else news ->> 'kind' end;
  v_payment billing.payments;
begin
  insert into private.payment_reversals as r (payment_id, kind, reversal_key, amount_cents, is_in_force, occurred_at, latest_order)
  values (
    merge_payment_reversal.payment_id, v_kind,
    coalesce(news ->> 'reversal', news ->> 'reference', news ->> 'payment'),
    coalesce((news ->> 'refunded')::bigint, 0),
    -- Events stored by an older version omit it.
    coalesce((news ->> 'in_force')::boolean, true),
    merge_payment_reversal.occurred_at, event_order
  )
  on conflict on constraint payment_reversals_pkey do update
  set
    amount_cents = case when excluded.latest_order collate "C" >= r.latest_order collate "C" then excluded.amount_cents else r.amount_cents end,
    is_in_force = case when excluded.latest_order collate "C" >= r.latest_order collate "C" then excluded.is_in_force else r.is_in_force end,
    occurred_at = least(r.occurred_at, excluded.occurred_at),
    latest_order = greatest(r.latest_order collate "C", excluded.latest_order collate "C");
  -- The event repeats data stored before ids were kept.
  delete from private.payment_reversals r
  where r.payment_id = merge_payment_reversal.payment_id
    and r.kind = v_kind
    and r.reversal_key = 'earlier';

  update billing.payments p
  set
    refunded_cents = least(greatest(s.refunded, 0), p.amount_cents),
    disputed_at = s.disputed_at
  from (
    select
      coalesce(sum(r.amount_cents) filter (where r.kind = 'refunded'), 0)
      -- A later state of the charge excludes the refunds that failed before it.
      - coalesce(
        sum(r.amount_cents) filter (
          where r.kind = 'refund_failed' and r.is_in_force and r.latest_order collate "C" > coalesce(c.latest_order, '') collate "C"
        ),
        0
      ) as refunded,
      min(r.occurred_at) filter (where r.kind = 'disputed' and r.is_in_force) as disputed_at
    from private.payment_reversals r
    cross join (
      select max(o.latest_order collate "C") as latest_order
      from private.payment_reversals o
      where o.payment_id = merge_payment_reversal.payment_id and o.kind = 'refunded'
    ) c
    where r.payment_id = merge_payment_reversal.payment_id
  ) s
  where p.id = merge_payment_reversal.payment_id
  returning p.* into strict v_payment;
  return v_payment;
end
$$;

comment on function private.merge_payment_reversal(uuid, text, timestamptz, jsonb) is
  'Merges one event''s data of a refund or dispute and returns the payment with their sum; the order of calls makes no difference.';
--! EndIncluded private/functions/provider_payments.sql
--! Included private/functions/merge_provider_subscription.sql
-- Merges the data of one event about a provider's subscription itself into the known data. Merging is commutative and idempotent,
-- so events may arrive late, twice and in any order. event_order ranks the event; the status canceled ranks above all, because no
-- provider revives a canceled subscription. private.merge_provider_invoice stores invoices.
create or replace function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_status text := case when news ->> 'kind' <> 'invoice' then news ->> 'status' end;
  v_order text collate "C" := case when v_status = 'canceled' then 'z' else '' end || event_order;
  v_object_order text collate "C" := case when news ->> 'kind' = 'subscription' then event_order end;
  -- Events stored by an older version name one item only.
  v_items jsonb := coalesce(
    news -> 'items',
    jsonb_build_array(
      jsonb_strip_nulls(
        jsonb_build_object('price', news -> 'price', 'start', news -> 'period_start', 'end', news -> 'period_end')
      )
    )
  );
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
    started_at = least(m.started_at, to_timestamp((news ->> 'started_at')::double precision)),
    ended_at = least(m.ended_at, to_timestamp((news ->> 'ended_at')::double precision))
  where m.provider = merge_provider_subscription.provider
    and m.provider_subscription_id = merge_provider_subscription.provider_subscription_id;

  if v_object_order is null then
    return;
  end if;
  update private.provider_subscriptions m
  set
    price_history = (
      select coalesce(jsonb_object_agg(h.key, h.value), '{}')
      from (
        select e.key, e.value
        from jsonb_each(
          m.price_history
          || jsonb_build_object(v_object_order, jsonb_path_query_array(v_items, '$[*].price'))
        ) e
        order by e.key collate "C" desc
        limit 50
      ) h
    )
  where m.provider = merge_provider_subscription.provider
    and m.provider_subscription_id = merge_provider_subscription.provider_subscription_id;

  update private.provider_subscriptions m
  set
    items = v_items,
    cancel_at_period_end = coalesce((news ->> 'cancel_at_period_end')::boolean, false),
    cancel_at = to_timestamp((news ->> 'cancel_at')::double precision),
    trial_end = to_timestamp((news ->> 'trial_end')::double precision),
    object_order = v_object_order
  where m.provider = merge_provider_subscription.provider
    and m.provider_subscription_id = merge_provider_subscription.provider_subscription_id
    and v_object_order >= coalesce(m.object_order, '') collate "C";
end
$$;

comment on function private.merge_provider_subscription(text, text, text, jsonb) is
  'Merges one event''s data of a subscription itself into private.provider_subscriptions; the order of calls makes no difference.';

-- The data of one event about an invoice or purchase. Only lines for a whole period are stored: a proration, a single item or a
-- credit is money, but not a paid or owed period.
create or replace function private.merge_provider_invoice(provider text, event_order text, news jsonb)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  insert into private.provider_invoices as i (
    provider, provider_payment_id, provider_subscription_id, lines, renews, amount_cents, paid_order, failed_order
  )
  select
    merge_provider_invoice.provider, coalesce(news ->> 'payment', news ->> 'subscription'), news ->> 'subscription',
    case
      when news ? 'lines' then jsonb_path_query_array(news -> 'lines', '$[*] ? (@.regular == true)')
      -- A purchase, or an event stored by an older version.
      when news ->> 'plan_id' is not null or news ->> 'period_end' is not null or (news ->> 'for_life')::boolean then
        jsonb_build_array(
          jsonb_strip_nulls(
            jsonb_build_object(
              'plan', news -> 'plan_id', 'price', news -> 'price', 'start', news -> 'period_start', 'end', news -> 'period_end'
            )
          )
        )
      else '[]'
    end,
    coalesce((news ->> 'renews')::boolean, news ->> 'status' = 'past_due', false),
    coalesce((news ->> 'amount')::bigint, 0),
    case when (news ->> 'paid')::boolean then event_order end,
    case when not (news ->> 'paid')::boolean then event_order end
  on conflict on constraint provider_invoices_pkey do update
  set
    lines = case when excluded.lines = '[]' then i.lines else excluded.lines end,
    renews = i.renews or excluded.renews,
    amount_cents = case
      when i.paid_order is not null and excluded.paid_order is null then i.amount_cents
      else excluded.amount_cents
    end,
    paid_order = least(i.paid_order collate "C", excluded.paid_order collate "C"),
    failed_order = greatest(i.failed_order collate "C", excluded.failed_order collate "C")
$$;

comment on function private.merge_provider_invoice(text, text, jsonb) is
  'Merges one event''s data of an invoice or purchase into private.provider_invoices; the order of calls makes no difference.';
--! EndIncluded private/functions/merge_provider_subscription.sql
--! Included private/functions/conclude_provider_subscription.sql
-- Recomputes the state of a subscription from all known facts and nothing else: earlier conclusions and the order of arrival do
-- not count. The subscription object is authoritative; its invoices tell what came after. Only an invoice with a line for a whole
-- period of a plan counts: prorations, single items and add-ons neither pay nor owe a period.
create or replace function private.conclude_provider_subscription(provider text, provider_subscription_id text)
  returns private.provider_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_known private.provider_subscriptions;
  v_item record;
  v_newest record;
  v_sums record;
begin
  select m.* into strict v_known
  from private.provider_subscriptions m
  where m.provider = conclude_provider_subscription.provider
    and m.provider_subscription_id = conclude_provider_subscription.provider_subscription_id;
  select b.* into v_item from private.plan_period(v_known.provider, coalesce(v_known.items, '[]')) b;

  -- An invoice newer than the latest state of the subscription knows of the next period. A failed invoice counts only if it
  -- renews: an unpaid upgrade is no upgrade.
  select b.plan_id, b.provider_price_id, b.period_start, b.period_end, i.paid_order is not null as is_paid into v_newest
  from private.provider_invoices i
  cross join lateral private.plan_period(i.provider, i.lines) b
  where i.provider = v_known.provider
    and i.provider_subscription_id = v_known.provider_subscription_id
    and (i.paid_order is not null or i.renews)
    and (
      v_item.plan_id is null
      or v_item.period_start is null
      or (
        greatest(i.paid_order collate "C", i.failed_order collate "C") > coalesce(v_known.object_order, '') collate "C"
        and coalesce(b.period_end, 'infinity') > coalesce(v_item.period_end, 'infinity')
      )
    )
  order by coalesce(b.period_end, 'infinity') desc, b.period_start desc, i.paid_order nulls last, i.provider_payment_id
  limit 1;
  v_known.plan_id := case
    when v_newest.is_paid then v_newest.plan_id
    else coalesce(v_item.plan_id, v_newest.plan_id)
  end;
  v_known.provider_price_id := case
    when v_newest.is_paid then v_newest.provider_price_id
    else coalesce(v_item.provider_price_id, v_newest.provider_price_id)
  end;
  v_known.period_start := coalesce(v_newest.period_start, v_item.period_start);
  v_known.period_end := case when v_newest.period_start is not null then v_newest.period_end else v_item.period_end end;

  -- The invoices for the current period.
  select
    bool_or(i.paid_order is not null and not r.is_given_back) as is_paid,
    bool_or(r.is_given_back) as is_given_back,
    max(coalesce(i.period_end, 'infinity')) filter (where i.paid_order is not null and not r.is_given_back) as paid_until,
    (array_agg(i.plan_id order by i.period_start desc, i.paid_order collate "C", i.provider_payment_id)
      filter (where i.paid_order is not null))[1] as paid_plan_id,
    min(i.paid_order collate "C") filter (where i.paid_order is not null and i.amount_cents > 0) as paid_order,
    max(i.failed_order collate "C") filter (where i.paid_order is null and i.renews) as failed_order,
    min(i.period_start) as first_start
  into v_sums
  from (
    select v.*, b.plan_id, b.period_start, b.period_end
    from private.provider_invoices v
    cross join lateral private.plan_period(v.provider, v.lines) b
    where v.provider = v_known.provider and v.provider_subscription_id = v_known.provider_subscription_id
  ) i
  cross join lateral (
    select exists (
      select
      from billing.payments p
      where p.provider = i.provider
        and p.provider_payment_id = i.provider_payment_id
        and p.status in ('refunded', 'disputed')
    ) as is_given_back
  ) r
  where i.period_start < coalesce(v_known.period_end, 'infinity')
    and coalesce(i.period_end, 'infinity') >= coalesce(v_known.period_end, 'infinity');

  v_known.standing := case
    when v_known.status in ('canceled', 'paused') then v_known.status
    when coalesce(v_known.status in ('incomplete', 'trialing', 'past_due'), true)
      and v_sums.paid_order > coalesce(v_known.status_order, '') collate "C"
    then 'active'
    when coalesce(v_known.status in ('trialing', 'active'), true)
      and v_sums.paid_order is null
      and v_sums.failed_order > coalesce(v_known.status_order, '') collate "C"
    then 'past_due'
    else v_known.status
  end;
  update private.provider_subscriptions m
  set
    plan_id = v_known.plan_id,
    provider_price_id = v_known.provider_price_id,
    period_start = v_known.period_start,
    period_end = v_known.period_end,
    standing = v_known.standing,
    was_live = m.was_live or coalesce(v_known.standing in ('trialing', 'active', 'past_due', 'paused'), false),
    paid_period_end = v_sums.paid_until,
    paid_plan_id = v_sums.paid_plan_id,
    -- A refund of the current period makes it unpaid, unless another invoice paid for it.
    revoked_period_end = case
      when v_sums.is_given_back and not v_sums.is_paid then coalesce(v_known.period_end, 'infinity')
    end
  where m.provider = v_known.provider and m.provider_subscription_id = v_known.provider_subscription_id
  returning m.* into strict v_known;
  -- Only events give the final value; until one arrives, the earliest period is the best guess.
  v_known.started_at := coalesce(v_known.started_at, least(v_sums.first_start, v_known.period_start));
  return v_known;
end
$$;

comment on function private.conclude_provider_subscription(text, text) is
  'Computes a subscription''s state, plan, period and payment from all events of its provider, and stores them.';
--! EndIncluded private/functions/conclude_provider_subscription.sql
--! Included private/functions/quota_of_walk.sql
-- The tokens of a period in which the plan changed: the first quota, then a share for the rest of the period at each change.
--
--   quotas  1000, 4000       at 100 %, 50 %         2500: half of the difference more
--   quotas  1000, 4000, 1000, 4000                  the same as without switching back and forth
--   quotas  1000, 4000, 1000, 9000                  the same as from 1000 to 9000, or the tokens of 4000 if more
--
-- Upgrades build a staircase. A downgrade removes the steps above it, so that a later upgrade counts from there and tokens of
-- removed steps are not granted twice. The result is never less than one direct change from the first plan would grant, and never
-- less than was granted before. Null is unlimited and counts as nothing itself.
create or replace function private.quota_of_walk(quotas bigint[], unused_seconds bigint[], period_seconds bigint)
  returns bigint
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  -- More than any plan grants.
  c_unlimited constant bigint := 2000000000000000;
  v_first bigint := coalesce(quotas[1], 0);
  v_steps bigint[] := array[v_first];
  v_lefts bigint[] := array[period_seconds];
  v_quota bigint;
  v_left bigint;
  v_gone_left bigint;
  v_sum bigint;
  v_most bigint := v_first;
begin
  for i in 2..cardinality(quotas) loop
    v_quota := coalesce(quotas[i], c_unlimited);
    v_left := least(greatest(unused_seconds[i], 0), v_lefts[cardinality(v_lefts)]);
    v_gone_left := null;
    while v_steps[cardinality(v_steps)] > v_quota loop
      v_gone_left := v_lefts[cardinality(v_lefts)];
      v_steps := trim_array(v_steps, 1);
      v_lefts := trim_array(v_lefts, 1);
      exit when cardinality(v_steps) = 0;
    end loop;
    if cardinality(v_steps) = 0 or v_steps[cardinality(v_steps)] < v_quota then
      -- A downgrade to between two steps counts as if the higher step had led there.
      v_steps := v_steps || v_quota;
      v_lefts := v_lefts || coalesce(v_gone_left, v_left);
    end if;
    continue when quotas[i] is null;
    v_sum := v_steps[1];
    for k in 2..cardinality(v_steps) loop
      v_sum := v_sum + div(v_steps[k]::numeric * v_lefts[k], period_seconds)
        - div(v_steps[k - 1]::numeric * v_lefts[k], period_seconds);
    end loop;
    v_most := greatest(
      v_most, v_sum,
      v_first + div(v_quota::numeric * v_left, period_seconds) - div(v_first::numeric * v_left, period_seconds)
    );
  end loop;
  return v_most;
end
$$;

comment on function private.quota_of_walk(bigint[], bigint[], bigint) is
  'Returns the tokens due for a period whose plan changed: quotas in order, and the seconds left of the period at the start of each. Switching back and forth neither gains nor loses tokens.';
--! EndIncluded private/functions/quota_of_walk.sql
--! Included private/functions/top_up_quota.sql
-- The plans of a subscription's quota period in order, with their start times. For provider billing the source is the provider's
-- events, in any order of arrival: first the plan whose price was paid. Otherwise it is the history here.
create or replace function private.plans_of_period(subscription billing.user_subscriptions)
  returns table (plan_id uuid, began_at timestamptz)
  language sql
  stable
  set search_path = pg_catalog
as $$
  with told as (
    select
      to_timestamp(split_part(h.key, '.', 1)::double precision) as began_at,
      h.key collate "C" as rank,
      b.plan_id,
      m.paid_plan_id
    from private.provider_subscriptions m
    cross join lateral jsonb_each(m.price_history) h
    cross join lateral private.plan_period(
      m.provider,
      (select coalesce(jsonb_agg(jsonb_build_object('price', p.price)), '[]') from jsonb_array_elements(h.value) p (price))
    ) b
    where m.provider = subscription.provider and m.provider_subscription_id = subscription.provider_subscription_id
  ),
  steps as (
    -- The plan that was paid, or that the period began with.
    (
      select coalesce(t.paid_plan_id, t.plan_id) as plan_id, '-infinity'::timestamptz as began_at, '' collate "C" as rank
      from told t
      order by t.began_at <= subscription.quota_period_start desc,
        case when t.began_at <= subscription.quota_period_start then t.rank end desc, t.rank
      limit 1
    )
    union all
    select t.plan_id, t.began_at, t.rank
    from told t
    where t.began_at > subscription.quota_period_start and t.began_at < subscription.quota_period_end
    union all
    select c.to_plan_id, c.effective_at, c.id::text
    from billing.subscription_changes c
    where subscription.provider is null
      and c.subscription_id = subscription.id
      and c.from_plan_id <> c.to_plan_id
      and c.effective_at >= subscription.quota_period_start
      and c.effective_at < subscription.quota_period_end
  )
  select s.plan_id, greatest(s.began_at, subscription.quota_period_start) from steps s order by s.rank
$$;

comment on function private.plans_of_period(billing.user_subscriptions) is
  'Returns the plans of a subscription''s quota period in order, with their start times.';

-- Adjusts the tokens of a period to the amount due for its plans so far (private.quota_of_walk). A late event may show that less
-- was due; then the unused excess is removed.
create or replace function private.top_up_quota(subscription_id uuid, at timestamptz)
  returns bigint
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_subscription billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_period text;
  v_first bigint;
  v_quotas bigint[];
  v_lefts bigint[];
  v_from timestamptz;
  v_whole bigint;
  v_missing bigint;
  v_number integer;
  v_locked timestamptz;
  v_grant record;
begin
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = top_up_quota.subscription_id;
  select p.* into strict v_plan from billing.subscription_plans p where p.id = v_subscription.plan_id;
  if v_subscription.status not in ('trialing', 'active')
    or v_subscription.quota_granted_from is distinct from v_subscription.quota_period_start
  then
    return 0;
  end if;
  v_whole := floor(extract(epoch from v_subscription.quota_period_end)) - floor(extract(epoch from v_subscription.quota_period_start));
  if v_plan.token_quota is not null then
    perform private.close_unlimited_grants(v_subscription.user_id, v_subscription.id, top_up_quota.at);
  end if;
  if v_plan.code = 'free' or v_whole <= 0 then
    return 0;
  end if;

  v_period := format('%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start));
  select count(*) into v_number
  from billing.token_grants g
  where g.user_id = v_subscription.user_id and starts_with(g.idempotency_key, 'upgrade:' || v_period);

  if v_plan.token_quota is null then
    if top_up_quota.at < v_subscription.quota_period_end
      and not exists (
        select
        from billing.token_grants g
        where g.user_id = v_subscription.user_id
          and g.source = 'plan'
          and g.source_id = v_subscription.id
          and g.amount is null
          and g.closed_at is null
          and g.expires_at >= v_subscription.quota_period_end
      )
    then
      perform private.grant_tokens(
        v_subscription.user_id, null, 'plan', v_subscription.id, 100,
        greatest(top_up_quota.at, v_subscription.quota_period_start), v_subscription.quota_period_end,
        format('upgrade:%s:%s', v_period, v_number)
      );
    end if;
    return 0;
  end if;

  select
    array_agg(p.token_quota order by w.number),
    array_agg(
      floor(extract(epoch from v_subscription.quota_period_end))::bigint - floor(extract(epoch from w.began_at))::bigint
      order by w.number
    ),
    max(w.began_at)
  into v_quotas, v_lefts, v_from
  from private.plans_of_period(v_subscription) with ordinality w (plan_id, began_at, number)
  join billing.subscription_plans p on p.id = w.plan_id;
  if v_subscription.provider is null then
    -- The tokens granted at the start of the period, and the current plan.
    select g.amount into v_first
    from billing.token_grants g
    where g.user_id = v_subscription.user_id and g.idempotency_key = 'plan:' || v_period;
    v_quotas := v_first || coalesce(v_quotas, '{}') || v_plan.token_quota;
    v_lefts := v_whole || coalesce(v_lefts, '{}')
      || (floor(extract(epoch from v_subscription.quota_period_end)) - floor(extract(epoch from top_up_quota.at)))::bigint;
    v_from := greatest(top_up_quota.at, v_subscription.quota_period_start);
  end if;
  if v_quotas is null then
    return 0;
  end if;

  v_locked := private.lock_usage(v_subscription.user_id, now());
  v_missing := private.quota_of_walk(v_quotas, v_lefts, v_whole) - coalesce(
    (
      select sum(g.amount)
      from billing.token_grants g
      where g.user_id = v_subscription.user_id
        and (g.idempotency_key = 'plan:' || v_period or starts_with(g.idempotency_key, 'upgrade:' || v_period))
    ),
    0
  );
  if v_missing > 0 then
    v_from := coalesce(v_from, top_up_quota.at);
    if v_from < v_subscription.quota_period_end then
      perform private.grant_tokens(
        v_subscription.user_id, v_missing, 'plan', v_subscription.id, 100, v_from, v_subscription.quota_period_end,
        format('upgrade:%s:%s', v_period, v_number)
      );
      return v_missing;
    end if;
  elsif v_missing < 0 and v_subscription.provider is not null then
    for v_grant in
      select g.id, least(g.amount - g.consumed - g.held, -v_missing) as unused
      from billing.token_grants g
      where g.user_id = v_subscription.user_id
        and (g.idempotency_key = 'plan:' || v_period or starts_with(g.idempotency_key, 'upgrade:' || v_period))
        and g.amount > g.consumed + g.held
      order by g.starts_at desc, g.id desc
    loop
      update billing.token_grants g
      set amount = g.amount - least(v_grant.unused, -v_missing)
      where g.id = v_grant.id;
      v_missing := v_missing + least(v_grant.unused, -v_missing);
      exit when v_missing = 0;
    end loop;
  end if;
  return 0;
end
$$;

comment on function private.top_up_quota(uuid, timestamptz) is
  'Grants the tokens due for the plans of a subscription''s current period beyond those already granted; returns their number.';

-- A subscription revived in the period in which it ended gets the rest of its tokens back.
create or replace function private.reopen_plan_grants(subscription_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_subscription billing.user_subscriptions;
  v_period text;
  v_locked timestamptz;
begin
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = reopen_plan_grants.subscription_id;
  v_period := format('%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start));
  v_locked := private.lock_usage(v_subscription.user_id, now());
  update billing.token_grants g
  set expires_at = v_subscription.quota_period_end, closed_at = null, retired_at = null
  where g.user_id = v_subscription.user_id
    and g.closed_at is not null
    and g.amount is not null
    and (g.idempotency_key = 'plan:' || v_period or starts_with(g.idempotency_key, 'upgrade:' || v_period))
    and g.starts_at <= v_subscription.quota_period_end;
end
$$;

comment on function private.reopen_plan_grants(uuid) is
  'Reopens the grants of a subscription''s current period that ended with the subscription.';
--! EndIncluded private/functions/top_up_quota.sql
--! Included private/functions/close_unlimited_grants.sql
-- Unlimited tokens end with their plan. Limited grants stay, so that a returning user loses nothing.
create or replace function private.close_unlimited_grants(user_id uuid, source_id uuid, closed_at timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_locked timestamptz;
  v_last uuid;
begin
  v_locked := private.lock_usage(close_unlimited_grants.user_id, now());
  with closed as (
    update billing.token_grants g
    set expires_at = greatest(close_unlimited_grants.closed_at, g.starts_at), closed_at = now()
    where g.user_id = close_unlimited_grants.user_id
      and g.source = 'plan'
      and g.source_id = close_unlimited_grants.source_id
      and g.amount is null
      and g.closed_at is null
    returning g.id
  )
  select max(c.id::text)::uuid into v_last from closed c;
  if v_last is not null then
    insert into private.usage_keys (user_id, operation, idempotency_key, arguments, amount)
    values (
      close_unlimited_grants.user_id, 'close_grant', format('unlimited-end:%s', v_last),
      jsonb_build_array(
        close_unlimited_grants.source_id, extract(epoch from close_unlimited_grants.closed_at), 0,
        extract(epoch from close_unlimited_grants.closed_at)
      ),
      0
    );
  end if;
end
$$;

comment on function private.close_unlimited_grants(uuid, uuid, timestamptz) is
  'Ends the unlimited plan grants of a source; limited ones stay.';
--! EndIncluded private/functions/close_unlimited_grants.sql
--! Included private/functions/grant_quota.sql
-- Only these two functions grant plan tokens in the ledger. A key for each period makes each grant happen once.

create or replace function private.free_plan()
  returns billing.subscription_plans
  language sql
  stable
  set search_path = pg_catalog
as $$
  select p
  from billing.subscription_plans p
  where p.code = 'free' and p.superseded_at is null and p.is_active
  order by p.currency = 'USD' desc, p.currency
  limit 1
$$;

comment on function private.free_plan() is 'Returns the free plan on offer, the one in USD first; null without one.';

-- The free plan's tokens: once per calendar month (UTC) and user, subscribed to it or to no plan.
create or replace function private.grant_free_quota(user_id uuid, at timestamptz)
  returns boolean
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_month timestamptz := date_trunc('month', grant_free_quota.at at time zone 'UTC') at time zone 'UTC';
  v_next timestamptz := (date_trunc('month', grant_free_quota.at at time zone 'UTC') + interval '1 month') at time zone 'UTC';
  v_plan billing.subscription_plans := private.free_plan();
begin
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

comment on function private.grant_free_quota(uuid, timestamptz) is
  'Grants the free plan''s tokens of the month unless the user has them; returns whether it did.';

-- The quota of a subscription's current period. For a plan billed by a provider, the payment of the period triggers the grant,
-- not the provider's report that the next period has begun.
create or replace function private.grant_quota(subscription_id uuid)
  returns boolean
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_subscription billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_first billing.subscription_plans;
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
    -- An upgrade in the middle of a period may be known before its first payment: the period began with the plan paid for.
    select p.* into v_first
    from private.plans_of_period(v_subscription) w
    join billing.subscription_plans p on p.id = w.plan_id
    where v_subscription.provider is not null
    order by w.began_at
    limit 1;
    if v_first.id is null then
      v_first := v_plan;
    end if;
    if v_first.token_quota is distinct from 0 then
      perform private.grant_tokens(
        v_subscription.user_id, v_first.token_quota, 'plan', v_subscription.id, 100, v_subscription.quota_period_start,
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

comment on function private.grant_quota(uuid) is
  'Grants the tokens of a subscription''s quota period once, carrying over what the plan allows; returns whether it did.';
--! EndIncluded private/functions/grant_quota.sql
--! Included private/functions/transition_subscription.sql
-- One step of the state machine. The caller holds the account's row lock.
create or replace function private.transition_subscription(
  subscription_id uuid,
  event text,
  at timestamptz,
  recorded_as text default null
)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_before billing.user_subscriptions;
  v_after billing.user_subscriptions;
  v_status text;
  v_end timestamptz;
  v_last timestamptz;
  v_change billing.subscription_changes;
begin
  select s.* into v_before
  from billing.user_subscriptions s
  where s.id = transition_subscription.subscription_id
  for update;
  if v_before.id is null then
    raise exception 'Subscription not found.' using errcode = 'PL404';
  end if;
  v_status := (
    select t.to_status
    from private.subscription_transitions t
    where t.from_status = v_before.status
      and t.event = transition_subscription.event
      and (v_before.provider is not null or not t.is_providers)
  );
  if v_status is null then
    raise exception 'A subscription with status % does not allow this (%).', v_before.status, transition_subscription.event
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
  v_change := private.record_subscription_change(
    coalesce(recorded_as, transition_subscription.event), v_before, v_after, transition_subscription.at
  );
  -- Plan tokens end with the plan; tokens of the free plan belong to every user.
  if v_after.ended_at is not null and v_before.ended_at is null and v_after.quota_granted_from is not null
    and not exists (select from billing.subscription_plans p where p.id = v_after.plan_id and p.code = 'free')
  then
    -- An end dated by the provider before the grant of the period's tokens still removes them, and those of an upgrade.
    v_end := greatest(transition_subscription.at, v_after.quota_period_start);
    v_last := (
      select max(g.starts_at)
      from billing.token_grants g
      where g.user_id = v_after.user_id and g.source = 'plan' and g.source_id = v_after.id and g.closed_at is null
    );
    if v_last >= v_end then
      v_end := v_last + interval '1 microsecond';
    end if;
    -- A revived subscription may end again at the same moment: the key belongs to the change.
    perform private.close_plan_grant(v_after.user_id, v_after.id, v_end, 0, v_end, format('end:%s', v_change.id));
  end if;
  return v_after;
end
$$;

comment on function private.transition_subscription(uuid, text, timestamptz, text) is
  'Moves a subscription by an event of private.subscription_transitions; PL409 when its state does not allow it.';
--! EndIncluded private/functions/transition_subscription.sql
--! Included private/functions/change_subscription_plan.sql
-- Upgrades take effect at once and all other changes at the end of the period. An upgrade is more access; at the same access, a
-- longer commitment; at the same cycle, a higher price.
create or replace function private.is_upgrade(old_plan billing.subscription_plans, new_plan billing.subscription_plans)
  returns boolean
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select
    (new_plan.access_level, array_position(array['monthly', 'yearly', 'lifetime'], new_plan.billing_cycle), new_plan.price_cents)
    > (old_plan.access_level, array_position(array['monthly', 'yearly', 'lifetime'], old_plan.billing_cycle), old_plan.price_cents)
$$;

comment on function private.is_upgrade(billing.subscription_plans, billing.subscription_plans) is
  'Returns whether a change from one plan to the other takes effect at once.';

create or replace function private.require_same_currency(old_plan billing.subscription_plans, new_plan billing.subscription_plans)
  returns void
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  if old_plan.currency <> new_plan.currency and old_plan.price_cents > 0 and new_plan.price_cents > 0 then
    raise exception 'A subscription paid in % cannot change to a plan in %.', old_plan.currency, new_plan.currency
      using errcode = 'PL422', column = 'plan_id';
  end if;
end
$$;

comment on function private.require_same_currency(billing.subscription_plans, billing.subscription_plans) is
  'Raises PL422 when both plans cost something in different currencies.';

-- Changes the plan in the middle of a period, with proration and tokens. In the same cycle the period stays. Another cycle, or
-- the first paid plan, starts a new period that is charged in full. During a trial nothing is owed and the trial's end stays.
-- Tokens: the difference of the two quotas for the rest of the period, rounded down; granted tokens stay. Switching back and
-- forth neither gains nor loses tokens (private.quota_of_walk).
create or replace function private.change_subscription_plan(subscription_id uuid, plan_id uuid, at timestamptz)
  returns billing.subscription_changes
  language plpgsql
  volatile
  set search_path = pg_catalog
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
    raise exception 'Subscription or plan not found.' using errcode = 'PL404', column = 'plan_id';
  end if;
  if v_before.status not in ('trialing', 'active') then
    raise exception 'A subscription with status % cannot change its plan.', v_before.status using errcode = 'PL409';
  end if;
  if v_old.id = v_new.id then
    raise exception 'The subscription is already on that plan.' using errcode = 'PL409', column = 'plan_id';
  end if;
  if v_old.billing_cycle = 'lifetime' then
    raise exception 'A lifetime plan cannot be changed.' using errcode = 'PL409', column = 'plan_id';
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
    update billing.user_subscriptions s
    set plan_id = v_new.id, pending_plan_id = null
    where s.id = v_before.id;
    v_tokens := private.top_up_quota(v_before.id, change_subscription_plan.at);
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

comment on function private.change_subscription_plan(uuid, uuid, timestamptz) is
  'Changes the plan of a trialing or active subscription at once; returns the change with its proration. PL409, PL422.';
--! EndIncluded private/functions/change_subscription_plan.sql
--! Included private/functions/apply_provider_subscription.sql
-- Makes the user's subscription match its provider. The result depends on the known facts only, not on the last event, so the
-- function can be called at any time. Returns applied, or what it waits for.
create or replace function private.apply_provider_subscription(provider text, provider_subscription_id text, at timestamptz)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
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
  v_cancels boolean;
  v_by_clock boolean;
  v_revives boolean := true;
  v_other text;
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
  -- Account first: the global lock order.
  perform from identity.users u where u.id = v_user_id for no key update;
  update private.provider_subscriptions m
  set user_id = v_user_id
  where m.provider = apply_provider_subscription.provider
    and m.provider_subscription_id = apply_provider_subscription.provider_subscription_id;
  v_known := private.conclude_provider_subscription(
    apply_provider_subscription.provider, apply_provider_subscription.provider_subscription_id
  );
  -- Payments that arrived before their user was known.
  update billing.payments p
  set user_id = v_user_id
  where p.provider = v_known.provider
    and p.provider_subscription_id = v_known.provider_subscription_id
    and p.user_id is null;
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = v_known.plan_id;
  if v_plan.id is null then
    return 'waiting_for_price';
  end if;
  if v_known.period_start is null then
    return 'waiting_for_period';
  end if;
  if not v_known.was_live then
    -- Never paid: an abandoned checkout.
    return 'applied';
  end if;
  v_status := v_known.standing;
  v_cancels := v_known.cancel_at_period_end or coalesce(v_known.cancel_at <= v_known.period_end, false);
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

  -- Our own clock ends a subscription when the provider is silent. The provider revives it only if it knows of time after that
  -- end. A subscription that ended because of a refund is revived when the money is back.
  if v_subscription.status in ('canceled', 'expired') then
    v_revives := coalesce(v_known.period_end, 'infinity') > v_subscription.ended_at;
    if v_subscription.status = 'expired' then
      select c.event = 'grace_ended' into v_by_clock
      from billing.subscription_changes c
      where c.subscription_id = v_subscription.id and c.to_status = 'expired' and c.from_status is distinct from 'expired'
      order by c.id desc
      limit 1;
      v_revives := not coalesce(v_by_clock, false) or (v_revives and v_status <> 'past_due');
    end if;
  end if;

  if v_status in ('trialing', 'active', 'past_due', 'paused') and v_revives then
    select s.* into v_current
    from billing.user_subscriptions s
    where s.user_id = v_user_id
      and s.status in ('trialing', 'active', 'past_due', 'paused')
      and s.id is distinct from v_subscription.id;
    if v_current.id is not null then
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
      v_cancels,
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
      cancel_at_period_end = v_cancels,
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
      when v_status = 'canceled' then 'canceled'
      when v_status = 'expired' then case when v_subscription.status <> 'canceled' then 'revoked' end
      when not v_revives then null
      when v_subscription.status = 'expired' and v_by_clock and v_status = 'active' then 'payment_succeeded'
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
      if v_subscription.ended_at is not null
        and v_status in ('trialing', 'active', 'past_due', 'paused')
        and v_subscription.quota_granted_from = v_subscription.quota_period_start
      then
        perform private.reopen_plan_grants(v_subscription.id);
      end if;
    end if;
  end if;
  update billing.payments p
  set subscription_id = v_subscription.id
  where p.provider = v_known.provider
    and p.provider_subscription_id = v_known.provider_subscription_id
    and p.subscription_id is null;
  perform private.grant_quota(v_subscription.id);
  perform private.top_up_quota(v_subscription.id, apply_provider_subscription.at);

  -- Another subscription that was set aside for this one takes its place.
  if v_status in ('canceled', 'expired') then
    for v_other in
      select m.provider_subscription_id
      from private.provider_subscriptions m
      where m.user_id = v_user_id
        and m.provider = v_known.provider
        and m.provider_subscription_id <> v_known.provider_subscription_id
        and m.standing in ('trialing', 'active', 'past_due', 'paused')
        and m.revoked_period_end is null
      order by m.started_at, m.provider_subscription_id
    loop
      perform private.apply_provider_subscription(v_known.provider, v_other, apply_provider_subscription.at);
    end loop;
  end if;
  return 'applied';
end
$$;

comment on function private.apply_provider_subscription(text, text, timestamptz) is
  'Makes a user''s subscription match its provider''s events; returns applied, kept_current or waiting_for_….';

-- The provider has changed the plan and charged for it; the history holds the amount it should have charged.
create or replace function private.follow_provider_plan(
  subscription billing.user_subscriptions,
  plan billing.subscription_plans,
  known private.provider_subscriptions,
  at timestamptz
)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
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
  update billing.user_subscriptions s
  set plan_id = plan.id, pending_plan_id = null
  where s.id = subscription.id
  returning s.* into v_after;
  if v_same_period then
    v_tokens := private.top_up_quota(subscription.id, follow_provider_plan.at);
  end if;
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

comment on function private.follow_provider_plan(
  billing.user_subscriptions, billing.subscription_plans, private.provider_subscriptions, timestamptz
) is 'Moves a subscription to the plan that its provider bills, with its proration in the history.';
--! EndIncluded private/functions/apply_provider_subscription.sql
--! Included private/functions/apply_payment_event.sql
-- Applies one event of the inbox. Each fact is stored with the rank of the latest event about it, so an older event that arrives
-- later reverts nothing. Returns applied, ignored, kept_current or what it waits for.
create or replace function private.apply_payment_event(event private.payment_events)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_news jsonb := event.payload;
  v_kind text := v_news ->> 'kind';
  v_user_id uuid;
  v_payment billing.payments;
  -- Seconds of the provider's clock, then the later stage in a subscription's life, then any fixed order.
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
  -- Account first: the global lock order.
  perform from identity.users u where u.id = v_user_id for no key update;

  if v_kind in ('invoice', 'purchase') then
    insert into billing.payments as p (
      user_id, plan_id, provider, provider_payment_id, provider_reference, provider_subscription_id, amount_cents, currency,
      period_start, period_end, paid_at, failed_at, failure_code
    )
    select
      v_user_id, f.plan_id, event.provider, v_news ->> 'payment', v_news ->> 'reference', v_news ->> 'subscription',
      (v_news ->> 'amount')::bigint, upper(v_news ->> 'currency'), f.period_start, f.period_end,
      case when (v_news ->> 'paid')::boolean then event.occurred_at end,
      case when not (v_news ->> 'paid')::boolean then event.occurred_at end,
      v_news ->> 'failure_code'
    from private.payment_period(event.provider, v_news) f
    -- Nothing was charged (a trial, a full discount), so there is no payment.
    where (v_news ->> 'amount')::bigint > 0
    on conflict on constraint payments_provider_payment_key do update
    set
      user_id = coalesce(p.user_id, excluded.user_id),
      plan_id = coalesce(p.plan_id, excluded.plan_id),
      period_start = coalesce(p.period_start, excluded.period_start),
      period_end = coalesce(p.period_end, excluded.period_end),
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
  elsif v_kind in ('refund', 'refund_failed', 'dispute') then
    select p.* into v_payment
    from billing.payments p
    where p.provider = event.provider
      and (p.provider_payment_id in (v_news ->> 'payment', v_news ->> 'reference') or p.provider_reference = v_news ->> 'reference')
    order by p.provider_payment_id = v_news ->> 'payment' desc nulls last, p.id
    limit 1;
    if v_payment.id is null then
      return 'waiting_for_payment';
    end if;
    v_payment := private.merge_payment_reversal(v_payment.id, v_order, event.occurred_at, v_news);
    if exists (
      select
      from private.provider_subscriptions m
      where m.provider = event.provider and m.provider_subscription_id = v_payment.provider_subscription_id
    ) then
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
  if v_kind in ('invoice', 'purchase') or (v_news ->> 'for_life')::boolean then
    perform private.merge_provider_invoice(event.provider, v_order, v_news);
  end if;
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

comment on function private.apply_payment_event(private.payment_events) is
  'Applies an event of a payment provider; returns applied, ignored, kept_current or waiting_for_….';
--! EndIncluded private/functions/apply_payment_event.sql
drop function private.grant_quota_difference(
  billing.user_subscriptions, billing.subscription_plans, billing.subscription_plans, bigint, bigint, timestamptz
);
