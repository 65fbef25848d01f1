-- Four months of a small product, which end on Monday 2025-06-30 at 12:00 UTC. Numbers follow from an account's number, so that the
-- page is the same on each run and each version of PostgreSQL.
set timezone = 'UTC';
create temporary table people as
select
  i as n,
  ('00000000-0000-7000-8000-0000000000' || lpad(to_hex(i), 2, '0'))::uuid as id,
  timestamptz '2025-03-02 09:00Z' + (i - 1) * interval '5 days' as joined
from generate_series(1, 24) i;

-- The active days of each account. Some leave after 20 days, some after 45, and some are away for two months.
create temporary table days as
select p.n, p.id, d.day, d.day - p.joined::date as age
from people p
cross join lateral (
  select g.day::date as day from generate_series(p.joined::date, timestamp '2025-06-30', interval '1 day') g (day)
) d
where (d.day = p.joined::date or ((d.day - date '2025-01-01') + p.n * p.n * 5) % (1 + p.n % 4) = 0)
  and case p.n % 6
    when 0 then d.day < p.joined::date + 20
    when 2 then d.day < p.joined::date + 45
    when 3 then d.day not between p.joined::date + 12 and p.joined::date + 75
    else true
  end;

insert into identity.users (id, username, email, created_at, email_verified_at, password_changed_at)
select p.id, 'person' || p.n, 'person' || p.n || '@example.com', p.joined,
  case when p.n % 4 > 0 then p.joined + p.n * interval '10 minutes' end, p.joined
from people p;

insert into security.login_attempts (user_id, status, ip_address, created_at)
select d.id, 'success', ('192.0.2.' || d.n)::inet, d.day + interval '8 hours' from days d;
insert into security.login_attempts (user_id, status, failure_reason, ip_address, created_at)
select d.id, 'failed', 'wrong_password', ('192.0.2.' || d.n)::inet, d.day + interval '7 hours 59 minutes'
from days d
where d.n % 4 = 0 and d.age % 3 = 0;
-- An attempt to guess accounts, and the accounts that it locked.
insert into security.login_attempts (user_id, status, failure_reason, ip_address, created_at)
select
  case when i % 10 = 0 then p.id end, case when i > 30 and i % 10 = 0 then 'locked' else 'failed' end,
  case when i % 10 > 0 then 'unknown_account' when i > 30 then 'account_locked' else 'wrong_password' end,
  ('198.51.100.' || i % 3)::inet, timestamptz '2025-06-30 03:00Z' + i * interval '1 second'
from generate_series(1, 60) i
join people p on p.n = 7;
insert into security.security_audit_log (user_id, event_type, severity, ip_address, created_at)
select p.id, e.event_type, e.severity, '198.51.100.1', e.at
from people p
join (
  values
    (7, 'account_locked', 'warning', timestamptz '2025-06-30 03:00:30Z'),
    (7, 'password_changed', 'info', timestamptz '2025-06-30 09:00Z'),
    (12, 'refresh_token_reused', 'critical', timestamptz '2025-06-29 17:20Z'),
    (3, 'role_granted', 'info', timestamptz '2025-06-29 10:00Z')
) e (n, event_type, severity, at) on e.n = p.n;

insert into llm.model_providers (name) values ('example');
insert into llm.models (provider_id, name, display_name, is_public)
select p.id, m.name, m.name, true
from llm.model_providers p
cross join (values ('large'), ('small'), ('local'), ('vision')) m (name)
where p.name = 'example';
create temporary table models as select m.id, m.name from llm.models m;
insert into billing.model_prices (model_id, currency, input_price_per_million_tokens, output_price_per_million_tokens)
select m.id, 'USD', case m.name when 'large' then 3 else 0.25 end, case m.name when 'large' then 15 else 2 end
from models m
where m.name in ('large', 'small');
insert into llm.chats (user_id) select p.id from people p;
create temporary table answers as
select d.id, d.n, d.day, d.age, m.id as model_id, m.name as model, c.id as chat_id
from days d
join llm.chats c on c.user_id = d.id
join models m on m.name = (array['small', 'large', 'small', 'local'])[1 + d.n % 4]
where d.age >= d.n % 3 and d.n % 5 > 0;
insert into llm.messages (chat_id, user_id, role, content, created_at)
select a.chat_id, a.id, 'user', 'x', a.day + interval '10 hours' from answers a;
-- Without tokens, because a message with tokens records its usage today.
insert into llm.messages (chat_id, user_id, role, content, model_id, created_at)
select a.chat_id, a.id, 'assistant', 'x', a.model_id, a.day + interval '10 hours 1 minute' from answers a;
insert into billing.usage_tracking (user_id, last_reset) select p.id, '2025-06-01' from people p on conflict do nothing;
insert into billing.daily_usage
  (user_id, model_id, day, requests, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, total_tokens, unpriced_tokens, cost)
