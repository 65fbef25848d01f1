/**
 * A few hundred random rows of 75 days for each source of the views. Triggers and constraints are on. Run as the owner, after
 * setseed(). `pick` chooses a row by number, so that each row of an insert has its own choice.
 */
const AT = "now() - random() * interval '75 days'";
const ADDRESS = `case when random() < 0.7 then '192.0.2.0'::inet + (random() * 2000)::integer
  else ('2001:db8:' || floor(random() * 5) || '::' || floor(random() * 999))::inet end`;
/** An array of ids, created once for each statement, and a random element of it. */
const ids = (table: string, condition = "true") =>
  `(select array_agg(id order by id) as ids from ${table} where ${condition})`;
const pick = (array: string) => `(${array})[1 + floor(random() * cardinality(${array}))::integer]`;
const one = (...values: string[]) => pick(`array[${values.map((value) => `'${value}'`).join(", ")}]`);

export const SEED_OF_VIEWS = `
insert into identity.users (username, email, email_verified_at, account_status, created_at, last_login_at, locked_until, failed_login_attempts, password_changed_at)
  select 'user' || i, 'user' || i || '@example.com', case when random() < 0.6 then c.at + random() * interval '3 days' end,
    case when i % 9 = 0 then 'disabled' else 'active' end, c.at, case when random() < 0.5 then ${AT} end,
    case i % 7 when 0 then now() + interval '1 hour' when 1 then now() - interval '1 hour' end, i % 4, case when random() < 0.8 then ${AT} end
  from generate_series(1, 40) i cross join lateral (select ${AT} as at where i > 0) c;
insert into identity.mfa_factors (user_id, kind, name, confirmed_at)
  select id, 'totp', 'x', case when random() < 0.5 then now() end from identity.users where random() < 0.4;
insert into identity.user_security_settings (user_id, session_timeout_minutes, allowed_networks)
  select id, case when random() < 0.5 then 30 end, case when random() < 0.5 then '{192.0.2.0/24}'::cidr[] end
  from identity.users where random() < 0.4
  on conflict (user_id) do update set session_timeout_minutes = excluded.session_timeout_minutes, allowed_networks = excluded.allowed_networks;
insert into identity.user_sessions (ip_address, authentication_methods, user_id, created_at, last_activity_at, expires_at, ended_at, end_reason)
  select case when random() < 0.9 then ${ADDRESS} end, ${one("{pwd}", "{pwd,otp,mfa}", "{}")}::text[],
     ${pick("u.ids")}, ${AT}, now() - random() * interval '3 hours', now() + (random() - 0.3) * interval '9 days', e.at, case when e.at is not null then ${one("logout", "expired")} end
  from ${ids("identity.users")} u, generate_series(1, 80) i cross join lateral (select case when random() < 0.4 then now() end as at where i > 0) e;
insert into identity.consent_purposes (name, version, title, text_url, required, published_at)
  values ('terms', 1, 'x', 'https://example.com/1', true, now() - interval '80 days'), ('terms', 2, 'x', 'https://example.com/2', true, now() - interval '9 days'),
    ('news', 1, 'x', 'https://example.com/3', false, now() - interval '80 days'), ('later', 1, 'x', 'https://example.com/4', false, null);
insert into identity.consents (user_id, purpose, version, granted_at, withdrawn_at)
  select u.id, p.name, p.version, case when p.granted then p.at end, case when not p.granted then p.at end
  from identity.users u cross join lateral (
    select name, version, random() < 0.7 as granted, published_at + random() * interval '9 days' as at
    from identity.consent_purposes where published_at is not null and u.id is not null and random() < 0.7
  ) p;
insert into access.roles (role_name) values ('auditor');
insert into access.role_permissions (role_id, permission_id)
  select r.id, p.id from access.roles r, access.permissions p where r.role_name = 'auditor' and p.permission_name = 'view_audit_log';
-- Random expiries may not leave the roles without a lasting administrator.
insert into access.user_roles (user_id, role_id)
  select (select u.id from identity.users u order by u.username limit 1), r.id from access.roles r where r.role_name = 'admin';
insert into access.user_roles (user_id, role_id, expires_at)
  select u.id, r.id, case when random() < 0.4 then now() + random() * interval '9 days' end
  from identity.users u cross join access.roles r where random() < 0.15 on conflict do nothing;
insert into security.login_attempts (user_id, status, failure_reason, ip_address, created_at)
  select case when random() < 0.8 then ${pick("u.ids")} end, s.status,
    case when s.status <> 'success' then ${one("wrong_password", "network_not_allowed", "code_reused", "Text of a caller.")} end,
    case when random() < 0.9 then ${ADDRESS} end, ${AT}
  from ${ids("identity.users")} u, generate_series(1, 500) i
  cross join lateral (select ${one("success", "success", "failed", "locked", "challenged")} as status where i > 0) s;
insert into security.security_audit_log (user_id, actor_id, event_type, severity, ip_address, created_at)
  select case when random() < 0.8 then ${pick("u.ids")} end, case when random() < 0.8 then ${pick("u.ids")} end, ${one("a", "b", "c")},
    ${one("info", "warning", "error")}, case when random() < 0.9 then ${ADDRESS} end, ${AT}
  from ${ids("identity.users")} u, generate_series(1, 200);
insert into llm.model_providers (name) values ('north'), ('south');
insert into llm.models (provider_id, name, display_name, is_public, is_active)
  select id, name || i, 'x', i = 1, i < 3 from llm.model_providers cross join generate_series(1, 3) i where name in ('north', 'south');
insert into billing.model_prices (model_id, currency, input_price_per_million_tokens, output_price_per_million_tokens, effective_from, effective_to)
  select id, c.currency, 1, 2, case when random() < 0.5 then now() - interval '9 days' end, case when random() < 0.3 then now() - interval '1 day' end
  from llm.models cross join (values ('USD'), ('EUR')) c (currency) where name like 'north%';
insert into llm.chats (user_id) select id from identity.users;
insert into llm.messages (chat_id, user_id, role, content, model_id, tokens_used, created_at)
  select c.id, c.user_id, r.role, 'x', case when r.role = 'assistant' and random() < 0.9 then ${pick("m.ids")} end,
    case when random() < 0.9 then (random() * 900)::integer end, ${AT}
  from ${ids("llm.models")} m, llm.chats c cross join generate_series(1, 14)
  cross join lateral (select ${one("user", "assistant")} as role where c.id is not null) r where random() < 0.8;
insert into rooms.chat_rooms (name, room_type, is_public, creator_id, has_password, ai_enabled)
  select 'room' || i, case i when 1 then 'private' when 6 then 'direct' else 'group' end, i = 2, case when i > 2 then ${pick("u.ids")} end, i = 3, i = 4
  from ${ids("identity.users")} u, generate_series(1, 6) i;
insert into rooms.room_members (room_id, user_id, role)
  select r.id, u.id, 'member' from rooms.chat_rooms r cross join identity.users u where random() < 0.5 and r.name not in ('room5', 'room6');
insert into rooms.room_messages (room_id, sender_id, content, created_at)
  select room_id, user_id, 'x', ${AT} from rooms.room_members cross join generate_series(1, 4) where random() < 0.8;
update rooms.room_messages set is_deleted = true, deleted_at = now(), content = '' where random() < 0.1;
update rooms.room_members m set last_read_sequence = floor(random() * (r.last_sequence + 1)) from rooms.chat_rooms r where r.id = m.room_id;
insert into rooms.room_messages (room_id, sender_id, sender_type, message_type, content, reply_to_id, is_private, edited_at, created_at)
  select r.id, null, ${one("ai", "system")}, ${one("text", "system")}, 'x', case when random() < 0.5 then ${pick("m.ids")} end, random() < 0.3,
    case when random() < 0.5 then now() end, now()
  from rooms.chat_rooms r cross join lateral ${ids("rooms.room_messages", "room_id = r.id")} m cross join generate_series(1, 9);
insert into rooms.room_invites (room_id, inviter_id, invitee_id, status, responded_at)
  select r.id, i.id, u.id, s.status, case when s.status <> 'pending' then now() end
  from rooms.chat_rooms r cross join identity.users u
  cross join lateral (select ${one("pending", "accepted", "declined")} as status where u.id is not null) s
  join identity.users i on i.username = 'user1' and i.id <> u.id where random() < 0.2;
insert into rooms.general_chat_messages (sender_id, content, created_at)
  select ${pick("u.ids")}, 'x', ${AT} from ${ids("identity.users")} u, generate_series(1, 60);
insert into learning.content_categories (slug, name) values ('all', 'x');
insert into learning.content_items (category_id, slug, content_type, title, position, level, duration_seconds, author_id, required_access_level, is_preview)
  select c.id, 'item' || i, case when i = 1 then 'course' when i in (2, 3, 11, 12) then 'lesson' else 'article' end, 'x', i, i % 4,
    case when i % 2 = 0 then 60 * i end, case when i > 3 then ${pick("u.ids")} end, case i when 1 then 1 when 3 then 2 when 7 then 2 end, i = 6
  from ${ids("identity.users")} u, learning.content_categories c cross join generate_series(1, 12) i where c.slug = 'all';
update learning.content_items set course_id = (select id from learning.content_items where slug = 'item1') where content_type = 'lesson';
insert into learning.content_versions (item_id, version) select id, 1 from learning.content_items;
insert into learning.content_bodies (item_id, version, body) select id, 1, 'x' from learning.content_items;
update learning.content_versions set published_at = now();
update learning.content_items set current_version = 1, publish_from = now() where slug <> 'item8';
-- A deleted item, two that are no longer published, one that is not published yet, and two that end later.
update learning.content_items set deleted_at = now() where slug = 'item9';
update learning.content_items set publish_from = now() - interval '9 days', publish_until = now() - interval '1 day' where slug in ('item10', 'item12');
update learning.content_items set publish_from = now() + interval '1 day' where slug = 'item11';
update learning.content_items set publish_until = now() + interval '9 days' where slug in ('item1', 'item6');
insert into learning.content_prerequisites (item_id, required_item_id)
  select i.id, q.id from (values ('item5', 'item1'), ('item1', 'item4'), ('item7', 'item8'), ('item4', 'item10')) p (item, required)
  join learning.content_items i on i.slug = p.item join learning.content_items q on q.slug = p.required;
insert into learning.user_content_permissions (user_id, item_id, permission, waives_prerequisites, granted_at, expires_at)
  select u.id, i.id, p.permission, p.permission = 'allow' and random() < 0.5, now() - interval '9 days',
    case when random() < 0.4 then now() + (random() - 0.5) * interval '9 days' end
  from identity.users u cross join learning.content_items i
  cross join lateral (select ${one("allow", "allow", "deny")} as permission where u.id is not null and i.id is not null) p
  where i.slug in ('item1', 'item2', 'item3', 'item5') and random() < 0.5;
insert into learning.skills (skill_name, display_name, training_gain, is_active) values ('listening', 'x', 0.25, true), ('speaking', null, 1, false);
insert into learning.user_skills (user_id, skill_id, level)
  select u.id, s.id, round((random() * 8)::numeric, 2) from identity.users u cross join learning.skills s where random() < 0.5;
insert into learning.training (user_id, skill_id, status, progress)
  select u.id, s.id, t.status, case t.status when 'completed' then 1 when 'active' then 0.5 else 0 end
  from identity.users u cross join learning.skills s
  cross join lateral (select ${one("pending", "active", "completed")} as status where u.id is not null and s.id is not null) t where random() < 0.5;
insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at, completed_version, completed_at)
  select u.id, i.id, 1, s.at, s.at + d.length, case when d.done then 1 end, case when d.done then s.at + d.length end
  from identity.users u cross join learning.content_items i
  cross join lateral (select ${AT} as at where u.id is not null and i.id is not null and random() < case when i.course_id is null then 0.5 else 0.9 end) s
  cross join lateral (select random() * interval '5 days' as length, random() < 0.6 as done where s.at is not null) d
  where i.slug not in ('item7', 'item11', 'item12');
insert into learning.content_consumption (user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered, active, created_at)
  select u.id, i.id, 1, s.at, s.at + interval '10 minutes', 60, 1, '{}',
    case when random() < 0.5 then '{}' else int4multirange(int4range(s.second, s.second + 40)) end, s.at + interval '20 minutes'
  from identity.users u cross join learning.content_items i
  cross join lateral (
    select ${AT} as at, (random() * 100)::integer + 800000000 as second where u.id is not null and i.id is not null and random() < 0.7
  ) s;
insert into learning.content_ratings (item_id, user_id, rating)
  select i.id, u.id, 1 + floor(random() * 5) from learning.content_items i cross join identity.users u where random() < 0.2;
insert into billing.subscription_plans (code, plan_name, price_cents, currency, billing_cycle, token_quota, trial_days, features, access_level, is_active)
  values ('yen', 'x', 1500, 'JPY', 'monthly', null, 0, '{}', 0, true), ('dinar', 'x', 12500, 'KWD', 'yearly', 900, 7, '{"support": true}', 1, false),
    ('dollar', 'x', 1999, 'USD', 'monthly', 90, 0, '{}', 2, true);
-- A second version, which supersedes the first.
insert into billing.subscription_plans (code, plan_name, price_cents, currency, billing_cycle, access_level) values ('yen', 'y', 1700, 'JPY', 'monthly', 1);
insert into billing.user_subscriptions
  (user_id, plan_id, status, started_at, anchor_at, current_period_start, current_period_end, trial_end, cancel_at_period_end, pending_plan_id,
   quota_period_start, quota_period_end, past_due_since, paused_at, ended_at)
  select u.id, ${pick("p.ids")}, s.status, now(), now(), now(), case when random() < 0.8 then now() + interval '1 month' end,
    case when s.status = 'trialing' then now() + interval '7 days' end, random() < 0.3, case when random() < 0.3 then ${pick("p.ids")} end,
    now(), now() + interval '1 month', case when s.status = 'past_due' then now() end, case when s.status = 'paused' then now() end,
    case when s.status in ('canceled', 'expired') then now() end
  from ${ids("billing.subscription_plans", "price_cents > 0")} p, identity.users u
  cross join lateral (
    select ${one("active", "active", "trialing", "past_due", "paused", "canceled", "expired")} as status where u.id is not null and random() < 0.8
  ) s;
insert into billing.subscription_changes (subscription_id, user_id, event, to_status, to_plan_id, currency, effective_at)
  select s.id, s.user_id, case when i = 1 then ${one("trial_started", "started")} else 'changed' end,
    case when i = 1 then ${one("trialing", "active")} else ${one("active", "past_due", "paused", "canceled")} end,
    s.plan_id, 'USD', now() - (4 - i) * interval '25 days' + random() * interval '25 days'
  from billing.user_subscriptions s cross join generate_series(1, 3) i where random() < 0.8;
-- An earlier subscription of each account, which ended before changes were kept.
insert into billing.user_subscriptions (user_id, plan_id, status, started_at, anchor_at, current_period_start, quota_period_start, quota_period_end, ended_at)
  select u.id, ${pick("p.ids")}, 'expired', e.at, e.at, e.at, e.at, e.at + interval '1 month', e.at + interval '1 month'
  from ${ids("billing.subscription_plans", "price_cents > 0")} p, identity.users u
  cross join lateral (select now() - interval '300 days' as at where u.id is not null) e where random() < 0.3;
insert into billing.payments (user_id, plan_id, provider, provider_payment_id, amount_cents, refunded_cents, currency, paid_at, failed_at, disputed_at, created_at, updated_at)
  select ${pick("u.ids")}, p.id, 'probe', coalesce(p.code, 'none') || i, p.amount, case when random() < 0.2 then floor(p.amount * random()) else 0 end,
    p.currency, p.paid_at, case when p.paid_at is null then now() end, case when random() < 0.1 then now() end, now() - interval '76 days', now() - interval '76 days'
  from ${ids("identity.users")} u, generate_series(1, 12) i cross join lateral (
    select p.id, p.code || p.billing_cycle || p.currency || p.version as code, p.currency, floor(random() * p.price_cents)::bigint as amount, case when random() < 0.9 then ${AT} end as paid_at
    from billing.subscription_plans p where i > 0
    union all select null, null, 'USD', i, ${AT}
  ) p;
insert into billing.usage_tracking (user_id, last_reset) select id, date_trunc('month', now()) from identity.users on conflict do nothing;
insert into billing.daily_usage (user_id, model_id, day, requests, input_tokens, output_tokens, total_tokens, unpriced_tokens, self_reported_tokens, cost)
  select u.id, m.model_id, (${AT})::date, 1 + floor(random() * 5), n.number, n.number * 2, n.number * 3, n.number * (random() < 0.2)::integer, 0, n.number * 0.000123
  from identity.users u cross join (select id as model_id from llm.models union all select null) m
  cross join lateral (select floor(random() * 900)::bigint as number where u.id is not null) n where random() < 0.5
  on conflict do nothing;
-- Usage of accounts that were deleted before the first run.
insert into billing.daily_usage (model_id, day, requests, input_tokens, output_tokens, total_tokens, cost)
  select ${pick("m.ids")}, (${AT})::date, 2, 5, 5, 10, 0.0001 from ${ids("llm.models")} m, generate_series(1, 9);
`;
