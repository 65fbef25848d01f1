--! Previous: sha1:df3562e633d785b1adfb27244c65dc06c591aeab
--! Hash: sha1:9b3718cb419b552b6ca59cb5ead253dfd3bede9f
--! Message: documents' names for analysts

-- Safe views of analytics under the documents' names. Analysts reach no other schema, so a name such as users means theirs;
-- for the owner, the search path finds the table first.
--! Included analytics/views/user_sessions.sql
-- Sessions without device, program or whole address.
create or replace view analytics.user_sessions as
select
  s.id,
  s.user_id,
  s.is_active,
  network(set_masklen(s.ip_address, case family(s.ip_address) when 4 then 24 else 48 end))::cidr as ip_address,
  s.authentication_methods,
  s.created_at,
  s.expires_at,
  s.last_activity_at,
  s.ended_at,
  s.end_reason
from identity.user_sessions s;

comment on view analytics.user_sessions is 'Grain: one row per session; ended sessions are kept for 90 days.';
comment on column analytics.user_sessions.id is 'The session.';
comment on column analytics.user_sessions.user_id is 'The account.';
comment on column analytics.user_sessions.is_active is 'Whether the session has not been ended; it may have passed expires_at.';
comment on column analytics.user_sessions.ip_address is 'Network of the last sign-in, refresh or recorded request: /24 of IPv4, /48 of IPv6 addresses.';
comment on column analytics.user_sessions.authentication_methods is 'Methods of the sign-in (RFC 8176): pwd, otp, hwk, swk, fed and mfa.';
comment on column analytics.user_sessions.created_at is 'Time of the sign-in.';
comment on column analytics.user_sessions.expires_at is 'Time the session ends at the latest; a refresh does not extend it.';
comment on column analytics.user_sessions.last_activity_at is 'Time the session was last used.';
comment on column analytics.user_sessions.ended_at is 'Time the session was ended; null while it is active.';
comment on column analytics.user_sessions.end_reason is 'Reason of the end, such as logout or expired; null while it is active.';
grant select on analytics.user_sessions to :PLINTH_ANALYST;
--! EndIncluded analytics/views/user_sessions.sql
--! Included analytics/views/sessions.sql
-- Sessions under the names of Cedrina's document.
create or replace view analytics.sessions as
select s.id, s.user_id, s.is_active, s.created_at, s.expires_at, s.last_activity_at, s.ip_address as client_ip
from analytics.user_sessions s;

comment on view analytics.sessions is 'Grain: one row per session, as in user_sessions.';
comment on column analytics.sessions.id is 'The session.';
comment on column analytics.sessions.user_id is 'The account.';
comment on column analytics.sessions.is_active is 'Whether the session has not been ended; it may have passed expires_at.';
comment on column analytics.sessions.created_at is 'Time of the sign-in.';
comment on column analytics.sessions.expires_at is 'Time the session ends at the latest; a refresh does not extend it.';
comment on column analytics.sessions.last_activity_at is 'Time the session was last used.';
comment on column analytics.sessions.client_ip is 'Network of the last sign-in, refresh or recorded request: /24 of IPv4, /48 of IPv6 addresses.';
grant select on analytics.sessions to :PLINTH_ANALYST;
--! EndIncluded analytics/views/sessions.sql
--! Included analytics/views/login_attempts.sql
-- Sign-in attempts without the name that was tried, the program and the whole address. A reason is text of the caller of
-- track_login_attempt(), so only the listed ones are shown.
create or replace view analytics.login_attempts as
select
  l.id,
  l.user_id,
  network(set_masklen(l.ip_address, case family(l.ip_address) when 4 then 24 else 48 end))::cidr as ip_address,
  l.status,
  case
    when l.failure_reason in (
      'unknown_account', 'wrong_password', 'account_locked', 'account_disabled', 'network_not_allowed', 'challenge_expired',
      'wrong_code', 'code_reused', 'second_factor_locked', 'wrong_passkey', 'passkey_cloned'
    ) then l.failure_reason
    when l.failure_reason is not null then 'other'
  end as failure_reason,
  l.created_at
from security.login_attempts l;

comment on view analytics.login_attempts is 'Grain: one row per sign-in attempt, within its retention.';
comment on column analytics.login_attempts.id is 'The attempt.';
comment on column analytics.login_attempts.user_id is 'The account; null if no account has the name that was tried, or the account was deleted.';
comment on column analytics.login_attempts.ip_address is 'Network of the client: /24 of IPv4, /48 of IPv6 addresses.';
comment on column analytics.login_attempts.status is 'Result: success, failed, locked or challenged (a second factor was requested).';
comment on column analytics.login_attempts.failure_reason is
  'Reason for the failure: unknown_account, wrong_password, account_locked, account_disabled, network_not_allowed, challenge_expired, wrong_code, code_reused, second_factor_locked, wrong_passkey, passkey_cloned or other; null on success.';
