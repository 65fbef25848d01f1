-- Schema analytics as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema analytics;
comment on schema analytics is 'Views for analysts, without personal data.';
grant usage on schema analytics to :PLINTH_ANALYST;

-- Views -----------------------------------------------------------------------------------------------

-- Grain: one row per day (UTC) and account with activity, deleted accounts included. Counts stay when activity is deleted later.
create view analytics.account_activity with (security_barrier=true) as
 select k.day,
    k.account_id as account_key,
    a.user_id,
    k.plan_code,
    k.sign_ins,
    k.chat_messages,
    k.room_messages,
    k.content_sessions,
    k.token_uses,
    ( select s.refreshed_at
           from private.roll_up_state s) as refreshed_at
   from private.account_days k
     join private.rolled_up_accounts a on a.id = k.account_id;

comment on view analytics.account_activity is 'Grain: one row per day (UTC) and account with activity, deleted accounts included. Counts stay when activity is deleted later.';
comment on column analytics.account_activity.day is 'Day in UTC.';
comment on column analytics.account_activity.account_key is 'Random key of the account, the same on all days.';
comment on column analytics.account_activity.user_id is 'The account; null after its deletion.';
comment on column analytics.account_activity.plan_code is 'Code of the account''s plan at the end of the day; free without a subscription.';
comment on column analytics.account_activity.sign_ins is 'Number of successful sign-ins.';
comment on column analytics.account_activity.chat_messages is 'Number of messages to models.';
comment on column analytics.account_activity.room_messages is 'Number of messages posted in rooms and in the general chat.';
comment on column analytics.account_activity.content_sessions is 'Number of sessions with content that began.';
comment on column analytics.account_activity.token_uses is 'Number of uses of tokens.';
comment on column analytics.account_activity.refreshed_at is 'Time when the job roll-up-days last summed a day.';

grant select on analytics.account_activity to :PLINTH_ANALYST;

-- Grain: one row per account. Sign-in state of the account.
create view analytics.account_security with (security_barrier=true) as
 select user_id,
    account_status,
    is_verified,
    is_locked,
    failed_login_attempts,
    live_sessions,
    password_age_days,
    last_login_at,
    created_at,
    mfa_enabled
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

-- Grain: one row per account whose subscription gives access now: trialing, active, or past_due within the grace period.
create view analytics.active_user_subscriptions as
 select s.id as subscription_id,
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
  where s.status = any (array['trialing'::text, 'active'::text, 'past_due'::text]);

comment on view analytics.active_user_subscriptions is 'Grain: one row per account whose subscription gives access now: trialing, active, or past_due within the grace period.';
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

-- Grain: one row per security event, as in security_audit_log.
create view analytics.audit_logs as
 select id,
    user_id,
    event_type,
    null::jsonb as event_data,
    ip_address as client_ip,
    created_at,
    severity
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

-- Grain: one row per room.
create view analytics.chat_rooms as
 select id,
    creator_id,
    'room-'::text || id::text as name,
    room_type,
    is_public,
    has_password,
    ai_enabled,
    last_activity_at,
    created_at,
    updated_at
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

-- Grain: one row per purpose and published version.
create view analytics.consent_counts with (security_barrier=true) as
 with last_decisions as (
         select distinct on (c.user_id, c.purpose) c.purpose,
            c.version,
            c.granted_at
           from identity.consents c
          order by c.user_id, c.purpose, c.decided_at desc
        )
 select p.name as purpose,
    p.version,
    p.required,
    count(d.granted_at) as consented_users,
    count(d.purpose) - count(d.granted_at) as withdrawn_users,
    p.published_at
   from identity.consent_purposes p
     left join last_decisions d on d.purpose = p.name and d.version = p.version
  where p.published_at <= now()
  group by p.name, p.version;

comment on view analytics.consent_counts is 'Grain: one row per purpose and published version.';
comment on column analytics.consent_counts.purpose is 'Name of the purpose.';
comment on column analytics.consent_counts.version is 'Version of the purpose''s text.';
comment on column analytics.consent_counts.required is 'Whether the product requires this consent.';
comment on column analytics.consent_counts.consented_users is 'Number of users whose latest decision on the purpose is a consent to this version.';
comment on column analytics.consent_counts.withdrawn_users is 'Number of users whose latest decision on the purpose withdrew a consent to this version.';
comment on column analytics.consent_counts.published_at is 'Time from which the version applies.';

grant select on analytics.consent_counts to :PLINTH_ANALYST;

-- Grain: one row per item, drafts and deleted ones included.
create view analytics.content_items as
 select id,
    category_id,
    course_id,
    "position",
    content_type,
    level,
    duration_seconds,
    language,
    author_id,
    effective_access_level,
    is_preview,
    current_version,
    available_from,
    available_until,
    deleted_at,
    rating_count,
    rating_average,
    created_at,
    updated_at
   from learning.content_items i;

comment on view analytics.content_items is 'Grain: one row per item, drafts and deleted ones included.';
comment on column analytics.content_items.id is 'The item.';
comment on column analytics.content_items.category_id is 'Category of the item.';
comment on column analytics.content_items.course_id is 'The course that the item is part of, or null.';
comment on column analytics.content_items."position" is 'Position within the course.';
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

-- Grain: one row per item with sessions or completions in the last 180 days. Refreshed by a job.
create materialized view analytics.content_popularity as
 with signals as (
         select c.item_id,
            c.user_id,
            1 as sessions,
            0 as completions,
            c.active_seconds,
            c.active,
            power(0.5, extract(epoch from now() - c.last_activity_at) / (14 * 86400)::numeric) as score
           from learning.content_consumption c
          where c.created_at > (now() - '180 days'::interval) and c.last_activity_at > (now() - '180 days'::interval)
        union all
         select p_1.item_id,
            p_1.user_id,
            0,
            1,
            0,
            null::int4multirange,
            3::numeric * power(0.5, extract(epoch from now() - p_1.completed_at) / (14 * 86400)::numeric)
           from learning.content_progress p_1
             join learning.content_items i_1 on i_1.id = p_1.item_id and i_1.content_type <> 'course'::text
          where p_1.completed_at > (now() - '180 days'::interval)
        ), placed as (
         select s.item_id,
            s.user_id,
            s.sessions,
            s.completions,
            s.active_seconds,
            s.active,
            s.score
           from signals s
        union all
         select i_1.course_id,
            s.user_id,
            s.sessions,
            s.completions,
            s.active_seconds,
            s.active,
            s.score
           from signals s
             join learning.content_items i_1 on i_1.id = s.item_id
          where i_1.course_id is not null
        ), used as (
         select p_1.item_id,
            p_1.user_id,
            sum(p_1.sessions) as sessions,
            sum(p_1.completions) as completions,
            learning.time_spent(sum(p_1.active_seconds)::numeric, array_agg(p_1.active)) as active_seconds,
            sum(p_1.score) as score
           from placed p_1
          group by p_1.item_id, p_1.user_id
        )
 select p.item_id,
    i.content_type,
    i.category_id,
    i.language,
    count(*) as users,
    sum(p.sessions)::bigint as sessions,
    sum(p.completions)::bigint as completions,
    sum(p.active_seconds)::bigint as active_seconds,
    i.rating_count,
    i.rating_average,
    round(sum(p.score), 4) as popularity_score,
    now() as refreshed_at
   from used p
     join learning.content_items i on i.id = p.item_id
  group by p.item_id, i.id;

create unique index content_popularity_item_id_idx on analytics.content_popularity using btree (item_id);
create index content_popularity_popularity_score_idx on analytics.content_popularity using btree (popularity_score desc);

comment on materialized view analytics.content_popularity is 'Grain: one row per item with sessions or completions in the last 180 days. Refreshed by a job.';
comment on column analytics.content_popularity.item_id is 'The item; a course has the sums of its parts.';
comment on column analytics.content_popularity.content_type is 'Type of the item, such as course, lesson or article.';
comment on column analytics.content_popularity.category_id is 'Category of the item.';
comment on column analytics.content_popularity.language is 'Language tag of the item.';
comment on column analytics.content_popularity.users is 'Number of users.';
comment on column analytics.content_popularity.sessions is 'Number of sessions.';
comment on column analytics.content_popularity.completions is 'Number of completions.';
comment on column analytics.content_popularity.active_seconds is 'Time that users spent in the sessions, in seconds; each second of a user counted once.';
comment on column analytics.content_popularity.rating_count is 'Number of users who rated the item, at any time.';
comment on column analytics.content_popularity.rating_average is 'Average rating, 1.00 to 5.00; null without ratings.';
comment on column analytics.content_popularity.popularity_score is 'Sum over sessions (1) and completions (3), each halved every 14 days.';
comment on column analytics.content_popularity.refreshed_at is 'Time of the last refresh.';

grant select on analytics.content_popularity to :PLINTH_ANALYST;

