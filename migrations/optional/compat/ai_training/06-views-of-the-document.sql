create view compat_ai_training.active_user_subscriptions as
select
  s.id as subscription_id,
  s.user_id,
  s.plan_id,
  p.code as plan_code,
  p.plan_name,
  s.status,
  p.billing_cycle,
  compat_ai_training.major_units(p.price_cents, p.currency) as price,
  p.currency,
  p.features,
  p.access_level,
  s.started_at,
  s.current_period_start,
  s.current_period_end,
  s.trial_end,
  s.cancel_at_period_end
from billing.user_subscriptions s
join billing.subscription_plans p on p.id = s.plan_id
where s.status in ('trialing', 'active', 'past_due');

comment on view compat_ai_training.active_user_subscriptions is 'Subscriptions that give access now, with their plans. Grain: one row per user who has one.';
comment on column compat_ai_training.active_user_subscriptions.subscription_id is 'The subscription.';
comment on column compat_ai_training.active_user_subscriptions.user_id is 'The subscriber.';
comment on column compat_ai_training.active_user_subscriptions.plan_id is 'The plan.';
comment on column compat_ai_training.active_user_subscriptions.plan_code is 'Code of the plan.';
comment on column compat_ai_training.active_user_subscriptions.plan_name is 'Name of the plan.';
comment on column compat_ai_training.active_user_subscriptions.status is 'State: trialing, active or past_due.';
comment on column compat_ai_training.active_user_subscriptions.billing_cycle is 'Billing cycle: monthly, yearly or lifetime.';
comment on column compat_ai_training.active_user_subscriptions.price is 'Price of one period in units of the currency.';
comment on column compat_ai_training.active_user_subscriptions.currency is 'Currency (ISO 4217 code).';
comment on column compat_ai_training.active_user_subscriptions.features is 'Features of the plan (JSON object).';
comment on column compat_ai_training.active_user_subscriptions.access_level is
  'Highest access level of content that the plan includes.';
comment on column compat_ai_training.active_user_subscriptions.started_at is 'Time when the subscription started.';
comment on column compat_ai_training.active_user_subscriptions.current_period_start is 'Start of the period.';
comment on column compat_ai_training.active_user_subscriptions.current_period_end is
  'End of the period, exclusive; null for lifetime plans.';
comment on column compat_ai_training.active_user_subscriptions.trial_end is 'End of the trial; null without one.';
comment on column compat_ai_training.active_user_subscriptions.cancel_at_period_end is 'Whether it ends with the period.';

create view compat_ai_training.user_content_access as
select u.id as user_id, i.id as content_id, a.has_access, a.reason, a.required_access_level
from identity.users u
cross join learning.content_items i
cross join lateral compat_ai_training.content_access(u.id, i.id) a;

comment on view compat_ai_training.user_content_access is 'Access of users to content. Grain: one row per user and item. Filter by user or by item.';
comment on column compat_ai_training.user_content_access.user_id is 'The user.';
comment on column compat_ai_training.user_content_access.content_id is 'The item.';
comment on column compat_ai_training.user_content_access.has_access is 'Whether the user may read the text of the item.';
comment on column compat_ai_training.user_content_access.reason is 'Reason, such as plan, permission, denied or plan_required.';
comment on column compat_ai_training.user_content_access.required_access_level is 'Access level that a plan needs.';

create view compat_ai_training.user_activity_summary as
select
  u.id as user_id,
  c.sessions,
  g.active_seconds as time_spent_seconds,
  g.items_started,
  g.items_completed,
  round(g.items_completed::numeric / nullif(g.items_started, 0), 4) as completion_rate,
  l.logins,
  l.failed_logins,
  u.last_login_at,
  g.last_activity_at
from identity.users u
cross join lateral (
  select count(*) as sessions from learning.content_consumption s where s.user_id = u.id
) c
cross join lateral (
  -- Courses are counted by their parts.
  select
    count(*) as items_started,
    count(p.completed_at) as items_completed,
    coalesce(sum(p.active_seconds), 0)::bigint as active_seconds,
    max(p.last_activity_at) as last_activity_at
  from learning.content_progress p
  join learning.content_items i on i.id = p.item_id and i.content_type <> 'course'
  where p.user_id = u.id
) g
cross join lateral (
  select
    count(*) filter (where a.status = 'success') as logins,
    count(*) filter (where a.status in ('failed', 'locked')) as failed_logins
  from security.login_attempts a
  where a.user_id = u.id
) l;

comment on view compat_ai_training.user_activity_summary is 'Activity of users. Grain: one row per user.';
comment on column compat_ai_training.user_activity_summary.user_id is 'The user.';
comment on column compat_ai_training.user_activity_summary.sessions is 'Number of sessions with content.';
comment on column compat_ai_training.user_activity_summary.time_spent_seconds is 'Time spent with content, in seconds.';
comment on column compat_ai_training.user_activity_summary.items_started is 'Number of started items.';
comment on column compat_ai_training.user_activity_summary.items_completed is 'Number of completed items.';
comment on column compat_ai_training.user_activity_summary.completion_rate is
  'Completed share of the started items, 0 to 1; null if none was started.';