comment on column analytics.login_attempts.created_at is 'Time of the attempt.';
grant select on analytics.login_attempts to :PLINTH_ANALYST;
--! EndIncluded analytics/views/login_attempts.sql
--! Included analytics/views/security_audit_log.sql
-- Security events without details, programs and whole addresses: details name addresses and people.
create or replace view analytics.security_audit_log as
select
  l.id,
  l.user_id,
  l.actor_id,
  l.event_type,
  l.severity,
  network(set_masklen(l.ip_address, case family(l.ip_address) when 4 then 24 else 48 end))::cidr as ip_address,
  l.created_at
from security.security_audit_log l;

comment on view analytics.security_audit_log is 'Grain: one row per security event, within its retention.';
comment on column analytics.security_audit_log.id is 'The event.';
comment on column analytics.security_audit_log.user_id is 'The account that the event concerns; null without one, or if it was deleted.';
comment on column analytics.security_audit_log.actor_id is 'The account that caused the event; null without one, or if it was deleted.';
comment on column analytics.security_audit_log.event_type is 'Type of the event, such as account_locked.';
comment on column analytics.security_audit_log.severity is 'Severity: debug, info, warning, error or critical.';
comment on column analytics.security_audit_log.ip_address is 'Network of the client: /24 of IPv4, /48 of IPv6 addresses.';
comment on column analytics.security_audit_log.created_at is 'Time of the event.';
grant select on analytics.security_audit_log to :PLINTH_ANALYST;
--! EndIncluded analytics/views/security_audit_log.sql
--! Included analytics/views/audit_logs.sql
-- Security events under the names of Cedrina's document.
create or replace view analytics.audit_logs as
select
  l.id,
  l.user_id,
  l.event_type,
  null::jsonb as event_data,
  l.ip_address as client_ip,
  l.created_at,
  l.severity
from analytics.security_audit_log l;

comment on view analytics.audit_logs is 'Grain: one row per security event, as in security_audit_log.';
comment on column analytics.audit_logs.id is 'The event.';
comment on column analytics.audit_logs.user_id is 'The account that the event concerns; null without one, or if it was deleted.';
comment on column analytics.audit_logs.event_type is 'Type of the event, such as account_locked.';
comment on column analytics.audit_logs.event_data is 'Always null: details may name people and addresses.';
comment on column analytics.audit_logs.client_ip is 'Network of the client: /24 of IPv4, /48 of IPv6 addresses.';
comment on column analytics.audit_logs.created_at is 'Time of the event.';
comment on column analytics.audit_logs.severity is 'Severity: debug, info, warning, error or critical.';
grant select on analytics.audit_logs to :PLINTH_ANALYST;
--! EndIncluded analytics/views/audit_logs.sql
--! Included analytics/views/user_security_settings.sql
-- Security preferences of accounts. The allowed networks themselves may be those of a home.
create or replace view analytics.user_security_settings as
select
  s.user_id,
  s.session_timeout_minutes,
  s.allowed_networks is not null as has_allowed_networks,
  s.created_at,
  s.updated_at
from identity.user_security_settings s;

comment on view analytics.user_security_settings is 'Grain: one row per account with security preferences.';
comment on column analytics.user_security_settings.user_id is 'The account.';
comment on column analytics.user_security_settings.session_timeout_minutes is 'Idle time after which sessions end, in minutes; null for the default.';
comment on column analytics.user_security_settings.has_allowed_networks is 'Whether sign-in is restricted to networks that the user chose.';
comment on column analytics.user_security_settings.created_at is 'Time the row was created.';
comment on column analytics.user_security_settings.updated_at is 'Time of the last change.';
grant select on analytics.user_security_settings to :PLINTH_ANALYST;
--! EndIncluded analytics/views/user_security_settings.sql
--! Included analytics/views/user_security_status.sql
-- identity.user_security_status of all accounts, for analysts.
create or replace view analytics.user_security_status as
select
  u.id as user_id,
  u.account_status,
  u.is_verified,
  coalesce(u.locked_until > now(), false) as is_locked,
  u.locked_until,
  u.failed_login_attempts,
  u.last_login_at,
  u.password_changed_at,
  extract(day from now() - u.password_changed_at)::integer as password_age_days,
  coalesce(s.live_sessions, 0) as live_sessions,
  exists (
    select
    from identity.mfa_factors f
    where f.user_id = u.id and f.confirmed_at is not null
  ) as mfa_enabled,
  u.created_at