-- Grain: one row per day (UTC) since the first activity. Active means a sign-in, a message, a session with content or a use of tokens.
create view analytics.daily_active_accounts with (security_barrier=true) as
 select d.day::date as day,
    a.daily_accounts,
    a.weekly_accounts,
    a.monthly_accounts,
    round(a.daily_accounts::numeric / nullif(a.monthly_accounts, 0)::numeric, 4) as stickiness,
    ( select s.refreshed_at
           from private.roll_up_state s) as refreshed_at
   from generate_series((( select min(f.day) as min
           from private.account_days f))::timestamp without time zone, ( select (s.watermark at time zone 'UTC'::text) as timezone
           from private.roll_up_state s), '1 day'::interval) d(day)
     cross join lateral ( select count(distinct k.account_id) filter (where k.day = d.day::date) as daily_accounts,
            count(distinct k.account_id) filter (where k.day > (d.day::date - 7)) as weekly_accounts,
            count(distinct k.account_id) as monthly_accounts
           from private.account_days k
          where k.day > (d.day::date - 30) and k.day <= d.day::date) a;

comment on view analytics.daily_active_accounts is 'Grain: one row per day (UTC) since the first activity. Active means a sign-in, a message, a session with content or a use of tokens.';
comment on column analytics.daily_active_accounts.day is 'Day in UTC.';
comment on column analytics.daily_active_accounts.daily_accounts is 'Number of accounts active on the day (DAU), accounts deleted since included.';
comment on column analytics.daily_active_accounts.weekly_accounts is 'Number of accounts active in the 7 days that end with the day (WAU).';
comment on column analytics.daily_active_accounts.monthly_accounts is 'Number of accounts active in the 30 days that end with the day (MAU).';
comment on column analytics.daily_active_accounts.stickiness is 'Ratio daily_accounts / monthly_accounts, 0 to 1; null when no account was active in the 30 days.';
comment on column analytics.daily_active_accounts.refreshed_at is 'Time when the job roll-up-days last summed a day.';

grant select on analytics.daily_active_accounts to :PLINTH_ANALYST;

-- Grain: one row per day (UTC) and model with an answer.
create view analytics.daily_model_usage with (security_barrier=true) as
 select d.day::date as day,
    a.model_id,
    p.name as provider_name,
    mo.name as model_name,
    a.messages,
    a.users,
    a.tokens_used
   from generate_series(( select date_trunc('day'::text, (min(f.created_at) at time zone 'UTC'::text)) as date_trunc
           from llm.messages f
          where f.created_at >= '2000-01-01 00:00:00+00'::timestamp with time zone), ( select (max(l.created_at) at time zone 'UTC'::text) as timezone
           from llm.messages l
          where l.created_at < (now() + '1 day'::interval)), '1 day'::interval) d(day)
     cross join lateral ( select m.model_id,
            count(*) as messages,
            count(distinct m.user_id) as users,
            coalesce(sum(m.tokens_used), 0::bigint) as tokens_used
           from llm.messages m
          where m.model_id is not null and m.created_at >= (d.day at time zone 'UTC'::text) and m.created_at < ((d.day + '1 day'::interval) at time zone 'UTC'::text)
          group by m.model_id) a
     join llm.models mo on mo.id = a.model_id
     join llm.model_providers p on p.id = mo.provider_id;

comment on view analytics.daily_model_usage is 'Grain: one row per day (UTC) and model with an answer.';
comment on column analytics.daily_model_usage.day is 'Day in UTC.';
comment on column analytics.daily_model_usage.model_id is 'The model.';
comment on column analytics.daily_model_usage.provider_name is 'Provider of the model.';
comment on column analytics.daily_model_usage.model_name is 'The provider''s name for the model.';
comment on column analytics.daily_model_usage.messages is 'Number of answers of the model.';
comment on column analytics.daily_model_usage.users is 'Number of users who received them.';
comment on column analytics.daily_model_usage.tokens_used is 'Number of tokens recorded for them; messages without a count add nothing.';

grant select on analytics.daily_model_usage to :PLINTH_ANALYST;

-- Grain: one row per day (UTC) with a registration.
create view analytics.daily_registrations with (security_barrier=true) as
 select d.day::date as day,
    a.registered_users,
    a.verified_users,
    a.active_users
   from generate_series(( select date_trunc('day'::text, (min(f.created_at) at time zone 'UTC'::text)) as date_trunc
           from identity.users f
          where f.created_at >= '2000-01-01 00:00:00+00'::timestamp with time zone), ( select (max(l.created_at) at time zone 'UTC'::text) as timezone
           from identity.users l
          where l.created_at < (now() + '1 day'::interval)), '1 day'::interval) d(day)
     cross join lateral ( select count(*) as registered_users,
            count(*) filter (where u.is_verified) as verified_users,
            count(*) filter (where u.is_active) as active_users
           from identity.users u
          where u.created_at >= (d.day at time zone 'UTC'::text) and u.created_at < ((d.day + '1 day'::interval) at time zone 'UTC'::text)
         having count(*) > 0) a;

comment on view analytics.daily_registrations is 'Grain: one row per day (UTC) with a registration.';
comment on column analytics.daily_registrations.day is 'Day in UTC.';
comment on column analytics.daily_registrations.registered_users is 'Number of accounts created that day that still exist.';
comment on column analytics.daily_registrations.verified_users is 'Number of those accounts whose address is verified today.';
comment on column analytics.daily_registrations.active_users is 'Number of those accounts that are active today.';

grant select on analytics.daily_registrations to :PLINTH_ANALYST;

-- Grain: one row per day (UTC) of payment, plan and currency. Net revenue is gross without refunds and without what is in dispute, a chargeback included; each counts on the day of its payment, so past days change.
create view analytics.daily_revenue with (security_barrier=true) as
 select day,
    plan_code,
    currency,
    payments,
    gross_cents,
    refunded_cents,
    disputed_cents,
    analytics.major_units(gross_cents::numeric, currency) as gross,
    analytics.major_units(refunded_cents::numeric, currency) as refunded,
    analytics.major_units(disputed_cents::numeric, currency) as disputed,
    analytics.major_units((gross_cents - refunded_cents - disputed_cents)::numeric, currency) as net,
    ( select s.refreshed_at
           from private.roll_up_state s) as refreshed_at
   from private.revenue_days k;

comment on view analytics.daily_revenue is 'Grain: one row per day (UTC) of payment, plan and currency. Net revenue is gross without refunds and without what is in dispute, a chargeback included; each counts on the day of its payment, so past days change.';
comment on column analytics.daily_revenue.day is 'Day of the payments in UTC.';
comment on column analytics.daily_revenue.plan_code is 'Code of the plan that was paid; null for payments without a plan.';
comment on column analytics.daily_revenue.currency is 'ISO 4217 code of the amounts.';
comment on column analytics.daily_revenue.payments is 'Number of payments received.';
comment on column analytics.daily_revenue.gross_cents is 'Sum of the payments in the currency''s smallest unit, which is the yen for JPY.';
comment on column analytics.daily_revenue.refunded_cents is 'Part of gross_cents that was refunded since, in the smallest unit.';
comment on column analytics.daily_revenue.disputed_cents is 'Part of gross_cents that is in dispute and not refunded, in the smallest unit; a lost dispute (chargeback) stays, a won one does not.';
comment on column analytics.daily_revenue.gross is 'Sum of the payments in units of currency.';
comment on column analytics.daily_revenue.refunded is 'Part of gross that was refunded since, in units of currency.';
comment on column analytics.daily_revenue.disputed is 'Part of gross that is in dispute, in units of currency.';
comment on column analytics.daily_revenue.net is 'Gross without refunded and disputed, in units of currency.';
comment on column analytics.daily_revenue.refreshed_at is 'Time when the job roll-up-days last summed a day.';

grant select on analytics.daily_revenue to :PLINTH_ANALYST;

-- Grain: one row per day (UTC) and status of sign-in attempts.
create view analytics.daily_sign_ins with (security_barrier=true) as
 select k.day,
    k.status,
    k.attempts,
    k.users,
    k.ip_addresses
   from private.sign_in_days k
  where k.day < (( select (s.watermark at time zone 'UTC'::text)::date - 1
           from private.roll_up_state s))
union all
 select d.day::date as day,
    a.status,
    a.attempts,
    a.users,
    a.ip_addresses
   from private.roll_up_state s
     cross join lateral generate_series(
        case
            when s.watermark is null then ( select date_trunc('day'::text, (min(f.created_at) at time zone 'UTC'::text)) as date_trunc
               from security.login_attempts f)
            else least((s.watermark at time zone 'UTC'::text)::date - 1, ( select min(p.day) as min
               from private.days_to_roll_up p))::timestamp without time zone
        end, (coalesce(( select max(l.created_at) as max
           from security.login_attempts l
          where l.created_at >= now()), now()) at time zone 'UTC'::text), '1 day'::interval) d(day)
     cross join lateral ( select l.status,
            count(*) as attempts,
            count(distinct l.user_id) as users,
            count(distinct l.ip_address) as ip_addresses
           from security.login_attempts l
          where l.created_at >= (d.day at time zone 'UTC'::text) and l.created_at < ((d.day + '1 day'::interval) at time zone 'UTC'::text)
          group by l.status) a
  where s.watermark is null or d.day >= ((s.watermark at time zone 'UTC'::text)::date - 1) or (( select true
           from private.sign_in_days k
          where k.day = d.day::date
         limit 1)) is null;

comment on view analytics.daily_sign_ins is 'Grain: one row per day (UTC) and status of sign-in attempts.';
comment on column analytics.daily_sign_ins.day is 'Day in UTC.';
comment on column analytics.daily_sign_ins.status is 'Result of the attempts: success, failed, locked or challenged (a second factor was asked for).';
comment on column analytics.daily_sign_ins.attempts is 'Number of attempts.';
comment on column analytics.daily_sign_ins.users is 'Number of accounts that were tried; for today and yesterday, of those that still exist.';
comment on column analytics.daily_sign_ins.ip_addresses is 'Number of client addresses.';