select a.id, a.model_id, a.day, t.requests, t.input, t.input / 4, t.output, case when a.model = 'large' then t.output / 3 else 0 end,
  t.input + t.output, case when a.model = 'local' then t.input + t.output else 0 end,
  case a.model when 'large' then t.input * 3 + t.output * 15 when 'small' then t.input * 0.25 + t.output * 2 else 0 end / 1000000
from answers a
cross join lateral (select 1 + a.n % 5 as requests, (1 + a.n % 5) * 12000 as input, (1 + a.n % 5) * 3000 as output) t;

-- Plans in two currencies. The yen has no smaller unit.
insert into billing.subscription_plans (code, plan_name, price_cents, currency, access_level) values ('premium', 'Premium', 3000, 'JPY', 10);
create temporary table subscribers as
select
  p.n, p.id, plan.id as plan_id, plan.price_cents, plan.currency, ('00000000-0000-7000-8000-0000000001' || lpad(to_hex(p.n), 2, '0'))::uuid as subscription_id,
  p.joined + interval '3 days' as began,
  case when p.n in (9, 15) then 'canceled' when p.n = 24 then 'trialing' when p.n = 21 then 'past_due' else 'active' end as status
from people p
join billing.subscription_plans plan
  on plan.code = 'premium' and plan.superseded_at is null and plan.currency = case when p.n % 2 = 0 then 'JPY' else 'USD' end
where p.n % 3 = 0 or p.n in (2, 8);
-- Periods end far ahead, because views compare them with the real time.
insert into billing.user_subscriptions
  (id, user_id, plan_id, status, started_at, anchor_at, current_period_start, current_period_end, cancel_at_period_end, trial_end,
    quota_period_start, quota_period_end, past_due_since, ended_at)
select s.subscription_id, s.id, s.plan_id, s.status, s.began, s.began, s.began, '2100-01-01', s.n = 6, case when s.status = 'trialing' then timestamptz '2100-01-01' end,
  s.began, '2100-01-01', case when s.status = 'past_due' then now() end, case when s.status = 'canceled' then s.began + interval '35 days' end
from subscribers s;
insert into billing.subscription_changes (subscription_id, user_id, event, to_status, to_plan_id, currency, effective_at)
select s.subscription_id, s.id, c.event, c.status, s.plan_id, s.currency, c.at
from subscribers s
cross join lateral (
  values
    ('trial_started', 'trialing', s.began),
    ('payment_succeeded', 'active', s.began + interval '14 days'),
    ('canceled', 'canceled', s.began + interval '35 days'),
    ('payment_failed', 'past_due', s.began + interval '15 days')
) c (event, status, at)
where c.at < '2025-06-30 12:00Z' and (c.status in ('trialing', 'active') or c.status = s.status);
insert into billing.payments
  (user_id, plan_id, subscription_id, provider, provider_payment_id, amount_cents, refunded_cents, currency, paid_at, disputed_at, created_at)
select s.id, s.plan_id, s.subscription_id, 'example', s.n || '-' || k, s.price_cents, case when s.n = 15 then s.price_cents / 2 else 0 end, s.currency, m.at,
  case when s.n = 3 and k = 1 then m.at + interval '9 days' end, m.at
from subscribers s
cross join generate_series(0, 3) k
cross join lateral (select s.began + interval '14 days' + k * interval '1 month' as at) m
where m.at < '2025-06-30 12:00Z' and s.status <> 'trialing' and (s.status <> 'canceled' or k = 0);