from identity.users u
left join (
  select s.user_id, count(*) as live_sessions
  from identity.user_sessions s
  where s.ended_at is null and s.expires_at > now()
  group by s.user_id
) s on s.user_id = u.id;

comment on view analytics.user_security_status is 'Grain: one row per account. Sign-in state of the account.';
comment on column analytics.user_security_status.user_id is 'The account.';
comment on column analytics.user_security_status.account_status is 'State of the account: active, disabled or deleted.';
comment on column analytics.user_security_status.is_verified is 'Whether the e-mail address is verified.';
comment on column analytics.user_security_status.is_locked is 'Whether sign-in is locked now because of wrong passwords.';
comment on column analytics.user_security_status.locked_until is 'Time the last lock ends or ended; null after a successful sign-in.';
comment on column analytics.user_security_status.failed_login_attempts is 'Number of consecutive wrong passwords.';
comment on column analytics.user_security_status.last_login_at is 'Time of the last successful sign-in.';
comment on column analytics.user_security_status.password_changed_at is 'Time the password was set; null without a password.';
comment on column analytics.user_security_status.password_age_days is 'Whole days since the password was set; null without a password.';
comment on column analytics.user_security_status.live_sessions is 'Number of sessions that are signed in now.';
comment on column analytics.user_security_status.mfa_enabled is 'Whether the account has a confirmed second factor.';
comment on column analytics.user_security_status.created_at is 'Time the account was created.';
grant select on analytics.user_security_status to :PLINTH_ANALYST;
--! EndIncluded analytics/views/user_security_status.sql
--! Included analytics/views/account_security.sql
-- The columns of analytics.user_security_status under the view's earlier name.
create or replace view analytics.account_security
  with (security_barrier = true)
as
select
  s.user_id,
  s.account_status,
  s.is_verified,
  s.is_locked,
  s.failed_login_attempts,
  s.live_sessions,
  s.password_age_days,
  s.last_login_at,
  s.created_at,
  s.mfa_enabled
from analytics.user_security_status s;

comment on view analytics.account_security is 'Grain: one row per account. Sign-in state of the account.';
comment on column analytics.account_security.user_id is 'The account.';
comment on column analytics.account_security.account_status is 'State of the account: active, disabled or deleted.';
comment on column analytics.account_security.is_verified is 'Whether the e-mail address is verified.';
comment on column analytics.account_security.is_locked is 'Whether sign-in is locked now because of wrong passwords.';
comment on column analytics.account_security.failed_login_attempts is 'Number of consecutive wrong passwords.';
comment on column analytics.account_security.live_sessions is 'Number of sessions that are signed in now.';
comment on column analytics.account_security.password_age_days is 'Whole days since the password was set; null without a password.';
comment on column analytics.account_security.last_login_at is 'Time of the last successful sign-in.';
comment on column analytics.account_security.created_at is 'Time the account was created.';
comment on column analytics.account_security.mfa_enabled is 'Whether the account has a confirmed second factor.';
grant select on analytics.account_security to :PLINTH_ANALYST;
--! EndIncluded analytics/views/account_security.sql
--! Included analytics/views/user_subscriptions.sql
-- Subscriptions without the names that the payment provider gives them.
create or replace view analytics.user_subscriptions as
select
  s.id,
  s.user_id,
  s.plan_id,
  s.status,
  s.started_at,
  s.current_period_start,
  s.current_period_end,
  s.trial_end,
  s.cancel_at_period_end,
  s.pending_plan_id,
  s.renewal_date,
  s.past_due_since,
  s.paused_at,
  s.ended_at,
  s.created_at,
  s.updated_at
from billing.user_subscriptions s;

comment on view analytics.user_subscriptions is 'Grain: one row per subscription, ended ones included.';
comment on column analytics.user_subscriptions.id is 'The subscription.';
comment on column analytics.user_subscriptions.user_id is 'The account.';
comment on column analytics.user_subscriptions.plan_id is 'The version of the plan.';
comment on column analytics.user_subscriptions.status is 'Status: trialing, active, past_due, paused, canceled or expired.';
comment on column analytics.user_subscriptions.started_at is 'Time the subscription began.';
comment on column analytics.user_subscriptions.current_period_start is 'Start of the period.';
comment on column analytics.user_subscriptions.current_period_end is 'End of the period, exclusive; null for lifetime.';
comment on column analytics.user_subscriptions.trial_end is 'End of the trial; null without a trial.';
comment on column analytics.user_subscriptions.cancel_at_period_end is 'Whether the subscription ends with the period.';
comment on column analytics.user_subscriptions.pending_plan_id is 'The plan that follows at the end of the period; null if the plan stays.';
comment on column analytics.user_subscriptions.renewal_date is 'Day (UTC) of the next renewal; null if the subscription does not renew.';
comment on column analytics.user_subscriptions.past_due_since is 'Time since which a payment is overdue; null unless past_due.';
comment on column analytics.user_subscriptions.paused_at is 'Time of the pause; null unless paused.';
comment on column analytics.user_subscriptions.ended_at is 'Time of the end; null unless canceled or expired.';
comment on column analytics.user_subscriptions.created_at is 'Time the row was created.';
comment on column analytics.user_subscriptions.updated_at is 'Time of the last change.';
grant select on analytics.user_subscriptions to :PLINTH_ANALYST;
--! EndIncluded analytics/views/user_subscriptions.sql
--! Included analytics/views/subscription_plans.sql
-- Plans as on the price list, with earlier versions.
create or replace view analytics.subscription_plans as
select
  p.id,
  p.code,
  p.plan_name,
  p.version,
  p.billing_cycle,
  p.price_cents,
  p.currency,
  p.trial_days,
  p.token_quota,
  p.rollover_limit,
  p.features,
  p.access_level,
  p.is_active,
  p.superseded_at,
  p.created_at,
  p.updated_at