grant select on analytics.daily_sign_ins to :PLINTH_ANALYST;

-- Grain: one row per day (UTC) and model with usage; usage without a model has one row a day. Usage of deleted accounts is included.
create view analytics.daily_token_usage with (security_barrier=true) as
 select d.day,
    d.model_id,
    p.name as provider_name,
    m.name as model_name,
    sum(d.requests)::bigint as requests,
    count(distinct d.user_id) as users,
    sum(d.input_tokens)::bigint as input_tokens,
    sum(d.cached_input_tokens)::bigint as cached_input_tokens,
    sum(d.output_tokens)::bigint as output_tokens,
    sum(d.reasoning_tokens)::bigint as reasoning_tokens,
    sum(d.total_tokens)::bigint as total_tokens,
    sum(d.overdraft_tokens)::bigint as overdraft_tokens,
    sum(d.self_reported_tokens)::bigint as self_reported_tokens
   from billing.daily_usage d
     left join llm.models m on m.id = d.model_id
     left join llm.model_providers p on p.id = m.provider_id
  group by d.day, d.model_id, p.name, m.name;

comment on view analytics.daily_token_usage is 'Grain: one row per day (UTC) and model with usage; usage without a model has one row a day. Usage of deleted accounts is included.';
comment on column analytics.daily_token_usage.day is 'Day of the usage in UTC.';
comment on column analytics.daily_token_usage.model_id is 'The model; null if none was named.';
comment on column analytics.daily_token_usage.provider_name is 'Provider of the model.';
comment on column analytics.daily_token_usage.model_name is 'The provider''s name for the model.';
comment on column analytics.daily_token_usage.requests is 'Number of uses.';
comment on column analytics.daily_token_usage.users is 'Number of accounts that used it and still exist.';
comment on column analytics.daily_token_usage.input_tokens is 'Number of tokens sent, cached ones included.';
comment on column analytics.daily_token_usage.cached_input_tokens is 'Number of input tokens that were cached.';
comment on column analytics.daily_token_usage.output_tokens is 'Number of tokens generated, reasoning included.';
comment on column analytics.daily_token_usage.reasoning_tokens is 'Number of output tokens spent on reasoning.';
comment on column analytics.daily_token_usage.total_tokens is 'Sum of input and output tokens.';
comment on column analytics.daily_token_usage.overdraft_tokens is 'Number of tokens that no grant covered.';
comment on column analytics.daily_token_usage.self_reported_tokens is 'Number of tokens that only users reported.';

grant select on analytics.daily_token_usage to :PLINTH_ANALYST;

-- Grain: one row per day (UTC), plan, model and currency with usage; usage without a model has rows of its own.
create view analytics.daily_usage_by_plan with (security_barrier=true) as
 select k.day,
    k.plan_code,
    k.model_id,
    p.name as provider_name,
    m.name as model_name,
    k.currency,
    count(distinct k.account_id) as accounts,
    sum(k.requests)::bigint as requests,
    sum(k.input_tokens)::bigint as input_tokens,
    sum(k.output_tokens)::bigint as output_tokens,
    sum(k.total_tokens)::bigint as total_tokens,
    sum(k.unpriced_tokens)::bigint as unpriced_tokens,
    sum(k.cost) as cost,
    ( select s.refreshed_at
           from private.roll_up_state s) as refreshed_at
   from private.account_usage_days k
     left join llm.models m on m.id = k.model_id
     left join llm.model_providers p on p.id = m.provider_id
  group by k.day, k.plan_code, k.model_id, p.name, m.name, k.currency;

comment on view analytics.daily_usage_by_plan is 'Grain: one row per day (UTC), plan, model and currency with usage; usage without a model has rows of its own.';
comment on column analytics.daily_usage_by_plan.day is 'Day of the usage in UTC.';
comment on column analytics.daily_usage_by_plan.plan_code is 'Code of the account''s plan at the end of the day; free without a subscription. Null for accounts that were deleted within minutes of the usage.';
comment on column analytics.daily_usage_by_plan.model_id is 'The model; null if none was named.';
comment on column analytics.daily_usage_by_plan.provider_name is 'Provider of the model.';
comment on column analytics.daily_usage_by_plan.model_name is 'The provider''s name for the model.';
comment on column analytics.daily_usage_by_plan.currency is 'ISO 4217 code of cost.';
comment on column analytics.daily_usage_by_plan.accounts is 'Number of accounts with usage, accounts deleted since included.';
comment on column analytics.daily_usage_by_plan.requests is 'Number of uses.';
comment on column analytics.daily_usage_by_plan.input_tokens is 'Number of tokens sent, cached ones included.';
comment on column analytics.daily_usage_by_plan.output_tokens is 'Number of tokens generated, reasoning included.';
comment on column analytics.daily_usage_by_plan.total_tokens is 'Sum of input and output tokens.';
comment on column analytics.daily_usage_by_plan.unpriced_tokens is 'Number of tokens whose cost is unknown and not included in cost.';
comment on column analytics.daily_usage_by_plan.cost is 'Exact cost of the priced tokens in units of currency, not rounded.';
comment on column analytics.daily_usage_by_plan.refreshed_at is 'Time when the job roll-up-days last summed a day.';

grant select on analytics.daily_usage_by_plan to :PLINTH_ANALYST;

-- Grain: one row per day (UTC), model and currency with usage; usage without a model has one row a day.
create view analytics.daily_usage_cost with (security_barrier=true) as
 select d.day,
    d.model_id,
    d.currency,
    p.name as provider_name,
    m.name as model_name,
    sum(d.total_tokens)::bigint as total_tokens,
    sum(d.unpriced_tokens)::bigint as unpriced_tokens,
    sum(d.cost) as cost
   from billing.daily_usage d
     left join llm.models m on m.id = d.model_id
     left join llm.model_providers p on p.id = m.provider_id
  group by d.day, d.model_id, d.currency, p.name, m.name;

comment on view analytics.daily_usage_cost is 'Grain: one row per day (UTC), model and currency with usage; usage without a model has one row a day.';
comment on column analytics.daily_usage_cost.day is 'Day of the usage in UTC.';
comment on column analytics.daily_usage_cost.model_id is 'The model; null if none was named.';
comment on column analytics.daily_usage_cost.currency is 'ISO 4217 code of cost.';
comment on column analytics.daily_usage_cost.provider_name is 'Provider of the model.';
comment on column analytics.daily_usage_cost.model_name is 'The provider''s name for the model.';
comment on column analytics.daily_usage_cost.total_tokens is 'Number of tokens sent and generated.';
comment on column analytics.daily_usage_cost.unpriced_tokens is 'Number of tokens whose cost is unknown and not included in cost.';
comment on column analytics.daily_usage_cost.cost is 'Exact cost of the priced tokens in units of currency, not rounded.';

grant select on analytics.daily_usage_cost to :PLINTH_ANALYST;

-- Grain: one row per day (UTC) and network with rejected sign-ins.
create view analytics.failed_logins_by_network with (security_barrier=true) as
 select d.day::date as day,
    a.network,
    a.failed_attempts,
    a.users,
    a.unknown_account_attempts,
    a.last_attempt_at
   from generate_series(( select date_trunc('day'::text, (min(f.created_at) at time zone 'UTC'::text)) as date_trunc
           from security.login_attempts f), ( select (max(l.created_at) at time zone 'UTC'::text) as timezone
           from security.login_attempts l), '1 day'::interval) d(day)
     cross join lateral ( select network(set_masklen(l.ip_address,
                case family(l.ip_address)
                    when 4 then 24
                    else 48
                end)) as network,
            count(*) as failed_attempts,
            count(distinct l.user_id) as users,
            count(*) filter (where l.user_id is null) as unknown_account_attempts,
            max(l.created_at) as last_attempt_at
           from security.login_attempts l
          where l.created_at >= (d.day at time zone 'UTC'::text) and l.created_at < ((d.day + '1 day'::interval) at time zone 'UTC'::text) and (l.status = any (array['failed'::text, 'locked'::text])) and l.ip_address is not null
          group by (network(set_masklen(l.ip_address,
                case family(l.ip_address)
                    when 4 then 24
                    else 48
                end)))) a;

comment on view analytics.failed_logins_by_network is 'Grain: one row per day (UTC) and network with rejected sign-ins.';
comment on column analytics.failed_logins_by_network.day is 'Day in UTC.';
comment on column analytics.failed_logins_by_network.network is 'Client network: /24 of IPv4, /48 of IPv6 addresses.';
comment on column analytics.failed_logins_by_network.failed_attempts is 'Number of rejected attempts, locked accounts included.';
comment on column analytics.failed_logins_by_network.users is 'Number of existing accounts that were tried.';
comment on column analytics.failed_logins_by_network.unknown_account_attempts is 'Number of attempts that named an account that does not exist.';
comment on column analytics.failed_logins_by_network.last_attempt_at is 'Time of the last rejected attempt.';

grant select on analytics.failed_logins_by_network to :PLINTH_ANALYST;

