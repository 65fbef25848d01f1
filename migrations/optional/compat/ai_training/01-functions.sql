-- Below a function with the owner's rights, current_user is the owner: the login decides. The API's login inherits from no role.
create function compat_ai_training.reads_user(user_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select case
    when nullif(current_setting('jwt.claims.user_id', true), '') is not null
      then current_setting('jwt.claims.user_id', true)::uuid = reads_user.user_id
    else pg_has_role(session_user, ':PLINTH_APPLICATION', 'usage') or pg_has_role(session_user, ':PLINTH_ANALYST', 'usage')
  end
$$;

comment on function compat_ai_training.reads_user(uuid) is
  'Returns whether the login reads rows about a user: the claims name that user, or there are none and it is the application or an analyst. Null asks about all users.';

create function compat_ai_training.content_access(user_id uuid, content_id uuid)
  returns table (has_access boolean, reason text, required_access_level integer)
  language sql
  stable
  security definer
  rows 1
  set search_path = pg_catalog
as $$
  select a.has_access, a.reason, a.required_access_level
  from analytics.user_content_access a
  where a.user_id = content_access.user_id
    and a.content_id = content_access.content_id
    and compat_ai_training.reads_user(content_access.user_id)
$$;

comment on function compat_ai_training.content_access(uuid, uuid) is
  'Returns whether a user may read an item, and why; no row for a user whom the caller may not ask about.';

-- With the caller's rights, and only for callers who have any: the policies of texts read views that analysts may not use.
create function compat_ai_training.published_text(item_id uuid, version integer)
  returns table (body_format text, body text)
  language plpgsql
  stable
  rows 1
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  if compat.reads_personal_data() then
    return query
    select b.body_format, b.body
    from learning.content_bodies b
    where b.item_id = published_text.item_id and b.version = published_text.version;
  end if;
end
$$;

comment on function compat_ai_training.published_text(uuid, integer) is
  'Returns the text of an item''s version, if the caller may read it; no row for analysts.';

drop policy if exists compat_ai_training_select on learning.content_bodies;
create policy compat_ai_training_select on learning.content_bodies
  for select to :PLINTH_APPLICATION
  using ((select compat.reads_all()));
comment on policy compat_ai_training_select on learning.content_bodies is
  'The application reads all texts while it acts for no user.';

-- Named columns: as rows of the materialized views, which have no policies, they would count as read by a compatibility view.
create function compat_ai_training.read_subscription_metrics()
  returns table (
    month date, currency text, mrr_cents bigint, active_subscriptions bigint, paying_subscriptions bigint,
    trialing_subscriptions bigint, past_due_subscriptions bigint, paying_at_start bigint, churned_subscriptions bigint,
    churn_rate numeric, trials_started bigint, trials_converted bigint, trial_conversion_rate numeric, mrr numeric,
    refreshed_at timestamptz
  )
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select
    m.month, m.currency, m.mrr_cents, m.active_subscriptions, m.paying_subscriptions, m.trialing_subscriptions,
    m.past_due_subscriptions, m.paying_at_start, m.churned_subscriptions, m.churn_rate, m.trials_started, m.trials_converted,
    m.trial_conversion_rate, m.mrr, m.refreshed_at
  from analytics.subscription_metrics m
  where compat_ai_training.reads_user(null)
$$;

comment on function compat_ai_training.read_subscription_metrics() is
  'Returns the figures of subscriptions to the application and to analysts.';

create function compat_ai_training.read_content_popularity()
  returns table (
    content_id uuid, content_type text, category_id uuid, language text, users bigint, sessions bigint, completions bigint,
    active_seconds bigint, rating_count integer, rating_average numeric, popularity_score numeric, refreshed_at timestamptz
  )
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select
    p.item_id, p.content_type, p.category_id, p.language, p.users, p.sessions, p.completions, p.active_seconds, p.rating_count,
    p.rating_average, p.popularity_score, p.refreshed_at
  from analytics.content_popularity p
  where compat_ai_training.reads_user(null)
$$;

comment on function compat_ai_training.read_content_popularity() is
  'Returns the figures of content to the application and to analysts.';

create function compat_ai_training.major_units(amount numeric, currency text)
  returns numeric
  language sql
  immutable
  strict
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select analytics.major_units(major_units.amount, major_units.currency)
$$;

comment on function compat_ai_training.major_units(numeric, text) is
  'Returns an amount of a currency''s smallest unit in units of the currency.';

create function compat_ai_training.made_id(variadic key text[])
  returns uuid
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select md5(array_to_string(key, ':'))::uuid
$$;

comment on function compat_ai_training.made_id(text[]) is 'Returns the id of a row that has none of its own, made from its key.';

-- As the document calls it, with or without types. The database counts the failures and locks the account.
create function compat_ai_training.track_login_attempt(
  user_id uuid,
  email text,
  ip_address text,
  user_agent text,
  status text,
  failure_reason text
)
  returns uuid
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select compat.check_user(track_login_attempt.user_id);
  select security.track_login_attempt(
    track_login_attempt.user_id, track_login_attempt.email, track_login_attempt.ip_address, track_login_attempt.user_agent,
    track_login_attempt.status, track_login_attempt.failure_reason
  )
$$;

comment on function compat_ai_training.track_login_attempt(uuid, text, text, text, text, text) is
  'Records a sign-in attempt, counts failures, and locks or clears the account; returns the attempt''s id.';

create function compat_ai_training.track_login_attempt(
  user_id uuid,
  email text,
  ip_address inet,
  user_agent text,
  status text,
  failure_reason text
)
  returns uuid
  language sql
  volatile
  set search_path = pg_catalog
as $$
  select compat_ai_training.track_login_attempt(
    track_login_attempt.user_id, track_login_attempt.email, host(track_login_attempt.ip_address), track_login_attempt.user_agent,
    track_login_attempt.status, track_login_attempt.failure_reason
  )
$$;

comment on function compat_ai_training.track_login_attempt(uuid, text, inet, text, text, text) is
  'The same for an address that is not a text.';

grant execute on all functions in schema compat_ai_training to :PLINTH_APPLICATION, :PLINTH_USER, :PLINTH_ANALYST, :PLINTH_COMPAT;
revoke execute on function
  compat_ai_training.track_login_attempt(uuid, text, text, text, text, text),
  compat_ai_training.track_login_attempt(uuid, text, inet, text, text, text)
  from :PLINTH_USER, :PLINTH_ANALYST, :PLINTH_COMPAT;

call compat.read_private('ai_training', 'private.user_verifications', 'user_id',
  'id', 'user_id', 'kind', 'expires_at', 'used_at', 'created_at');
call compat.read_private('ai_training', 'private.password_history', 'user_id', 'id', 'user_id', 'created_at');
call compat.read_private('ai_training', 'private.refresh_tokens', 'user_id',
  'id', 'user_id', 'session_id', 'expires_at', 'used_at', 'created_at');