from billing.subscription_plans p;

comment on view analytics.subscription_plans is 'Grain: one row per version of a plan.';
comment on column analytics.subscription_plans.id is 'The version of the plan.';
comment on column analytics.subscription_plans.code is 'Code of the plan, such as premium; the user''s tier.';
comment on column analytics.subscription_plans.plan_name is 'Display name of the plan.';
comment on column analytics.subscription_plans.version is 'Version number of the plan.';
comment on column analytics.subscription_plans.billing_cycle is 'Billing cycle: monthly, yearly or lifetime.';
comment on column analytics.subscription_plans.price_cents is 'Price of a period in the currency''s smallest unit.';
comment on column analytics.subscription_plans.currency is 'ISO 4217 code of the price.';
comment on column analytics.subscription_plans.trial_days is 'Length of the trial, in days; 0 without a trial.';
comment on column analytics.subscription_plans.token_quota is 'Tokens per period; null means unlimited.';
comment on column analytics.subscription_plans.rollover_limit is 'Most unused tokens that move to the next period.';
comment on column analytics.subscription_plans.features is 'Features of the plan (JSON object).';
comment on column analytics.subscription_plans.access_level is 'Highest access level of content that the plan includes.';
comment on column analytics.subscription_plans.is_active is 'Whether the plan is offered.';
comment on column analytics.subscription_plans.superseded_at is 'Time a newer version replaced it; null for the newest.';
comment on column analytics.subscription_plans.created_at is 'Time the version was created.';
comment on column analytics.subscription_plans.updated_at is 'Time of the last change.';
grant select on analytics.subscription_plans to :PLINTH_ANALYST;
--! EndIncluded analytics/views/subscription_plans.sql
--! Included analytics/views/active_user_subscriptions.sql
-- billing.active_user_subscriptions of all accounts, for analysts. Its rows are in analytics.user_subscriptions as well, so it hides
-- none.
create or replace view analytics.active_user_subscriptions as
select
  s.id as subscription_id,
  s.user_id,
  s.plan_id,
  p.code as plan_code,
  p.plan_name,
  p.version as plan_version,
  s.status,
  p.billing_cycle,
  p.price_cents,
  p.currency,
  p.token_quota,
  p.features,
  p.access_level,
  s.started_at,
  s.current_period_start,
  s.current_period_end,
  s.trial_end,
  s.cancel_at_period_end,
  s.renewal_date
from analytics.user_subscriptions s
join analytics.subscription_plans p on p.id = s.plan_id
where s.status in ('trialing', 'active', 'past_due');

comment on view analytics.active_user_subscriptions is
  'Grain: one row per account whose subscription gives access now: trialing, active, or past_due within the grace period.';