-- Grain: one row per month (UTC), plan with an active account and feature.
create view analytics.feature_use_by_plan with (security_barrier=true) as
 select m.month::date as month,
    x.plan_code,
    x.feature,
    x.active_accounts,
    x.accounts,
    x.uses,
    round(x.accounts::numeric / x.active_accounts::numeric, 4) as share_of_accounts,
    ( select s.refreshed_at
           from private.roll_up_state s) as refreshed_at
   from generate_series(( select date_trunc('month'::text, min(f.day)::timestamp without time zone) as date_trunc
           from private.account_days f), ( select max(l.day)::timestamp without time zone as max
           from private.account_days l), '1 mon'::interval) m(month)
     cross join lateral ( select k.plan_code,
            f.feature,
            count(distinct k.account_id) as active_accounts,
            count(distinct k.account_id) filter (where f.uses > 0) as accounts,
            sum(f.uses)::bigint as uses
           from private.account_days k
             cross join lateral ( values ('sign_in'::text,k.sign_ins), ('chat_message'::text,k.chat_messages), ('room_message'::text,k.room_messages), ('content_session'::text,k.content_sessions), ('token_use'::text,k.token_uses)) f(feature, uses)
          where k.day >= m.month::date and k.day < (m.month + '1 mon'::interval)::date
          group by k.plan_code, f.feature) x;

comment on view analytics.feature_use_by_plan is 'Grain: one row per month (UTC), plan with an active account and feature.';
comment on column analytics.feature_use_by_plan.month is 'First day of the month.';
comment on column analytics.feature_use_by_plan.plan_code is 'Code of the account''s plan at the end of the day; free without a subscription. An account with two plans in a month counts for both.';
comment on column analytics.feature_use_by_plan.feature is 'Feature: sign_in, chat_message (to a model), room_message, content_session or token_use.';
comment on column analytics.feature_use_by_plan.active_accounts is 'Number of accounts of the plan with any activity in the month.';
comment on column analytics.feature_use_by_plan.accounts is 'Number of those accounts that used the feature.';
comment on column analytics.feature_use_by_plan.uses is 'Number of uses.';
comment on column analytics.feature_use_by_plan.share_of_accounts is 'Ratio accounts / active_accounts, 0 to 1.';
comment on column analytics.feature_use_by_plan.refreshed_at is 'Time when the job roll-up-days last summed a day.';

grant select on analytics.feature_use_by_plan to :PLINTH_ANALYST;

-- Grain: one row per item. Started against completed, by existing accounts.
create view analytics.item_completion with (security_barrier=true) as
 select i.id as item_id,
    i.course_id,
    i.content_type,
    i.language,
    i.current_version is not null and i.deleted_at is null as is_published,
    p.started_users,
    p.completed_users,
    round(p.completed_users::numeric / nullif(p.started_users, 0)::numeric, 4) as completion_rate,
    p.median_seconds_to_complete,
    p.last_activity_at
   from learning.content_items i
     cross join lateral ( select count(*) as started_users,
            count(c.completed_at) as completed_users,
            round(percentile_cont(0.5::double precision) within group (order by (extract(epoch from c.completed_at - c.started_at)::double precision)) filter (where c.completed_at is not null))::bigint as median_seconds_to_complete,
            max(c.last_activity_at) as last_activity_at
           from learning.content_progress c
          where c.item_id = i.id) p;

comment on view analytics.item_completion is 'Grain: one row per item. Started against completed, by existing accounts.';
comment on column analytics.item_completion.item_id is 'The item.';
comment on column analytics.item_completion.course_id is 'The course that the item is part of; null if it is part of none.';
comment on column analytics.item_completion.content_type is 'Type of the item, such as course, lesson or article.';
comment on column analytics.item_completion.language is 'Language tag of the item.';
comment on column analytics.item_completion.is_published is 'Whether the item has a published version and is not deleted.';
comment on column analytics.item_completion.started_users is 'Number of users who have started the item.';
comment on column analytics.item_completion.completed_users is 'Number of those users who have completed it.';
comment on column analytics.item_completion.completion_rate is 'Ratio completed_users / started_users, 0 to 1; null when no user has started it.';
comment on column analytics.item_completion.median_seconds_to_complete is 'Median time from start to completion, in seconds, breaks included; null without a completion.';
comment on column analytics.item_completion.last_activity_at is 'Time of the last activity of any user; null without one.';

grant select on analytics.item_completion to :PLINTH_ANALYST;

-- Grain: one row per sign-in attempt, within its retention.
create view analytics.login_attempts as
 select id,
    user_id,
    network(set_masklen(ip_address,
        case family(ip_address)
            when 4 then 24
            else 48
        end)) as ip_address,
    status,
        case
            when failure_reason = any (array['unknown_account'::text, 'wrong_password'::text, 'account_locked'::text, 'account_disabled'::text, 'network_not_allowed'::text, 'challenge_expired'::text, 'wrong_code'::text, 'code_reused'::text, 'second_factor_locked'::text, 'wrong_passkey'::text, 'passkey_cloned'::text]) then failure_reason
            when failure_reason is not null then 'other'::text
            else null::text
        end as failure_reason,
    created_at
   from security.login_attempts l;

comment on view analytics.login_attempts is 'Grain: one row per sign-in attempt, within its retention.';
comment on column analytics.login_attempts.id is 'The attempt.';
comment on column analytics.login_attempts.user_id is 'The account; null if no account has the name that was tried, or the account was deleted.';
comment on column analytics.login_attempts.ip_address is 'Network of the client: /24 of IPv4, /48 of IPv6 addresses.';
comment on column analytics.login_attempts.status is 'Result: success, failed, locked or challenged (a second factor was requested).';
comment on column analytics.login_attempts.failure_reason is 'Reason for the failure: unknown_account, wrong_password, account_locked, account_disabled, network_not_allowed, challenge_expired, wrong_code, code_reused, second_factor_locked, wrong_passkey, passkey_cloned or other; null on success.';
comment on column analytics.login_attempts.created_at is 'Time of the attempt.';

grant select on analytics.login_attempts to :PLINTH_ANALYST;

-- Grain: one row per model and currency with a price today; models without a price have one row.
create view analytics.model_catalogue with (security_barrier=true) as
 select m.id as model_id,
    p.name as provider_name,
    m.name as model_name,
    m.display_name,
    m.is_active and p.is_active as is_active,
    m.is_public,
    mp.currency,
    mp.input_price_per_million_tokens,
    mp.output_price_per_million_tokens,
    mp.cached_input_price_per_million_tokens,
    mp.effective_from as price_effective_from,
    mp.reasoning_price_per_million_tokens
   from llm.models m
     join llm.model_providers p on p.id = m.provider_id
     left join billing.model_prices mp on mp.model_id = m.id and tstzrange(mp.effective_from, mp.effective_to) @> now();

comment on view analytics.model_catalogue is 'Grain: one row per model and currency with a price today; models without a price have one row.';
comment on column analytics.model_catalogue.model_id is 'The model.';
comment on column analytics.model_catalogue.provider_name is 'Provider of the model.';
comment on column analytics.model_catalogue.model_name is 'The provider''s name for the model.';
comment on column analytics.model_catalogue.display_name is 'Display name of the model.';
comment on column analytics.model_catalogue.is_active is 'Whether model and provider are active.';
comment on column analytics.model_catalogue.is_public is 'Whether every signed-in user may use it.';
comment on column analytics.model_catalogue.currency is 'ISO 4217 code of the prices; null without a price.';
comment on column analytics.model_catalogue.input_price_per_million_tokens is 'Price of 1,000,000 tokens sent to the model.';
comment on column analytics.model_catalogue.output_price_per_million_tokens is 'Price of 1,000,000 tokens generated by the model.';
comment on column analytics.model_catalogue.cached_input_price_per_million_tokens is 'Price of 1,000,000 cached tokens sent to the model.';
comment on column analytics.model_catalogue.price_effective_from is 'Time from which the price applies; null means always.';
comment on column analytics.model_catalogue.reasoning_price_per_million_tokens is 'Price of 1,000,000 reasoning tokens; null when they cost as much as output tokens.';

grant select on analytics.model_catalogue to :PLINTH_ANALYST;

-- Grain: one row per permission, with the number of active users who hold it now.
create view analytics.permission_holders with (security_barrier=true) as
 select p.permission_name,
    count(distinct h.role_id) as roles,
    count(distinct h.user_id) as users,
    count(distinct h.user_id) filter (where h.expires_at is null) as users_without_expiry,
    count(distinct h.user_id) filter (where not h.requires_mfa) as users_without_second_factor,
    min(h.expires_at) as next_expiry_at
   from access.permissions p
     left join ( select rp.permission_id,
            ur.user_id,
            ur.role_id,
            ur.expires_at,
            r.requires_mfa
           from access.user_roles ur
             join identity.users u on u.id = ur.user_id and u.is_active
             join access.roles r on r.id = ur.role_id
             join access.role_permissions rp on rp.role_id = ur.role_id
          where ur.expires_at is null or ur.expires_at > now()) h on h.permission_id = p.id
  group by p.permission_name;

comment on view analytics.permission_holders is 'Grain: one row per permission, with the number of active users who hold it now.';
comment on column analytics.permission_holders.permission_name is 'Name of the permission, such as edit_content.';
comment on column analytics.permission_holders.roles is 'Number of roles through which users hold it.';
comment on column analytics.permission_holders.users is 'Number of active users who hold it.';
comment on column analytics.permission_holders.users_without_expiry is 'Number of users who hold it without an expiry.';
comment on column analytics.permission_holders.users_without_second_factor is 'Number of users who hold it also in sessions without a second factor.';
comment on column analytics.permission_holders.next_expiry_at is 'Time of the next expiry; null if none expires.';

