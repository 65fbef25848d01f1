call compat.number_rows('headphone', 'subscriptions', 'billing.user_subscriptions', 'user_id');

create view compat_headphone.subscriptions as
select
  x.number as id,
  u.number as user_id,
  case when p.code = 'free' then 'free' else 'premium' end as plan_type,
  s.current_period_end as renewal_date,
  case
    when s.status = 'expired' then 'expired'
    when s.status in ('canceled', 'paused') or s.cancel_at_period_end then 'canceled'
    else 'active'
  end as status
from billing.user_subscriptions s
join billing.subscription_plans p on p.id = s.plan_id
join plinth.external_ids x on x.system = 'headphone' and x.relation = 'subscriptions' and x.row_id = s.id
join plinth.external_ids u on u.system = 'headphone' and u.relation = 'users' and u.row_id = s.user_id
where s.id = (
  select n.id
  from billing.user_subscriptions n
  where n.user_id = s.user_id
  order by n.started_at desc, n.id desc
  limit 1
);

comment on view compat_headphone.subscriptions is 'Newest subscriptions. Grain: one row per account that ever had one.';
comment on column compat_headphone.subscriptions.id is 'Number of the subscription.';
comment on column compat_headphone.subscriptions.user_id is 'Number of the account.';
comment on column compat_headphone.subscriptions.plan_type is 'free, or premium for each other plan.';
comment on column compat_headphone.subscriptions.renewal_date is 'End of the current period; null for a plan without an end.';
comment on column compat_headphone.subscriptions.status is
  'active, canceled (ended, paused, or ending with its period) or expired.';

create function compat_headphone.plan_of(plan_type text)
  returns uuid
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
declare
  v_plan_id uuid;
begin
  if plan_of.plan_type not in ('free', 'premium') then
    raise exception 'The plan must be free or premium.' using errcode = '23514', column = 'plan_type';
  end if;
  select p.id into v_plan_id
  from billing.subscription_plans p
  where p.is_active and p.superseded_at is null and (p.code = 'free') = (plan_of.plan_type = 'free')
  order by p.code = 'premium' desc, p.billing_cycle = 'monthly' desc, p.price_cents, p.id
  limit 1;
  if v_plan_id is null then
    raise exception 'No % plan is offered.', plan_of.plan_type using errcode = 'PL404', column = 'plan_type';
  end if;
  return v_plan_id;
end
$$;

comment on function compat_headphone.plan_of(text) is
  'Returns the plan for free or premium: the one called premium, or the cheapest. PL404 without one.';

create function compat_headphone.set_subscription(user_id uuid, plan_type text, status text, renewal_date timestamptz)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_current billing.user_subscriptions;
  v_plan text;
begin
  -- A plan costs money, so that no user's claims are enough.
  perform compat.check_user(null);
  if set_subscription.status not in ('active', 'canceled', 'expired') then
    raise exception 'The status must be active, canceled or expired.' using errcode = '23514', column = 'status';
  end if;
  v_current := private.lock_subscriber(set_subscription.user_id, now());
  v_plan := (select case when p.code = 'free' then 'free' else 'premium' end from billing.subscription_plans p where p.id = v_current.plan_id);
  if v_current.id is null or v_plan <> set_subscription.plan_type then
    v_current := private.grant_subscription_at(
      set_subscription.user_id, compat_headphone.plan_of(set_subscription.plan_type), now()
    );
  end if;
  if set_subscription.renewal_date > v_current.current_period_start
    and set_subscription.renewal_date is distinct from v_current.current_period_end
  then
    perform private.require_own_billing(v_current);
    update billing.user_subscriptions s
    set
      anchor_at = set_subscription.renewal_date,
      current_period_end = set_subscription.renewal_date,
      quota_period_end = set_subscription.renewal_date
    where s.id = v_current.id;
  end if;
  if set_subscription.status = 'expired' then
    perform private.transition_subscription(v_current.id, 'revoked', now());
  elsif v_current.cancel_at_period_end <> (set_subscription.status = 'canceled') then
    perform private.set_cancellation_at(set_subscription.user_id, set_subscription.status = 'canceled', now());
  end if;
end
$$;

comment on function compat_headphone.set_subscription(uuid, text, text, timestamptz) is
  'Moves the subscription of an account to a plan, status and end of its period, as the state machine allows. PL403 if the application acts for a user, PL404, PL409.';
grant execute on function compat_headphone.set_subscription(uuid, text, text, timestamptz) to :PLINTH_APPLICATION;

create function compat_headphone.write_subscriptions()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  perform compat_headphone.set_subscription(
    compat.row_id('headphone', 'users', new.user_id), coalesce(new.plan_type, 'free'), coalesce(new.status, 'active'), new.renewal_date
  );
  if tg_op = 'INSERT' and new.id is not null then
    perform compat.renumber('headphone', 'subscriptions', compat.row_id('headphone', 'subscriptions', v.id), new.id)
    from compat_headphone.subscriptions v
    where v.user_id = new.user_id;
  end if;
  select v.* into new from compat_headphone.subscriptions v where v.user_id = new.user_id;
  return new;
end
$$;

comment on function compat_headphone.write_subscriptions() is 'Trigger: starts, changes, cancels and ends subscriptions.';

call compat.write_through('headphone', 'subscriptions', 'insert or update');

grant insert, update (plan_type, renewal_date, status) on compat_headphone.subscriptions to :PLINTH_APPLICATION;