comment on column analytics.active_user_subscriptions.subscription_id is 'The subscription.';
comment on column analytics.active_user_subscriptions.user_id is 'The account.';
comment on column analytics.active_user_subscriptions.plan_id is 'The version of the plan.';
comment on column analytics.active_user_subscriptions.plan_code is 'Code of the plan, such as premium; the user''s tier.';
comment on column analytics.active_user_subscriptions.plan_name is 'Display name of the plan.';
comment on column analytics.active_user_subscriptions.plan_version is 'Version number of the plan.';
comment on column analytics.active_user_subscriptions.status is 'Status: trialing, active or past_due.';
comment on column analytics.active_user_subscriptions.billing_cycle is 'Billing cycle: monthly, yearly or lifetime.';
comment on column analytics.active_user_subscriptions.price_cents is 'Price of a period in the currency''s smallest unit.';
comment on column analytics.active_user_subscriptions.currency is 'ISO 4217 code of the price.';
comment on column analytics.active_user_subscriptions.token_quota is 'Tokens per period; null means unlimited.';
comment on column analytics.active_user_subscriptions.features is 'Features of the plan (JSON object).';
comment on column analytics.active_user_subscriptions.access_level is 'Highest access level of content that the plan includes.';
comment on column analytics.active_user_subscriptions.started_at is 'Time the subscription began.';
comment on column analytics.active_user_subscriptions.current_period_start is 'Start of the period.';
comment on column analytics.active_user_subscriptions.current_period_end is 'End of the period, exclusive; null for lifetime.';
comment on column analytics.active_user_subscriptions.trial_end is 'End of the trial; null without a trial.';
comment on column analytics.active_user_subscriptions.cancel_at_period_end is 'Whether the subscription ends with the period.';
comment on column analytics.active_user_subscriptions.renewal_date is 'Day (UTC) of the next renewal; null if the subscription does not renew.';
grant select on analytics.active_user_subscriptions to :PLINTH_ANALYST;
--! EndIncluded analytics/views/active_user_subscriptions.sql
--! Included analytics/views/users.sql
-- Accounts, as the documents ask for them, without names and addresses: both columns hold a label made of the id, so that joins and
-- lists work as written. No security_barrier: the view hides columns and no rows, so a function that sees a row early learns
-- nothing, and conditions reach the indexes. PostgreSQL would hold back those that are not leakproof, such as a timestamp compared
-- with a date.
create or replace view analytics.users as
select
  u.id,
  'user-' || u.id::text as username,
  'user-' || u.id::text || '@hidden.invalid' as email,
  u.account_status,
  u.is_active,
  u.is_verified,
  -- As identity.users_role and identity.users_tier, which run with the rights of their caller.
  coalesce(
    (
      select r.role_name
      from access.user_roles ur
      join access.roles r on r.id = ur.role_id
      where ur.user_id = u.id
        and (ur.expires_at is null or ur.expires_at > now())
      order by r.rank desc, r.role_name
      limit 1
    ),
    'guest'
  ) as role,
  coalesce(
    (select s.plan_code from analytics.active_user_subscriptions s where s.user_id = u.id),
    'free'
  ) as tier,
  u.failed_login_attempts,
  u.locked_until,
  u.last_login_at,
  u.password_changed_at,
  u.email_verified_at,
  u.created_at,
  u.updated_at
from identity.users u;

comment on view analytics.users is 'Grain: one row per account, without names and addresses.';
comment on column analytics.users.id is 'The account.';
comment on column analytics.users.username is 'Label made of the id in place of the name: user-<id>.';
comment on column analytics.users.email is 'Label made of the id in place of the address: user-<id>@hidden.invalid, also for an account without an address.';
comment on column analytics.users.account_status is 'State of the account: active, disabled or deleted.';
comment on column analytics.users.is_active is 'Whether the account is active.';
comment on column analytics.users.is_verified is 'Whether the e-mail address is verified.';
comment on column analytics.users.role is 'The account''s highest-ranking role that has not expired; guest without a role.';
comment on column analytics.users.tier is 'Code of the account''s current plan (trialing, active or past_due), or free.';
comment on column analytics.users.failed_login_attempts is 'Number of consecutive wrong passwords.';
comment on column analytics.users.locked_until is 'Time the last lock ends or ended; null after a successful sign-in.';
comment on column analytics.users.last_login_at is 'Time of the last successful sign-in.';
comment on column analytics.users.password_changed_at is 'Time the password was set; null without a password.';
comment on column analytics.users.email_verified_at is 'Time the e-mail address was verified.';
comment on column analytics.users.created_at is 'Time the account was created.';
comment on column analytics.users.updated_at is 'Time of the last change to the account.';
grant select on analytics.users to :PLINTH_ANALYST;
--! EndIncluded analytics/views/users.sql
-- Called by user_content_access, with the rights of its reader.
--! Included learning/functions/access_reason.sql
-- The access rule, in one place: the views apply it to items, and policies and functions query the views. The first reason that
-- applies wins. A plain expression of its arguments, which are evaluated only when reached: the planner inlines it into the
-- calling query.
create or replace function learning.access_reason(
  is_editor boolean,
  is_author boolean,
  is_available boolean,
  permission text,
  is_preview boolean,
  is_signed_in boolean,
  required_level integer,
  plan_level integer,
  waives_prerequisites boolean,
  misses_prerequisites boolean
)
  returns text
  language sql
  immutable
  parallel safe