grant select on analytics.permission_holders to :PLINTH_ANALYST;

-- Grain: one row per unit, sign-up week or month (UTC) and period since. The last period has not ended.
create view analytics.retention_cohorts with (security_barrier=true) as
 select u.cohort_unit,
    c.cohort_start::date as cohort_start,
    (p.number - 1)::integer as period,
    n.accounts,
    coalesce(x.active_accounts, 0::bigint) as active_accounts,
    round(coalesce(x.active_accounts, 0::bigint)::numeric / n.accounts::numeric, 4) as retention_rate,
    ( select s.refreshed_at
           from private.roll_up_state s) as refreshed_at
   from ( values ('week'::text,'7 days'::interval), ('month'::text,'1 mon'::interval)) u(cohort_unit, length)
     cross join lateral generate_series(( select date_trunc(u.cohort_unit, min(f.signed_up_on)::timestamp without time zone) as date_trunc
           from private.rolled_up_accounts f), ( select (s.watermark at time zone 'UTC'::text) as timezone
           from private.roll_up_state s), u.length) c(cohort_start)
     cross join lateral ( select count(*) as accounts
           from private.rolled_up_accounts a
          where a.signed_up_on >= c.cohort_start::date and a.signed_up_on < (c.cohort_start + u.length)::date
         having count(*) > 0) n
     cross join lateral generate_series(c.cohort_start, ( select (s.watermark at time zone 'UTC'::text) as timezone
           from private.roll_up_state s), u.length) with ordinality p(period_start, number)
     left join lateral ( select date_trunc(u.cohort_unit, k.day::timestamp without time zone) as period_start,
            count(distinct k.account_id) as active_accounts
           from private.rolled_up_accounts a
             join private.account_days k on k.account_id = a.id
          where a.signed_up_on >= c.cohort_start::date and a.signed_up_on < (c.cohort_start + u.length)::date
          group by (date_trunc(u.cohort_unit, k.day::timestamp without time zone))) x on x.period_start = p.period_start;

comment on view analytics.retention_cohorts is 'Grain: one row per unit, sign-up week or month (UTC) and period since. The last period has not ended.';
comment on column analytics.retention_cohorts.cohort_unit is 'Length of cohorts and periods: week (from Monday) or month.';
comment on column analytics.retention_cohorts.cohort_start is 'First day of the week or month in which the accounts were created.';
comment on column analytics.retention_cohorts.period is 'Number of weeks or months after the cohort''s own, which is 0.';
comment on column analytics.retention_cohorts.accounts is 'Number of accounts in the cohort, accounts deleted since included.';
comment on column analytics.retention_cohorts.active_accounts is 'Number of those accounts with activity in the period.';
comment on column analytics.retention_cohorts.retention_rate is 'Ratio active_accounts / accounts, 0 to 1.';
comment on column analytics.retention_cohorts.refreshed_at is 'Time when the job roll-up-days last summed a day.';

grant select on analytics.retention_cohorts to :PLINTH_ANALYST;

-- Grain: one row per month (UTC), plan and currency with a payment or usage. Currencies are not converted. Net revenue is that of daily_revenue.
create view analytics.revenue_and_cost with (security_barrier=true) as
 select m.month::date as month,
    x.plan_code,
    x.currency,
    x.payments,
    x.gross,
    x.refunded,
    x.disputed,
    x.net,
    x.total_tokens,
    x.unpriced_tokens,
    x.cost,
    x.net - x.cost as margin,
    ( select s.refreshed_at
           from private.roll_up_state s) as refreshed_at
   from generate_series(date_trunc('month'::text, least(( select min(f.day) as min
           from private.revenue_days f), ( select min(f.day) as min
           from private.account_usage_days f))::timestamp without time zone), greatest(( select max(l.day) as max
           from private.revenue_days l), ( select max(l.day) as max
           from private.account_usage_days l))::timestamp without time zone, '1 mon'::interval) m(month)
     cross join lateral ( select d.plan_code,
            d.currency,
            sum(d.payments)::bigint as payments,
            analytics.major_units(sum(d.gross_cents), d.currency) as gross,
            analytics.major_units(sum(d.refunded_cents), d.currency) as refunded,
            analytics.major_units(sum(d.disputed_cents), d.currency) as disputed,
            analytics.major_units(sum(d.gross_cents - d.refunded_cents - d.disputed_cents), d.currency) as net,
            sum(d.total_tokens)::bigint as total_tokens,
            sum(d.unpriced_tokens)::bigint as unpriced_tokens,
            sum(d.cost) as cost
           from ( select r.day,
                    r.plan_code,
                    r.currency,
                    r.payments,
                    r.gross_cents,
                    r.refunded_cents,
                    r.disputed_cents,
                    0 as total_tokens,
                    0 as unpriced_tokens,
                    0 as cost
                   from private.revenue_days r
                union all
                 select k.day,
                    k.plan_code,
                    k.currency,
                    0,
                    0,
                    0,
                    0,
                    k.total_tokens,
                    k.unpriced_tokens,
                    k.cost
                   from private.account_usage_days k) d
          where d.day >= m.month::date and d.day < (m.month + '1 mon'::interval)::date
          group by d.plan_code, d.currency) x;

comment on view analytics.revenue_and_cost is 'Grain: one row per month (UTC), plan and currency with a payment or usage. Currencies are not converted. Net revenue is that of daily_revenue.';
comment on column analytics.revenue_and_cost.month is 'First day of the month.';
comment on column analytics.revenue_and_cost.plan_code is 'Code of the plan: that was paid, or that the account had on the day of the usage; null if it is unknown.';
comment on column analytics.revenue_and_cost.currency is 'ISO 4217 code of the amounts.';
comment on column analytics.revenue_and_cost.payments is 'Number of payments received in the month.';
comment on column analytics.revenue_and_cost.gross is 'Sum of the payments in units of currency.';
comment on column analytics.revenue_and_cost.refunded is 'Part of gross that was refunded since, in units of currency.';
comment on column analytics.revenue_and_cost.disputed is 'Part of gross that is in dispute, in units of currency.';
comment on column analytics.revenue_and_cost.net is 'Gross without refunded and disputed, in units of currency.';
comment on column analytics.revenue_and_cost.total_tokens is 'Number of tokens used by accounts of the plan.';
comment on column analytics.revenue_and_cost.unpriced_tokens is 'Number of those tokens whose cost is unknown and not included in cost.';
comment on column analytics.revenue_and_cost.cost is 'Exact cost of the priced tokens in units of currency, not rounded.';
comment on column analytics.revenue_and_cost.margin is 'Difference net - cost in units of currency. Cost in another currency is in a row of its own.';
comment on column analytics.revenue_and_cost.refreshed_at is 'Time when the job roll-up-days last summed a day.';

grant select on analytics.revenue_and_cost to :PLINTH_ANALYST;

-- Grain: one row per kept total. The job roll-up-days keeps them.
create view analytics.roll_ups with (security_barrier=true) as
 select t.name,
    s.watermark,
    s.refreshed_at,
    t.rows,
    p.pending_days
   from private.roll_up_state s
     cross join lateral ( values ('accounts'::text,( select count(*) as count
                   from private.rolled_up_accounts)), ('account_activity'::text,( select count(*) as count
                   from private.account_days)), ('daily_revenue'::text,( select count(*) as count
                   from private.revenue_days)), ('daily_sign_ins'::text,( select count(*) as count
                   from private.sign_in_days)), ('daily_usage_by_plan'::text,( select count(*) as count
                   from private.account_usage_days))) t(name, rows)
     cross join ( select count(distinct d.day) as pending_days
           from private.days_to_roll_up d) p;

comment on view analytics.roll_ups is 'Grain: one row per kept total. The job roll-up-days keeps them.';
comment on column analytics.roll_ups.name is 'Name of the total: that of the view which shows it; accounts are behind the cohorts and the funnel.';
comment on column analytics.roll_ups.watermark is 'Time up to which new rows were looked for; null before the first run.';
comment on column analytics.roll_ups.refreshed_at is 'Time when the job roll-up-days last summed a day; null before the first run.';
comment on column analytics.roll_ups.rows is 'Number of rows kept.';
comment on column analytics.roll_ups.pending_days is 'Number of days that wait to be summed; they fall to 0 during the first run.';

grant select on analytics.roll_ups to :PLINTH_ANALYST;

-- Grain: one row per room.
create view analytics.room_activity with (security_barrier=true) as
 select r.id as room_id,
    r.room_type,
    r.is_public,
    r.ai_enabled,
    m.members,
    r.last_sequence as messages,
    d.messages_30_days,
    d.senders_30_days,
    m.unread_messages,
    m.members_behind,
    r.last_activity_at,
    r.created_at
   from rooms.chat_rooms r
     cross join lateral ( select count(*) as members,
            coalesce(sum(greatest(r.last_sequence - b.last_read_sequence, 0::bigint)), 0::numeric)::bigint as unread_messages,
            count(*) filter (where b.last_read_sequence < r.last_sequence) as members_behind
           from rooms.room_members b
          where b.room_id = r.id and b.user_id is not null) m
     cross join lateral ( select count(*) as messages_30_days,
            count(distinct c.sender_id) as senders_30_days
           from rooms.room_messages c
          where c.room_id = r.id and not c.is_deleted and c.created_at > (now() - '30 days'::interval)) d;