insert into learning.content_categories (id, slug, name) values ('00000000-0000-7000-8000-000000000200', 'all', 'x');
insert into learning.content_items (id, category_id, slug, content_type, title, required_access_level)
select ('00000000-0000-7000-8000-00000000021' || i)::uuid, '00000000-0000-7000-8000-000000000200', 'item' || i,
  (array['course', 'lesson', 'lesson', 'article', 'video'])[i], 'x', case when i = 5 then 10 else 0 end
from generate_series(1, 5) i;
update learning.content_items set course_id = '00000000-0000-7000-8000-000000000211' where slug in ('item2', 'item3');
insert into learning.content_prerequisites (item_id, required_item_id)
values ('00000000-0000-7000-8000-000000000213', '00000000-0000-7000-8000-000000000212');
insert into learning.content_versions (item_id, version) select i.id, 1 from learning.content_items i;
insert into learning.content_bodies (item_id, version, body) select i.id, 1, 'x' from learning.content_items i;
update learning.content_versions set published_at = '2025-03-01';
update learning.content_items set current_version = 1, publish_from = '2025-03-01';
insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at, completed_version, completed_at)
select p.id, i.id, 1, s.at, e.at, case when e.done then 1 end, case when e.done then e.at end
from people p
join learning.content_items i on i.content_type <> 'course'
cross join lateral (select p.joined + right(i.slug, 1)::integer * interval '1 day' as at) s
cross join lateral (
  select p.n % right(i.slug, 1)::integer = 0 as done, s.at + right(i.slug, 1)::integer * interval '20 minutes' as at
) e
where (p.n + right(i.slug, 1)::integer) % 2 = 0 and e.at < '2025-06-30 12:00Z';
insert into learning.content_consumption
  (user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered, active, created_at)
select p.user_id, p.item_id, 1, p.started_at, p.started_at + interval '10 minutes', 600, 10, '{}', '{}', p.started_at
from learning.content_progress p;

insert into rooms.chat_rooms (id, name, room_type, is_public, ai_enabled, created_at)
select ('00000000-0000-7000-8000-00000000030' || i)::uuid, 'x', (array['group', 'group', 'private'])[i], i = 1, i = 2, '2025-04-01'
from generate_series(1, 3) i;
insert into rooms.room_members (room_id, user_id, role)
select r.id, p.id, 'member' from rooms.chat_rooms r join people p on p.n % (right(r.id::text, 1)::integer * 2) = 0;
insert into rooms.room_messages (room_id, sender_id, content, created_at)
select m.room_id, d.id, 'x', d.day + interval '11 hours'
from days d
join rooms.room_members m on m.user_id = d.id
where d.day between '2025-05-01' and '2025-06-20' and d.age % 4 = 0;

insert into identity.consent_purposes (name, version, title, text_url, required, published_at)
values
  ('terms', 1, 'x', 'https://example.com/1', true, '2025-03-01'),
  ('terms', 2, 'x', 'https://example.com/2', true, '2025-06-01'),
  ('newsletter', 1, 'x', 'https://example.com/3', false, '2025-03-01');
insert into identity.consents (user_id, purpose, version, granted_at, withdrawn_at)
select p.id, c.name, c.version, case when c.granted then c.at end, case when not c.granted then c.at end
from people p
cross join lateral (
  select 'terms' as name, case when p.n > 19 then 2 else 1 end as version, true as granted, p.joined as at
  union all
  select 'terms', 2, true, timestamptz '2025-06-02' where p.n <= 19 and p.n % 3 = 0
  union all
  select 'newsletter', 1, p.n % 6 > 0, p.joined + interval '1 day' where p.n % 2 = 0
) c;
insert into access.user_roles (user_id, role_id, granted_at, expires_at)
select p.id, r.id, p.joined, case when p.n = 5 then timestamptz '2100-01-01' end
from people p
join access.roles r on r.role_name = 'user' or p.n = 1 and r.role_name = 'admin' or p.n in (3, 5) and r.role_name = 'moderator'
on conflict do nothing;