comment on column compat_ai_training.user_activity_summary.logins is 'Number of sign-ins.';
comment on column compat_ai_training.user_activity_summary.failed_logins is 'Number of failed sign-ins.';
comment on column compat_ai_training.user_activity_summary.last_login_at is 'Time of the last sign-in.';
comment on column compat_ai_training.user_activity_summary.last_activity_at is 'Time of the last activity with content.';

create view compat_ai_training.user_security_status as
select
  u.id as user_id,
  u.account_status,
  u.email_verified_at is not null as is_verified,
  coalesce(u.locked_until > now(), false) as is_locked,
  u.locked_until,
  u.failed_login_attempts,
  exists (
    select from identity.mfa_factors m where m.user_id = u.id and m.confirmed_at is not null
  ) as two_factor_enabled,
  (
    select count(*) from identity.user_sessions s where s.user_id = u.id and s.ended_at is null and s.expires_at > now()
  ) as active_sessions,
  u.last_login_at,
  u.password_changed_at
from identity.users u;

comment on view compat_ai_training.user_security_status is 'Sign-in state of accounts. Grain: one row per account.';
comment on column compat_ai_training.user_security_status.user_id is 'The account.';
comment on column compat_ai_training.user_security_status.account_status is 'State: active, disabled or deleted.';
comment on column compat_ai_training.user_security_status.is_verified is 'Whether the address is verified.';
comment on column compat_ai_training.user_security_status.is_locked is 'Whether sign-in is locked now.';
comment on column compat_ai_training.user_security_status.locked_until is
  'Time until which sign-in is locked; null or past if it is not.';
comment on column compat_ai_training.user_security_status.failed_login_attempts is
  'Number of wrong passwords since the last sign-in.';
comment on column compat_ai_training.user_security_status.two_factor_enabled is 'Whether the account has a second factor.';
comment on column compat_ai_training.user_security_status.active_sessions is 'Number of sessions that are signed in now.';
comment on column compat_ai_training.user_security_status.last_login_at is 'Time of the last sign-in.';
comment on column compat_ai_training.user_security_status.password_changed_at is 'Time when the password was set.';

-- The materialized views are Plinth's, which a job refreshes. They sum over all accounts, so a user sees no row of them.
create view compat_ai_training.subscription_metrics as
select * from compat_ai_training.read_subscription_metrics();

comment on view compat_ai_training.subscription_metrics is 'Figures of subscriptions by month. Grain: one row per month and currency.';
comment on column compat_ai_training.subscription_metrics.month is 'First day of the month (UTC).';
comment on column compat_ai_training.subscription_metrics.currency is 'Currency (ISO 4217 code).';
comment on column compat_ai_training.subscription_metrics.mrr_cents is 'Monthly recurring revenue in the currency''s smallest unit.';
comment on column compat_ai_training.subscription_metrics.active_subscriptions is 'Number of active subscriptions at the end of the month.';
comment on column compat_ai_training.subscription_metrics.paying_subscriptions is 'Number of subscriptions with a price.';
comment on column compat_ai_training.subscription_metrics.trialing_subscriptions is 'Number of trials.';
comment on column compat_ai_training.subscription_metrics.past_due_subscriptions is 'Number of subscriptions with an overdue payment.';
comment on column compat_ai_training.subscription_metrics.paying_at_start is 'Number of paying subscriptions at the start of the month.';
comment on column compat_ai_training.subscription_metrics.churned_subscriptions is 'Number of those that ended in the month.';
comment on column compat_ai_training.subscription_metrics.churn_rate is 'Share of those that ended; null without any.';
comment on column compat_ai_training.subscription_metrics.trials_started is 'Number of trials that began in the month.';
comment on column compat_ai_training.subscription_metrics.trials_converted is 'Number of those that became paying subscriptions.';
comment on column compat_ai_training.subscription_metrics.trial_conversion_rate is 'Share of those; null without trials.';
comment on column compat_ai_training.subscription_metrics.mrr is 'Monthly recurring revenue in units of the currency.';
comment on column compat_ai_training.subscription_metrics.refreshed_at is 'Time of the last refresh.';

create view compat_ai_training.content_popularity as
select * from compat_ai_training.read_content_popularity();

comment on view compat_ai_training.content_popularity is 'Use of content in the last 180 days. Grain: one row per item.';
comment on column compat_ai_training.content_popularity.content_id is 'The item.';
comment on column compat_ai_training.content_popularity.content_type is 'Type of the item.';
comment on column compat_ai_training.content_popularity.category_id is 'Category of the item.';
comment on column compat_ai_training.content_popularity.language is 'Language tag of the item.';
comment on column compat_ai_training.content_popularity.users is 'Number of users.';
comment on column compat_ai_training.content_popularity.sessions is 'Number of sessions.';
comment on column compat_ai_training.content_popularity.completions is 'Number of completions.';
comment on column compat_ai_training.content_popularity.active_seconds is 'Time that users spent, in seconds.';
comment on column compat_ai_training.content_popularity.rating_count is 'Number of ratings.';
comment on column compat_ai_training.content_popularity.rating_average is 'Average rating, 1.00 to 5.00; null without ratings.';
comment on column compat_ai_training.content_popularity.popularity_score is 'Score of recent use.';
comment on column compat_ai_training.content_popularity.refreshed_at is 'Time of the last refresh.';