comment on view analytics.room_activity is 'Grain: one row per room.';
comment on column analytics.room_activity.room_id is 'The room.';
comment on column analytics.room_activity.room_type is 'Type of the room: direct, group or private.';
comment on column analytics.room_activity.is_public is 'Whether every user may join the room.';
comment on column analytics.room_activity.ai_enabled is 'Whether a model is a member of the room.';
comment on column analytics.room_activity.members is 'Number of members with an account.';
comment on column analytics.room_activity.messages is 'Number of messages ever posted, deleted ones included.';
comment on column analytics.room_activity.messages_30_days is 'Number of messages of the last 30 days that are not deleted.';
comment on column analytics.room_activity.senders_30_days is 'Number of existing accounts that posted them.';
comment on column analytics.room_activity.unread_messages is 'Unread load: messages after the read mark, summed over the members; own and deleted messages after the mark count too.';
comment on column analytics.room_activity.members_behind is 'Number of members with a message after their read mark.';
comment on column analytics.room_activity.last_activity_at is 'Time of the last event in the room.';
comment on column analytics.room_activity.created_at is 'Time when the room was created.';

grant select on analytics.room_activity to :PLINTH_ANALYST;

-- Grain: one row per room and invited account.
create view analytics.room_invites as
 select id,
    room_id,
    inviter_id,
    invitee_id,
    status,
    created_at,
    responded_at
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

-- Grain: one row per message in a room.
create view analytics.room_messages as
 select id,
    room_id,
    sender_id,
    null::text as content,
    sender_type,
    message_type,
    reply_to_id,
    is_private,
    is_deleted,
    created_at,
    edited_at,
    deleted_at
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

-- Grain: one row per security event, within its retention.
create view analytics.security_audit_log as
 select id,
    user_id,
    actor_id,
    event_type,
    severity,
    network(set_masklen(ip_address,
        case family(ip_address)
            when 4 then 24
            else 48
        end)) as ip_address,
    created_at
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

-- Grain: one row per hour, type and severity of security events.
create view analytics.security_events_hourly with (security_barrier=true) as
 select h.hour,
    a.event_type,
    a.severity,
    a.events,
    a.users
   from generate_series(( select date_trunc('hour'::text, min(f.created_at), 'UTC'::text) as date_trunc
           from security.security_audit_log f), ( select max(l.created_at) as max
           from security.security_audit_log l), '01:00:00'::interval) h(hour)
     cross join lateral ( select l.event_type,
            l.severity,
            count(*) as events,
            count(distinct l.user_id) as users
           from security.security_audit_log l
          where l.created_at >= h.hour and l.created_at < (h.hour + '01:00:00'::interval)
          group by l.event_type, l.severity) a;

comment on view analytics.security_events_hourly is 'Grain: one row per hour, type and severity of security events.';
comment on column analytics.security_events_hourly.hour is 'Start of the hour.';
comment on column analytics.security_events_hourly.event_type is 'Type of the event, such as login_failed.';
comment on column analytics.security_events_hourly.severity is 'Severity: debug, info, warning, error or critical.';
comment on column analytics.security_events_hourly.events is 'Number of events.';
comment on column analytics.security_events_hourly.users is 'Number of existing accounts concerned.';

grant select on analytics.security_events_hourly to :PLINTH_ANALYST;

-- Grain: one row per session, as in user_sessions.
create view analytics.sessions as
 select id,
    user_id,
    is_active,
    created_at,
    expires_at,
    last_activity_at,
    ip_address as client_ip
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

-- Grain: one row per session state; ended sessions are kept for 90 days.
create view analytics.sessions_by_state with (security_barrier=true) as
 select coalesce(end_reason,
        case
            when expires_at <= now() then 'expired'::text
            when last_activity_at > (now() - '01:00:00'::interval) then 'active_last_hour'::text
            else 'open'::text
        end) as state,
    count(*) as sessions,
    count(distinct user_id) as users,
    max(last_activity_at) as last_activity_at
   from identity.user_sessions s
  group by (coalesce(end_reason,
        case
            when expires_at <= now() then 'expired'::text
            when last_activity_at > (now() - '01:00:00'::interval) then 'active_last_hour'::text
            else 'open'::text
        end));

comment on view analytics.sessions_by_state is 'Grain: one row per session state; ended sessions are kept for 90 days.';
comment on column analytics.sessions_by_state.state is 'State of the sessions: active_last_hour and open are usable; any other value is why the session ended, such as logout or expired.';
comment on column analytics.sessions_by_state.sessions is 'Number of sessions.';
comment on column analytics.sessions_by_state.users is 'Number of accounts.';
comment on column analytics.sessions_by_state.last_activity_at is 'Time one of them was last used.';

grant select on analytics.sessions_by_state to :PLINTH_ANALYST;

-- Grain: one row per unit and day, week or month (UTC) with a sign-up. Steps count alone: an account may pay without a message.
create view analytics.sign_up_funnel with (security_barrier=true) as
 select u.cohort_unit,
    c.cohort_start::date as cohort_start,
    n.signed_up,
    n.verified,
    n.sent_message,
    n.paid,
    n.median_seconds_to_verified,
    n.median_seconds_to_first_message,
    n.median_seconds_to_first_payment,
    ( select s.refreshed_at
           from private.roll_up_state s) as refreshed_at
   from ( values ('day'::text,'1 day'::interval), ('week'::text,'7 days'::interval), ('month'::text,'1 mon'::interval)) u(cohort_unit, length)
     cross join lateral generate_series(( select date_trunc(u.cohort_unit, min(f.signed_up_on)::timestamp without time zone) as date_trunc
           from private.rolled_up_accounts f), ( select max(l.signed_up_on)::timestamp without time zone as max
           from private.rolled_up_accounts l), u.length) c(cohort_start)
     cross join lateral ( select count(*) as signed_up,
            count(a.seconds_to_verified) as verified,
            count(a.seconds_to_first_message) as sent_message,
            count(a.seconds_to_first_payment) as paid,
            round(percentile_cont(0.5::double precision) within group (order by (a.seconds_to_verified::double precision)))::bigint as median_seconds_to_verified,
            round(percentile_cont(0.5::double precision) within group (order by (a.seconds_to_first_message::double precision)))::bigint as median_seconds_to_first_message,
            round(percentile_cont(0.5::double precision) within group (order by (a.seconds_to_first_payment::double precision)))::bigint as median_seconds_to_first_payment
           from private.rolled_up_accounts a
          where a.signed_up_on >= c.cohort_start::date and a.signed_up_on < (c.cohort_start + u.length)::date
         having count(*) > 0) n;

comment on view analytics.sign_up_funnel is 'Grain: one row per unit and day, week or month (UTC) with a sign-up. Steps count alone: an account may pay without a message.';
comment on column analytics.sign_up_funnel.cohort_unit is 'Length of the cohort: day, week (from Monday) or month.';
comment on column analytics.sign_up_funnel.cohort_start is 'First day on which the accounts were created.';
comment on column analytics.sign_up_funnel.signed_up is 'Number of accounts created, accounts deleted since included.';
comment on column analytics.sign_up_funnel.verified is 'Number of those accounts that have verified an e-mail address so far.';
comment on column analytics.sign_up_funnel.sent_message is 'Number of those accounts that have sent a message to a model so far.';
comment on column analytics.sign_up_funnel.paid is 'Number of those accounts that have made a payment above zero so far.';
comment on column analytics.sign_up_funnel.median_seconds_to_verified is 'Median time from sign-up to verification, in seconds; null if there was none.';
comment on column analytics.sign_up_funnel.median_seconds_to_first_message is 'Median time from sign-up to the first message to a model, in seconds; null if there was none.';
comment on column analytics.sign_up_funnel.median_seconds_to_first_payment is 'Median time from sign-up to the first payment, in seconds; null if there was none.';
comment on column analytics.sign_up_funnel.refreshed_at is 'Time when the job roll-up-days last summed a day.';

grant select on analytics.sign_up_funnel to :PLINTH_ANALYST;

-- Grain: one row per skill.
create view analytics.skills as
 select id,
    skill_name,
    training_gain,
    is_active,
    created_at,
    updated_at
   from learning.skills s;

comment on view analytics.skills is 'Grain: one row per skill.';
comment on column analytics.skills.id is 'The skill.';
comment on column analytics.skills.skill_name is 'Unique key, such as active_listening.';
comment on column analytics.skills.training_gain is 'Increase of the level on completing a training, 0 to 10.';
comment on column analytics.skills.is_active is 'Whether the skill is in use.';
comment on column analytics.skills.created_at is 'Time the skill was created.';
comment on column analytics.skills.updated_at is 'Time of the last change.';

grant select on analytics.skills to :PLINTH_ANALYST;