as $$
  select case
    when is_editor then 'editor'
    when is_author then 'author'
    when is_available is not true then 'not_available'
    when permission = 'deny' then 'denied'
    when is_preview then 'preview'
    when not is_signed_in then 'sign_in_required'
    when permission is null and required_level > plan_level then 'plan_required'
    when waives_prerequisites is not true and misses_prerequisites then 'prerequisites_missing'
    when permission = 'allow' then 'permission'
    else 'plan'
  end
$$;

comment on function learning.access_reason(boolean, boolean, boolean, text, boolean, boolean, integer, integer, boolean, boolean) is
  E'@behavior -*\nReturns why a user has or lacks access to an item.';
grant execute on function learning.access_reason(boolean, boolean, boolean, text, boolean, boolean, integer, integer, boolean, boolean)
  to :PLINTH_ANONYMOUS, :PLINTH_USER, :PLINTH_ANALYST;
--! EndIncluded learning/functions/access_reason.sql
--! Included learning/functions/gives_access.sql
create or replace function learning.gives_access(reason text)
  returns boolean
  language sql
  immutable
  parallel safe
as $$
  select reason in ('editor', 'author', 'preview', 'permission', 'plan')
$$;

comment on function learning.gives_access(text) is E'@behavior -*\nReturns whether a reason grants access: editor, author, preview, permission or plan.';
grant execute on function learning.gives_access(text) to :PLINTH_ANONYMOUS, :PLINTH_USER, :PLINTH_ANALYST;
--! EndIncluded learning/functions/gives_access.sql
--! Included analytics/views/content_items.sql
-- Items without their texts: title, summary, tags, and the slug, which is made of the title.
create or replace view analytics.content_items as
select
  i.id,
  i.category_id,
  i.course_id,
  i."position",
  i.content_type,
  i.level,
  i.duration_seconds,
  i.language,
  i.author_id,
  i.effective_access_level,
  i.is_preview,
  i.current_version,
  i.available_from,
  i.available_until,
  i.deleted_at,
  i.rating_count,
  i.rating_average,
  i.created_at,
  i.updated_at
from learning.content_items i;

comment on view analytics.content_items is 'Grain: one row per item, drafts and deleted ones included.';
comment on column analytics.content_items.id is 'The item.';
comment on column analytics.content_items.category_id is 'Category of the item.';
comment on column analytics.content_items.course_id is 'The course that the item is part of, or null.';
comment on column analytics.content_items.position is 'Position within the course.';
comment on column analytics.content_items.content_type is 'Type: course, lesson, article, video, exercise, quiz or project.';
comment on column analytics.content_items.level is 'Required level of knowledge, 0 to 10.';
comment on column analytics.content_items.duration_seconds is 'Duration, in seconds; null if unknown.';
comment on column analytics.content_items.language is 'Language tag (BCP 47), such as en or pt-BR.';
comment on column analytics.content_items.author_id is 'Account of the author; null for an import or a deleted account.';
comment on column analytics.content_items.effective_access_level is 'Lowest access level of plans that include the item.';
comment on column analytics.content_items.is_preview is 'Whether everyone may read the item, whatever the plan.';
comment on column analytics.content_items.current_version is 'Number of the published version; null while the item is a draft or withdrawn.';
comment on column analytics.content_items.available_from is 'Time from which the item and its course are both visible; null while one of them is unpublished or deleted.';
comment on column analytics.content_items.available_until is 'Time from which the item or its course is hidden; null for never.';
comment on column analytics.content_items.deleted_at is 'Time of deletion; null if not deleted.';
comment on column analytics.content_items.rating_count is 'Number of users who rated the item.';
comment on column analytics.content_items.rating_average is 'Average rating, 1.00 to 5.00; null without ratings.';
comment on column analytics.content_items.created_at is 'Time the item was created.';
comment on column analytics.content_items.updated_at is 'Time of the last change to the item, its texts included.';
grant select on analytics.content_items to :PLINTH_ANALYST;
--! EndIncluded analytics/views/content_items.sql
--! Included analytics/views/user_content_access.sql
-- learning.user_content_access of all accounts, for analysts. That view runs with the rights of its reader, and the functions it
-- calls answer questions about the caller only, so plan, role and prerequisites are read from the tables here; the rule itself
-- stays in learning.access_reason().
create or replace view analytics.user_content_access as
select
  u.id as user_id,
  i.id as content_id,
  learning.gives_access(r.reason) as has_access,
  r.reason,
  i.effective_access_level as required_access_level
from identity.users u
cross join lateral (
  select
    coalesce(
      (select max(s.access_level) from analytics.active_user_subscriptions s where s.user_id = u.id),
      0
    ) as plan_level,
    exists (
      select
      from access.user_roles ur
      join access.role_permissions rp on rp.role_id = ur.role_id
      join access.permissions p on p.id = rp.permission_id
      where ur.user_id = u.id
        and (ur.expires_at is null or ur.expires_at > now())
        and p.permission_name = 'edit_content'
    ) as is_editor
  offset 0
) l
cross join learning.content_items i
-- A permission on the item takes precedence over one on its course.
left join learning.user_content_permissions own
  on own.user_id = u.id
  and own.item_id = i.id
  and (own.expires_at is null or own.expires_at > now())
