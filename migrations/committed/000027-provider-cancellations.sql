--! Previous: sha1:82619f6f0abee78e8e3099b5b770d4832143abc3
--! Hash: sha1:8b05bab65f44eb99aa43d9095061c360220d9c62
--! Message: provider cancellations

-- Who deletes an account must not go on paying for it: what the account still has at a payment provider is written down when it
-- goes, and a job cancels it there.

create table private.provider_cancellations (
  provider text not null,
  provider_subscription_id text not null,
  requested_at timestamptz not null default now(),
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  last_error text,
  primary key (provider, provider_subscription_id)
);

alter table private.provider_cancellations enable row level security;

create index provider_cancellations_next_attempt_at_idx on private.provider_cancellations (next_attempt_at);

comment on table private.provider_cancellations is
  'One row per subscription at a payment provider that has to be cancelled there because its account was deleted; gone when that is done.';
comment on column private.provider_cancellations.provider is 'The payment provider, such as stripe.';
comment on column private.provider_cancellations.provider_subscription_id is 'The provider''s id.';
comment on column private.provider_cancellations.requested_at is 'When the account was deleted.';
comment on column private.provider_cancellations.attempts is 'How often the provider was asked.';
comment on column private.provider_cancellations.next_attempt_at is 'When it may be asked again.';
comment on column private.provider_cancellations.last_error is 'Kind of the last failure; null before the first.';

--! Included private/functions/provider_cancellations.sql
-- Leases what is due to one worker. A worker that dies loses nothing: the lease ends and another one asks again, which is
-- harmless, because what is cancelled stays cancelled.
create or replace function private.take_provider_cancellations(
  provider text,
  batch_size integer,
  lease interval default '2 minutes'
)
  returns table (provider_subscription_id text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  if batch_size is null or batch_size not between 1 and 1000 then
    raise exception 'batch_size must be from 1 to 1000.' using errcode = 'PL422';
  end if;
  return query
    with due as (
      select o.provider_subscription_id
      from private.provider_cancellations o
      where o.provider = take_provider_cancellations.provider and o.next_attempt_at <= now()
      order by o.next_attempt_at
      limit batch_size
      for update skip locked
    )
    update private.provider_cancellations c
    set attempts = c.attempts + 1, next_attempt_at = clock_timestamp() + lease
    from due
    where c.provider = take_provider_cancellations.provider and c.provider_subscription_id = due.provider_subscription_id
    returning c.provider_subscription_id;
end
$$;

comment on function private.take_provider_cancellations(text, integer, interval) is
  'Leases up to batch_size subscriptions to the caller, who cancels them at the provider and calls private.finish_provider_cancellation for each.';
grant execute on function private.take_provider_cancellations(text, integer, interval) to :PLINTH_WORKER;

-- A failure waits a minute, doubling up to a day, and is never given up: somebody is paying.
create or replace function private.finish_provider_cancellation(provider text, provider_subscription_id text, error text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  if error is null then
    delete from private.provider_cancellations c
    where c.provider = finish_provider_cancellation.provider
      and c.provider_subscription_id = finish_provider_cancellation.provider_subscription_id;
  else
    update private.provider_cancellations c
    set
      last_error = left(error, 200),
      next_attempt_at = clock_timestamp() + least(interval '1 day', interval '1 minute' * power(2, least(c.attempts, 12) - 1))
    where c.provider = finish_provider_cancellation.provider
      and c.provider_subscription_id = finish_provider_cancellation.provider_subscription_id;
  end if;
end
$$;

comment on function private.finish_provider_cancellation(text, text, text) is
  'Forgets a subscription that was cancelled (error null), or says when it is tried again.';
grant execute on function private.finish_provider_cancellation(text, text, text) to :PLINTH_WORKER;
--! EndIncluded private/functions/provider_cancellations.sql
--! Included private/triggers/provider_subscriptions.sql
-- Runs when an account's provider subscriptions go with it. A row that is deleted by hand while its account stays cancels
-- nothing, and neither does what was bought for life: there is nothing to cancel.
create or replace function private.request_provider_cancellation()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if old.status in ('incomplete', 'trialing', 'active', 'past_due', 'paused')
    and old.paid_period_end is distinct from 'infinity'
    and not exists (select from identity.users u where u.id = old.user_id)
  then
    insert into private.provider_cancellations (provider, provider_subscription_id)
    values (old.provider, old.provider_subscription_id)
    on conflict on constraint provider_cancellations_pkey do nothing;
  end if;
  return null;
end
$$;

comment on function private.request_provider_cancellation() is
  'Trigger: asks for what a deleted account still has at a payment provider to be cancelled there.';

create or replace trigger _500_request_provider_cancellation
  after delete on private.provider_subscriptions
  for each row
  when (old.user_id is not null)
  execute function private.request_provider_cancellation();
--! EndIncluded private/triggers/provider_subscriptions.sql