-- Grain: one row per month (UTC) since the first subscription and currency; the current month is as of the last refresh (hourly).
create materialized view analytics.subscription_metrics as
 with months as (
         select m_1.month::date as month,
            (m_1.month at time zone 'UTC'::text) as month_start,
            least(((m_1.month + '1 mon'::interval) at time zone 'UTC'::text), now()) as month_end
           from generate_series(( select date_trunc('month'::text, (min(c_1.effective_at) at time zone 'UTC'::text)) as date_trunc
                   from billing.subscription_changes c_1), date_trunc('month'::text, (now() at time zone 'UTC'::text)), '1 mon'::interval) m_1(month)
        ), states as (
         select c_1.subscription_id,
            c_1.user_id,
            c_1.event,
            c_1.to_status as status,
            p.currency,
            p.price_cents > 0 as is_paid,
                case p.billing_cycle
                    when 'monthly'::text then p.price_cents::numeric
                    when 'yearly'::text then p.price_cents::numeric / 12.0
                    else 0::numeric
                end as mrr_cents,
            c_1.effective_at,
            coalesce(lead(c_1.effective_at) over (partition by c_1.subscription_id order by c_1.effective_at, c_1.id), 'infinity'::timestamp with time zone) as until
           from billing.subscription_changes c_1
             join billing.subscription_plans p on p.id = c_1.to_plan_id
        ), at_end as (
         select m_1.month,
            s.currency,
            count(*) filter (where (s.status = any (array['active'::text, 'past_due'::text])) and s.is_paid) as paying_subscriptions,
            count(*) filter (where s.status = 'active'::text) as active_subscriptions,
            count(*) filter (where s.status = 'trialing'::text) as trialing_subscriptions,
            count(*) filter (where s.status = 'past_due'::text) as past_due_subscriptions,
            round(coalesce(sum(s.mrr_cents) filter (where s.status = any (array['active'::text, 'past_due'::text])), 0::numeric))::bigint as mrr_cents
           from months m_1
             join states s on s.effective_at < m_1.month_end and s.until >= m_1.month_end
          group by m_1.month, s.currency
        ), churn as (
         select m_1.month,
            s.currency,
            count(*) as paying_at_start,
            count(*) filter (where (exists ( select
                   from states e
                  where e.subscription_id = s.subscription_id and e.effective_at < m_1.month_end and e.until >= m_1.month_end and (e.status = any (array['canceled'::text, 'expired'::text]))))) as churned_subscriptions
           from months m_1
             join states s on s.effective_at < m_1.month_start and s.until >= m_1.month_start and (s.status = any (array['active'::text, 'past_due'::text])) and s.is_paid
          group by m_1.month, s.currency
        ), trials as (
         select m_1.month,
            s.currency,
            count(*) as trials_started,
            count(*) filter (where (exists ( select
                   from states e
                  where e.user_id = s.user_id and e.effective_at >= s.effective_at and e.status = 'active'::text and e.is_paid))) as trials_converted
           from months m_1
             join states s on s.event = 'trial_started'::text and s.effective_at >= m_1.month_start and s.effective_at < m_1.month_end
          group by m_1.month, s.currency
        ), currencies as (
         select distinct s.currency
           from states s
        )
 select m.month,
    c.currency,
    coalesce(a.mrr_cents, 0::bigint) as mrr_cents,
    coalesce(a.active_subscriptions, 0::bigint) as active_subscriptions,
    coalesce(a.paying_subscriptions, 0::bigint) as paying_subscriptions,
    coalesce(a.trialing_subscriptions, 0::bigint) as trialing_subscriptions,
    coalesce(a.past_due_subscriptions, 0::bigint) as past_due_subscriptions,
    coalesce(h.paying_at_start, 0::bigint) as paying_at_start,
    coalesce(h.churned_subscriptions, 0::bigint) as churned_subscriptions,
    round(h.churned_subscriptions::numeric / nullif(h.paying_at_start, 0)::numeric, 4) as churn_rate,
    coalesce(t.trials_started, 0::bigint) as trials_started,
    coalesce(t.trials_converted, 0::bigint) as trials_converted,
    round(t.trials_converted::numeric / nullif(t.trials_started, 0)::numeric, 4) as trial_conversion_rate,
    analytics.major_units(coalesce(a.mrr_cents, 0::bigint)::numeric, c.currency) as mrr,
    now() as refreshed_at
   from months m
     cross join currencies c
     left join at_end a on a.month = m.month and a.currency = c.currency
     left join churn h on h.month = m.month and h.currency = c.currency
     left join trials t on t.month = m.month and t.currency = c.currency;

create unique index subscription_metrics_month_currency_idx on analytics.subscription_metrics using btree (month, currency);

comment on materialized view analytics.subscription_metrics is 'Grain: one row per month (UTC) since the first subscription and currency; the current month is as of the last refresh (hourly).';
comment on column analytics.subscription_metrics.month is 'First day of the month.';
comment on column analytics.subscription_metrics.currency is 'ISO 4217 code of the plans'' currency.';
comment on column analytics.subscription_metrics.mrr_cents is 'Monthly recurring revenue at the end of the month in the currency''s smallest unit: active and past_due subscriptions; yearly prices count a twelfth, lifetime prices nothing; rounded once.';
comment on column analytics.subscription_metrics.active_subscriptions is 'Number of active subscriptions at the end of the month, free plans included.';
comment on column analytics.subscription_metrics.paying_subscriptions is 'Number of active or past_due subscriptions at the end of the month on a plan with a price.';
comment on column analytics.subscription_metrics.trialing_subscriptions is 'Number of trialing subscriptions at the end of the month.';
comment on column analytics.subscription_metrics.past_due_subscriptions is 'Number of past_due subscriptions at the end of the month.';
comment on column analytics.subscription_metrics.paying_at_start is 'Number of paying subscriptions at the start of the month.';
comment on column analytics.subscription_metrics.churned_subscriptions is 'Number of those that were canceled or expired at the end of the month.';
comment on column analytics.subscription_metrics.churn_rate is 'Ratio of churned_subscriptions to paying_at_start, 0 to 1; null when there were no paying subscriptions.';
comment on column analytics.subscription_metrics.trials_started is 'Number of trials that began in the month.';
comment on column analytics.subscription_metrics.trials_converted is 'Number of those trials whose user has since had a paid active subscription.';
comment on column analytics.subscription_metrics.trial_conversion_rate is 'Ratio of trials_converted to trials_started, 0 to 1; null when no trial began.';
comment on column analytics.subscription_metrics.mrr is 'The amount of mrr_cents in units of currency.';
comment on column analytics.subscription_metrics.refreshed_at is 'Time of the last refresh.';

grant select on analytics.subscription_metrics to :PLINTH_ANALYST;

-- Grain: one row per version of a plan.
create view analytics.subscription_plans as
 select id,
    code,
    plan_name,
    version,
    billing_cycle,
    price_cents,
    currency,
    trial_days,
    token_quota,
    rollover_limit,
    features,
    access_level,
    is_active,
    superseded_at,
    created_at,
    updated_at
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

-- Grain: one row per account and skill in training.
create view analytics.training as
 select user_id,
    skill_id,
    status,
    progress,
    run,
    started_at,
    completed_at,
    created_at,
    updated_at
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

-- Grain: one row per account. Content consumed and completed, and sign-ins.
create view analytics.user_activity_summary with (security_barrier=true) as
 select u.id as user_id,
    coalesce(c.sessions, 0::bigint) as sessions,
    coalesce(c.active_seconds, 0::bigint) as active_seconds,
    coalesce(c.active_days, 0::bigint) as active_days,
    coalesce(p.items_started, 0::bigint) as items_started,
    coalesce(p.items_completed, 0::bigint) as items_completed,
    round(p.items_completed::numeric / p.items_started::numeric, 4) as completion_rate,
    coalesce(r.ratings, 0::bigint) as ratings,
    coalesce(l.sign_ins, 0::bigint) as sign_ins,
    coalesce(l.failed_sign_ins, 0::bigint) as failed_sign_ins,
    coalesce(l.sign_in_days, 0::bigint) as sign_in_days,
    u.last_login_at,
    p.last_activity_at,
    u.created_at
   from identity.users u
     left join ( select s.user_id,
            sum(s.sessions)::bigint as sessions,
            sum(s.active_seconds)::bigint as active_seconds,
            ( select sum(upper(r_1.days) - lower(r_1.days)) as sum
                   from unnest(range_agg(s.days)) r_1(days)) as active_days
           from ( select k.user_id,
                    count(*) as sessions,
                    learning.time_spent(sum(k.active_seconds)::numeric, array_agg(k.active)) as active_seconds,
                    range_agg(daterange((k.started_at at time zone 'UTC'::text)::date, (k.started_at at time zone 'UTC'::text)::date, '[]'::text)) as days
                   from learning.content_consumption k
                  group by k.user_id
                union all
                 select a.user_id,
                    a.sessions,
                    a.active_seconds,
                    a.days
                   from private.archived_consumption a) s
          group by s.user_id) c on c.user_id = u.id
     left join ( select t.user_id,
            count(*) as items_started,
            count(t.completed_at) as items_completed,
            max(t.last_activity_at) as last_activity_at
           from learning.content_progress t
             join learning.content_items i on i.id = t.item_id and i.content_type <> 'course'::text
          group by t.user_id) p on p.user_id = u.id
     left join ( select cr.user_id,
            count(*) as ratings
           from learning.content_ratings cr
          group by cr.user_id) r on r.user_id = u.id
     left join ( select a.user_id,
            count(*) filter (where a.status = 'success'::text) as sign_ins,
            count(*) filter (where a.status = any (array['failed'::text, 'locked'::text])) as failed_sign_ins,
            count(distinct (a.created_at at time zone 'UTC'::text)::date) filter (where a.status = 'success'::text) as sign_in_days
           from security.login_attempts a
          where a.created_at > (now() - '30 days'::interval)
          group by a.user_id) l on l.user_id = u.id;