left join learning.user_content_permissions course
  on course.user_id = u.id
  and course.item_id = i.course_id
  and (course.expires_at is null or course.expires_at > now())
-- `offset 0`: computed once per item, and not once per column that shows it.
cross join lateral (
  select case when not u.is_active then 'account_inactive' else learning.access_reason(
    l.is_editor,
    i.author_id = u.id,
    i.available_from <= now() and (i.available_until is null or i.available_until > now()),
    coalesce(own.permission, course.permission),
    i.is_preview,
    true,
    i.effective_access_level,
    l.plan_level,
    coalesce(own.waives_prerequisites, course.waives_prerequisites),
    exists (
      select
      from learning.content_prerequisites p
      join learning.content_items q on q.id = p.required_item_id
      where p.item_id in (i.id, i.course_id)
        and q.available_from <= now()
        and (q.available_until is null or q.available_until > now())
        and not exists (
          select
          from learning.content_progress g
          where g.user_id = u.id and g.item_id = q.id and g.completed_at is not null
        )
        -- A course is completed by its available parts.
        and not coalesce(
          (
            select bool_and(g.completed_version is not null)
            from learning.content_items part
            left join learning.content_progress g on g.item_id = part.id and g.user_id = u.id
            where part.course_id = q.id
              and part.available_from <= now()
              and (part.available_until is null or part.available_until > now())
          ),
          false
        )
    )
  ) end as reason
  offset 0
) r;

comment on view analytics.user_content_access is
  'Grain: one row per account and item: whether the user may read its text, and why. Filter by account or by item.';
comment on column analytics.user_content_access.user_id is 'The account.';
comment on column analytics.user_content_access.content_id is 'The item.';
comment on column analytics.user_content_access.has_access is 'Whether the user may read the item''s text.';
comment on column analytics.user_content_access.reason is
  'Reason. With access: editor, author, preview, permission or plan. Without: account_inactive, not_available, denied, plan_required or prerequisites_missing.';
comment on column analytics.user_content_access.required_access_level is 'Access level that a plan needs.';
grant select on analytics.user_content_access to :PLINTH_ANALYST;
--! EndIncluded analytics/views/user_content_access.sql
--! Included analytics/views/skills.sql
-- Skills by the key that the product uses, without texts.
create or replace view analytics.skills as
select
  s.id,
  s.skill_name,
  s.training_gain,
  s.is_active,
  s.created_at,
  s.updated_at
from learning.skills s;

comment on view analytics.skills is 'Grain: one row per skill.';
comment on column analytics.skills.id is 'The skill.';
comment on column analytics.skills.skill_name is 'Unique key, such as active_listening.';
comment on column analytics.skills.training_gain is 'Increase of the level on completing a training, 0 to 10.';
comment on column analytics.skills.is_active is 'Whether the skill is in use.';
comment on column analytics.skills.created_at is 'Time the skill was created.';
comment on column analytics.skills.updated_at is 'Time of the last change.';
grant select on analytics.skills to :PLINTH_ANALYST;
--! EndIncluded analytics/views/skills.sql
--! Included analytics/views/user_skills.sql
-- Levels of all accounts.
create or replace view analytics.user_skills as
select
  s.user_id,
  s.skill_id,
  s.level,
  s.created_at,
  s.updated_at
from learning.user_skills s;

comment on view analytics.user_skills is 'Grain: one row per account and skill.';
comment on column analytics.user_skills.user_id is 'The account.';
comment on column analytics.user_skills.skill_id is 'The skill.';
comment on column analytics.user_skills.level is 'Proficiency, 0 to 10.';
comment on column analytics.user_skills.created_at is 'Time the skill was added.';
comment on column analytics.user_skills.updated_at is 'Time of the level''s last change.';
grant select on analytics.user_skills to :PLINTH_ANALYST;
--! EndIncluded analytics/views/user_skills.sql
--! Included analytics/views/training.sql
-- Training of all accounts.
create or replace view analytics.training as
select
  t.user_id,
  t.skill_id,
  t.status,
  t.progress,
  t.run,
  t.started_at,
  t.completed_at,
  t.created_at,
  t.updated_at
from learning.training t;

