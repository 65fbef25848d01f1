-- Schema analytics as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema analytics;
comment on schema analytics is 'Views for analysts, without personal data.';
grant usage on schema analytics to :PLINTH_ANALYST;

-- Views -----------------------------------------------------------------------------------------------

-- Grain: one row per account. Sign-in state of the account.
create view analytics.account_security with (security_barrier=true) as
 select u.id as user_id,
    u.account_status,
    u.is_verified,
    coalesce(u.locked_until > now(), false) as is_locked,
    u.failed_login_attempts,
    coalesce(s.live_sessions, 0::bigint) as live_sessions,
    extract(day from now() - u.password_changed_at)::integer as password_age_days,
    u.last_login_at,
    u.created_at,
    (exists ( select
           from identity.mfa_factors f
          where f.user_id = u.id and f.confirmed_at is not null)) as mfa_enabled
   from identity.users u
     left join ( select s_1.user_id,
            count(*) as live_sessions
           from identity.user_sessions s_1
          where s_1.ended_at is null and s_1.expires_at > now()
          group by s_1.user_id) s on s.user_id = u.id;

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

-- Grain: one row per day (UTC) and model with an answer.
create view analytics.daily_model_usage with (security_barrier=true) as
 select (m.created_at at time zone 'UTC'::text)::date as day,
    m.model_id,
    p.name as provider_name,
    mo.name as model_name,
    count(*) as messages,
    count(distinct m.user_id) as users,
    coalesce(sum(m.tokens_used), 0::bigint) as tokens_used
   from llm.messages m
     join llm.models mo on mo.id = m.model_id
     join llm.model_providers p on p.id = mo.provider_id
  group by ((m.created_at at time zone 'UTC'::text)::date), m.model_id, p.name, mo.name;

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
 select (created_at at time zone 'UTC'::text)::date as day,
    count(*) as registered_users,
    count(*) filter (where is_verified) as verified_users,
    count(*) filter (where is_active) as active_users
   from identity.users u
  group by ((created_at at time zone 'UTC'::text)::date);

comment on view analytics.daily_registrations is 'Grain: one row per day (UTC) with a registration.';
comment on column analytics.daily_registrations.day is 'Day in UTC.';
comment on column analytics.daily_registrations.registered_users is 'Number of accounts created that day that still exist.';
comment on column analytics.daily_registrations.verified_users is 'Number of those accounts whose address is verified today.';
comment on column analytics.daily_registrations.active_users is 'Number of those accounts that are active today.';

grant select on analytics.daily_registrations to :PLINTH_ANALYST;

-- Grain: one row per day (UTC) and status of sign-in attempts.
create view analytics.daily_sign_ins with (security_barrier=true) as
 select d.day::date as day,
    a.status,
    a.attempts,
    a.users,
    a.ip_addresses
   from generate_series(( select date_trunc('day'::text, (min(f.created_at) at time zone 'UTC'::text)) as date_trunc
           from security.login_attempts f), ( select (max(l.created_at) at time zone 'UTC'::text) as timezone
           from security.login_attempts l), '1 day'::interval) d(day)
     cross join lateral ( select l.status,
            count(*) as attempts,
            count(distinct l.user_id) as users,
            count(distinct l.ip_address) as ip_addresses
           from security.login_attempts l
          where l.created_at >= (d.day at time zone 'UTC'::text) and l.created_at < ((d.day + '1 day'::interval) at time zone 'UTC'::text)
          group by l.status) a;

comment on view analytics.daily_sign_ins is 'Grain: one row per day (UTC) and status of sign-in attempts.';
comment on column analytics.daily_sign_ins.day is 'Day in UTC.';
comment on column analytics.daily_sign_ins.status is 'Result of the attempts: success, failed or locked.';
comment on column analytics.daily_sign_ins.attempts is 'Number of attempts.';
comment on column analytics.daily_sign_ins.users is 'Number of existing accounts that were tried.';
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
    round(t.trials_converted::numeric / nullif(t.trials_started, 0)::numeric, 4) as trial_conversion_rate
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

grant select on analytics.subscription_metrics to :PLINTH_ANALYST;

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
            count(*) as sessions,
            learning.time_spent(sum(s.active_seconds)::numeric, array_agg(s.active)) as active_seconds,
            count(distinct (s.started_at at time zone 'UTC'::text)::date) as active_days
           from learning.content_consumption s
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