comment on view analytics.user_activity_summary is 'Grain: one row per account. Content consumed and completed, and sign-ins.';
comment on column analytics.user_activity_summary.user_id is 'The account.';
comment on column analytics.user_activity_summary.sessions is 'Number of sessions with content.';
comment on column analytics.user_activity_summary.active_seconds is 'Time spent with content, in seconds; time with two items open at once counts once.';
comment on column analytics.user_activity_summary.active_days is 'Number of days (UTC) on which a session began.';
comment on column analytics.user_activity_summary.items_started is 'Number of items started; courses are counted by their parts.';
comment on column analytics.user_activity_summary.items_completed is 'Number of those items that were completed.';
comment on column analytics.user_activity_summary.completion_rate is 'Ratio items_completed / items_started, 0 to 1; null when no item was started.';
comment on column analytics.user_activity_summary.ratings is 'Number of ratings given.';
comment on column analytics.user_activity_summary.sign_ins is 'Number of successful sign-ins in the last 30 days.';
comment on column analytics.user_activity_summary.failed_sign_ins is 'Number of rejected sign-ins in the last 30 days.';
comment on column analytics.user_activity_summary.sign_in_days is 'Number of days (UTC) of the last 30 with a successful sign-in.';
comment on column analytics.user_activity_summary.last_login_at is 'Time of the last successful sign-in.';
comment on column analytics.user_activity_summary.last_activity_at is 'Time of the last activity with content.';
comment on column analytics.user_activity_summary.created_at is 'Time the account was created.';

grant select on analytics.user_activity_summary to :PLINTH_ANALYST;

-- Grain: one row per account and item: whether the user may read its text, and why. Filter by account or by item.
create view analytics.user_content_access as
 select u.id as user_id,
    i.id as content_id,
    learning.gives_access(r.reason) as has_access,
    r.reason,
    i.effective_access_level as required_access_level
   from identity.users u
     cross join lateral ( select coalesce(( select max(s.access_level) as max
                   from analytics.active_user_subscriptions s
                  where s.user_id = u.id), 0) as plan_level,
            (exists ( select
                   from access.user_roles ur
                     join access.role_permissions rp on rp.role_id = ur.role_id
                     join access.permissions p on p.id = rp.permission_id
                  where ur.user_id = u.id and (ur.expires_at is null or ur.expires_at > now()) and p.permission_name = 'edit_content'::text)) as is_editor
         offset 0) l
     cross join learning.content_items i
     left join learning.user_content_permissions own on own.user_id = u.id and own.item_id = i.id and (own.expires_at is null or own.expires_at > now())
     left join learning.user_content_permissions course on course.user_id = u.id and course.item_id = i.course_id and (course.expires_at is null or course.expires_at > now())
     cross join lateral ( select
                case
                    when not u.is_active then 'account_inactive'::text
                    else learning.access_reason(l.is_editor, i.author_id = u.id, i.available_from <= now() and (i.available_until is null or i.available_until > now()), coalesce(own.permission, course.permission), i.is_preview, true, i.effective_access_level, l.plan_level, coalesce(own.waives_prerequisites, course.waives_prerequisites), (exists ( select
                       from learning.content_prerequisites p
                         join learning.content_items q on q.id = p.required_item_id
                      where (p.item_id = any (array[i.id, i.course_id])) and q.available_from <= now() and (q.available_until is null or q.available_until > now()) and not (exists ( select
                               from learning.content_progress g
                              where g.user_id = u.id and g.item_id = q.id and g.completed_at is not null)) and not coalesce(( select bool_and(g.completed_version is not null) as bool_and
                               from learning.content_items part
                                 left join learning.content_progress g on g.item_id = part.id and g.user_id = u.id
                              where part.course_id = q.id and part.available_from <= now() and (part.available_until is null or part.available_until > now())), false))))
                end as reason
         offset 0) r;

comment on view analytics.user_content_access is 'Grain: one row per account and item: whether the user may read its text, and why. Filter by account or by item.';
comment on column analytics.user_content_access.user_id is 'The account.';
comment on column analytics.user_content_access.content_id is 'The item.';
comment on column analytics.user_content_access.has_access is 'Whether the user may read the item''s text.';
comment on column analytics.user_content_access.reason is 'Reason. With access: editor, author, preview, permission or plan. Without: account_inactive, not_available, denied, plan_required or prerequisites_missing.';
comment on column analytics.user_content_access.required_access_level is 'Access level that a plan needs.';

grant select on analytics.user_content_access to :PLINTH_ANALYST;

-- Grain: one row per account with security preferences.
create view analytics.user_security_settings as
 select user_id,
    session_timeout_minutes,
    allowed_networks is not null as has_allowed_networks,
    created_at,
    updated_at
   from identity.user_security_settings s;

comment on view analytics.user_security_settings is 'Grain: one row per account with security preferences.';
comment on column analytics.user_security_settings.user_id is 'The account.';
comment on column analytics.user_security_settings.session_timeout_minutes is 'Idle time after which sessions end, in minutes; null for the default.';
comment on column analytics.user_security_settings.has_allowed_networks is 'Whether sign-in is restricted to networks that the user chose.';
comment on column analytics.user_security_settings.created_at is 'Time the row was created.';
comment on column analytics.user_security_settings.updated_at is 'Time of the last change.';

grant select on analytics.user_security_settings to :PLINTH_ANALYST;

-- Grain: one row per account. Sign-in state of the account.
create view analytics.user_security_status as
 select u.id as user_id,
    u.account_status,
    u.is_verified,
    coalesce(u.locked_until > now(), false) as is_locked,
    u.locked_until,
    u.failed_login_attempts,
    u.last_login_at,
    u.password_changed_at,
    extract(day from now() - u.password_changed_at)::integer as password_age_days,
    coalesce(s.live_sessions, 0::bigint) as live_sessions,
    (exists ( select
           from identity.mfa_factors f
          where f.user_id = u.id and f.confirmed_at is not null)) as mfa_enabled,
    u.created_at
   from identity.users u
     left join ( select s_1.user_id,
            count(*) as live_sessions
           from identity.user_sessions s_1
          where s_1.ended_at is null and s_1.expires_at > now()
          group by s_1.user_id) s on s.user_id = u.id;

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

-- Grain: one row per session; ended sessions are kept for 90 days.
create view analytics.user_sessions as
 select id,
    user_id,
    is_active,
    network(set_masklen(ip_address,
        case family(ip_address)
            when 4 then 24
            else 48
        end)) as ip_address,
    authentication_methods,
    created_at,
    expires_at,
    last_activity_at,
    ended_at,
    end_reason
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

-- Grain: one row per account and skill.
create view analytics.user_skills as
 select user_id,
    skill_id,
    level,
    created_at,
    updated_at
   from learning.user_skills s;

comment on view analytics.user_skills is 'Grain: one row per account and skill.';
comment on column analytics.user_skills.user_id is 'The account.';
comment on column analytics.user_skills.skill_id is 'The skill.';
comment on column analytics.user_skills.level is 'Proficiency, 0 to 10.';
comment on column analytics.user_skills.created_at is 'Time the skill was added.';
comment on column analytics.user_skills.updated_at is 'Time of the level''s last change.';

grant select on analytics.user_skills to :PLINTH_ANALYST;

-- Grain: one row per subscription, ended ones included.
create view analytics.user_subscriptions as
 select id,
    user_id,
    plan_id,
    status,
    started_at,
    current_period_start,
    current_period_end,
    trial_end,
    cancel_at_period_end,
    pending_plan_id,
    renewal_date,
    past_due_since,
    paused_at,
    ended_at,
    created_at,
    updated_at
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

-- Grain: one row per account, without names and addresses.
create view analytics.users as
 select id,
    'user-'::text || id::text as username,
    ('user-'::text || id::text) || '@hidden.invalid'::text as email,
    account_status,
    is_active,
    is_verified,
    coalesce(( select r.role_name
           from access.user_roles ur
             join access.roles r on r.id = ur.role_id
          where ur.user_id = u.id and (ur.expires_at is null or ur.expires_at > now())
          order by r.rank desc, r.role_name
         limit 1), 'guest'::text) as role,
    coalesce(( select s.plan_code
           from analytics.active_user_subscriptions s
          where s.user_id = u.id), 'free'::text) as tier,
    failed_login_attempts,
    locked_until,
    last_login_at,
    password_changed_at,
    email_verified_at,
    created_at,
    updated_at
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

-- Functions -------------------------------------------------------------------------------------------

-- Returns an amount of a currency's smallest unit (ISO 4217) in units of the currency: 1999 USD is 19.99, 1999 JPY is 1999.
create or replace function analytics.major_units(amount numeric, currency text)
  returns numeric
  language sql
  immutable parallel safe strict
  set search_path to 'pg_catalog'; -- fixtures/analytics/functions/major_units.sql

comment on function analytics.major_units(amount numeric, currency text) is 'Returns an amount of a currency''s smallest unit (ISO 4217) in units of the currency: 1999 USD is 19.99, 1999 JPY is 1999.';
revoke execute on function analytics.major_units(amount numeric, currency text) from public;
grant execute on function analytics.major_units(amount numeric, currency text) to :PLINTH_ANALYST;