comment on view analytics.training is 'Grain: one row per account and skill in training.';
comment on column analytics.training.user_id is 'The account.';
comment on column analytics.training.skill_id is 'The skill.';
comment on column analytics.training.status is 'State: pending (not started, or paused), active or completed.';
comment on column analytics.training.progress is 'Completed share of this run, 0 to 1.';
comment on column analytics.training.run is 'Number of the run, from 1; restarting a completed training raises it.';
comment on column analytics.training.started_at is 'Start of this run; null if not started.';
comment on column analytics.training.completed_at is 'Time this run was completed.';
comment on column analytics.training.created_at is 'Time the training was planned or first started.';
comment on column analytics.training.updated_at is 'Time of the last change.';
grant select on analytics.training to :PLINTH_ANALYST;
--! EndIncluded analytics/views/training.sql
--! Included analytics/views/chat_rooms.sql
-- Rooms without name and description, which their members wrote.
create or replace view analytics.chat_rooms as
select
  r.id,
  r.creator_id,
  'room-' || r.id::text as name,
  r.room_type,
  r.is_public,
  r.has_password,
  r.ai_enabled,
  r.last_activity_at,
  r.created_at,
  r.updated_at
from rooms.chat_rooms r;

comment on view analytics.chat_rooms is 'Grain: one row per room.';
comment on column analytics.chat_rooms.id is 'The room.';
comment on column analytics.chat_rooms.creator_id is 'Account of the creator; null if it was deleted.';
comment on column analytics.chat_rooms.name is 'Label made of the id in place of the name: room-<id>.';
comment on column analytics.chat_rooms.room_type is 'Type: direct (two users), group, or private (only moderators can invite).';
comment on column analytics.chat_rooms.is_public is 'Whether all signed-in users may join.';
comment on column analytics.chat_rooms.has_password is 'Whether joining without an invite needs a password.';
comment on column analytics.chat_rooms.ai_enabled is 'Whether an AI is a member.';
comment on column analytics.chat_rooms.last_activity_at is 'Time of the latest message, or of the creation of the room.';
comment on column analytics.chat_rooms.created_at is 'Time the room was created.';
comment on column analytics.chat_rooms.updated_at is 'Time of the last change of name or settings.';
grant select on analytics.chat_rooms to :PLINTH_ANALYST;
--! EndIncluded analytics/views/chat_rooms.sql
--! Included analytics/views/room_messages.sql
-- Messages without their texts.
create or replace view analytics.room_messages as
select
  m.id,
  m.room_id,
  m.sender_id,
  null::text as content,
  m.sender_type,
  m.message_type,
  m.reply_to_id,
  m.is_private,
  m.is_deleted,
  m.created_at,
  m.edited_at,
  m.deleted_at
from rooms.room_messages m;

comment on view analytics.room_messages is 'Grain: one row per message in a room.';
comment on column analytics.room_messages.id is 'The message.';
comment on column analytics.room_messages.room_id is 'The room.';
comment on column analytics.room_messages.sender_id is 'Account of the sender; null for the AI, the system and deleted accounts.';
comment on column analytics.room_messages.content is 'Always null: texts are not for analysts.';
comment on column analytics.room_messages.sender_type is 'Type of sender: user, ai or system.';
comment on column analytics.room_messages.message_type is 'Type of message: text, invite or system.';
comment on column analytics.room_messages.reply_to_id is 'The message it replies to, or null.';
comment on column analytics.room_messages.is_private is 'Whether only the sender and the recipients see the message.';
comment on column analytics.room_messages.is_deleted is 'Whether the message was deleted.';
comment on column analytics.room_messages.created_at is 'Time the message was posted.';
comment on column analytics.room_messages.edited_at is 'Time of the last edit, or null.';
comment on column analytics.room_messages.deleted_at is 'Time of deletion, or null.';
grant select on analytics.room_messages to :PLINTH_ANALYST;
--! EndIncluded analytics/views/room_messages.sql
--! Included analytics/views/room_invites.sql
-- Invites without the note of the inviter.
create or replace view analytics.room_invites as
select
  i.id,
  i.room_id,
  i.inviter_id,
  i.invitee_id,
  i.status,
  i.created_at,
  i.responded_at
from rooms.room_invites i;

comment on view analytics.room_invites is 'Grain: one row per room and invited account.';
comment on column analytics.room_invites.id is 'The invite.';
comment on column analytics.room_invites.room_id is 'The room of the invite.';
comment on column analytics.room_invites.inviter_id is 'Account that invites.';
comment on column analytics.room_invites.invitee_id is 'Account that is invited.';
comment on column analytics.room_invites.status is 'State: pending, accepted or declined.';
comment on column analytics.room_invites.created_at is 'Time the invite was created.';
comment on column analytics.room_invites.responded_at is 'Time of the answer; null while pending.';
grant select on analytics.room_invites to :PLINTH_ANALYST;
--! EndIncluded analytics/views/room_invites.sql
