--! Previous: sha1:291c67a0db25aa4617ce279328d39be844a07e26
--! Hash: sha1:66c36c5e1181e13e658f6655263374d4f37e4240
--! Message: security monitoring

-- Watching over security: how often somebody may try, who changed which data, what went wrong on our side, and what looks like an
-- attack.

insert into access.permissions (permission_name, description) values
  ('manage_security', 'Tune rate limits and the rules of suspicious activity.');

insert into access.role_permissions (role_id, permission_id)
select r.id, p.id
from access.roles r
cross join access.permissions p
where r.role_name = 'admin' and p.permission_name = 'manage_security';

-- Limits by name, for the code that asks for them; the numbers are data, so that they can be tuned without a release.
create table security.rate_limit_rules (
  rule_name text primary key,
  algorithm text not null,
  limit_value integer not null,
  window_length interval not null,
  is_enabled boolean not null default true,
  description text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint rate_limit_rules_rule_name_check check (rule_name ~ '^[a-z][a-z0-9_]{0,99}$'),
  constraint rate_limit_rules_algorithm_check check (algorithm in ('fixed_window', 'sliding_window', 'token_bucket')),
  constraint rate_limit_rules_limit_value_check check (limit_value between 1 and 1000000000),
  constraint rate_limit_rules_window_length_check
    check (window_length between interval '1 second' and interval '366 days')
);

alter table security.rate_limit_rules enable row level security;

comment on table security.rate_limit_rules is 'One row per rate limit that the product asks for by name.';
comment on column security.rate_limit_rules.rule_name is 'Unique name, such as login_per_address.';
comment on column security.rate_limit_rules.algorithm is 'fixed_window, sliding_window or token_bucket.';
comment on column security.rate_limit_rules.limit_value is 'How many are allowed in a window.';
comment on column security.rate_limit_rules.window_length is 'How long the window is.';
comment on column security.rate_limit_rules.is_enabled is 'A rule that is off allows everything.';
comment on column security.rate_limit_rules.description is 'What is limited, and why at this number.';
comment on column security.rate_limit_rules.created_at is 'When the rule was made.';
comment on column security.rate_limit_rules.updated_at is 'When it last changed.';

-- One address is often many people: an office or a school behind one router. Limits per address stop machines, those per account
-- are small, because one person is behind it. There is none for signing in per account: that is the lockout's job
-- (private.lockout_duration), which tells nobody whether the account exists.
insert into security.rate_limit_rules (rule_name, algorithm, limit_value, window_length, description) values
  (
    'login_per_address', 'sliding_window', 300, '15 minutes',
    'Sign-ins from one address, right or wrong: 300 people behind one router may come in at once, a machine gets no further.'
  ),
  (
    'register_per_address', 'sliding_window', 100, '1 hour',
    'New accounts from one address: a class may register in a lesson.'
  ),
  (
    'password_change_per_account', 'token_bucket', 10, '1 hour',
    'Changes of password of one account: each costs two password hashes.'
  ),
  (
    'password_reset_per_address', 'sliding_window', 50, '1 hour',
    'Requests to reset a password from one address, each of which may send a mail.'
  );

-- The counters. A key is an address or an account, so only its SHA-256 is kept; that is no secret (there are few IPv4 addresses
-- to try), but it does not read like a list of visitors. Logged, not unlogged: unlogged tables are emptied by a crash and absent
-- from a standby, and a limit that somebody can reset by crashing the server is none.
create table security.rate_limit_records (
  id uuid primary key default plinth.uuid_v7(),
  key_hash bytea not null,
  algorithm text not null,
  window_start timestamptz not null,
  window_end timestamptz not null,
  request_count bigint not null,
  tokens_used numeric(38, 0),
  limit_value integer not null,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint rate_limit_records_key_hash_algorithm_window_start_key unique (key_hash, algorithm, window_start),
  constraint rate_limit_records_key_hash_is_a_sha256 check (octet_length(key_hash) = 32),
  constraint rate_limit_records_algorithm_check check (algorithm in ('fixed_window', 'sliding_window', 'token_bucket')),
  constraint rate_limit_records_window_end_after_window_start check (window_end > window_start),
  constraint rate_limit_records_request_count_is_positive check (request_count > 0),
  constraint rate_limit_records_limit_value_is_positive check (limit_value > 0),
  constraint rate_limit_records_tokens_used_belongs_to_a_bucket
    check ((algorithm = 'token_bucket') = (tokens_used is not null) and tokens_used >= 0),
  constraint rate_limit_records_metadata_is_an_object check (jsonb_typeof(metadata) = 'object')
) with (fillfactor = 70); -- counters are updated in place

alter table security.rate_limit_records enable row level security;

-- The clean-up asks for windows that are over.
create index rate_limit_records_window_end_idx on security.rate_limit_records (window_end);

comment on table security.rate_limit_records is
  'One row per key, algorithm and window in which something was counted; a token bucket has one row as long as it is not full.';
comment on column security.rate_limit_records.id is 'UUIDv7.';
comment on column security.rate_limit_records.key_hash is
  'SHA-256 of the window''s length in microseconds, a colon and the key.';
comment on column security.rate_limit_records.algorithm is 'fixed_window, sliding_window or token_bucket.';
comment on column security.rate_limit_records.window_start is 'Begin of the window; of a bucket, when it was last taken from.';
comment on column security.rate_limit_records.window_end is 'End of the window; of a bucket, when it will be full again.';
comment on column security.rate_limit_records.request_count is
  'What was counted in the window; of a bucket, tokens missing at window_start, rounded up.';
comment on column security.rate_limit_records.tokens_used is
  'Of a bucket: tokens missing at window_start, times microseconds of the window. A whole number, so that refilling never drifts.';
comment on column security.rate_limit_records.limit_value is 'The limit at the last call that was counted.';
comment on column security.rate_limit_records.metadata is 'The rule''s name, if there is one (JSON object).';
comment on column security.rate_limit_records.created_at is 'When the row was made.';
comment on column security.rate_limit_records.updated_at is 'When it last changed.';

-- What looks like an attack. The rules' logic is in private.suspicious_subjects; their numbers are here.
create table security.suspicious_activity_rules (
  rule_name text primary key,
  description text not null,
  threshold integer not null,
  window_length interval not null,
  severity text not null,
  is_enabled boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint suspicious_activity_rules_rule_name_check check (rule_name ~ '^[a-z][a-z0-9_]{0,99}$'),
  constraint suspicious_activity_rules_threshold_check check (threshold between 1 and 1000000),
  constraint suspicious_activity_rules_window_length_check
    check (window_length between interval '1 minute' and interval '1 day'),
  constraint suspicious_activity_rules_severity_check check (severity in ('warning', 'error', 'critical'))
);

alter table security.suspicious_activity_rules enable row level security;

comment on table security.suspicious_activity_rules is 'One row per rule of what counts as suspicious.';
comment on column security.suspicious_activity_rules.rule_name is 'Unique name, also in the events that it causes.';
comment on column security.suspicious_activity_rules.description is 'What is counted for whom.';
comment on column security.suspicious_activity_rules.threshold is 'So many in the window are suspicious.';
comment on column security.suspicious_activity_rules.window_length is 'Counted over this time; a subject is reported once in it.';
comment on column security.suspicious_activity_rules.severity is 'Of the event: warning, error or critical.';
comment on column security.suspicious_activity_rules.is_enabled is 'A rule that is off finds nothing.';
comment on column security.suspicious_activity_rules.created_at is 'When the rule was made.';
comment on column security.suspicious_activity_rules.updated_at is 'When it last changed.';

insert into security.suspicious_activity_rules (rule_name, threshold, window_length, severity, description) values
  (
    'many_accounts_from_one_address', 50, '1 hour', 'warning',
    'Accounts signed in from one address. An office has many as well; a bot net''s exit has more.'
  ),
  (
    'password_spraying', 20, '15 minutes', 'error',
    'Accounts, existing or not, for which sign-in failed from one address.'
  ),
  (
    'one_account_from_many_addresses', 8, '1 hour', 'warning',
    'Networks (/16 or /32) from which sign-in to one account was tried, with or without success.'
  ),
  (
    'fast_network_change', 2, '10 minutes', 'warning',
    'Networks (/16 or /32) from which one account was signed in to, or one of its sessions went on. A phone that leaves the house does this too.'
  ),
  (
    'token_reuse', 1, '10 minutes', 'critical',
    'Refresh tokens of one account used again after their time: somebody has a copy.'
  );

-- Every change of the data that decides what people may do: see the triggers for the tables.
create table security.audit_trail (
  id uuid not null default plinth.uuid_v7(),
  table_name text not null,
  operation text not null,
  row_key jsonb not null,
  user_id uuid references identity.users on delete set null,
  actor_id uuid references identity.users on delete set null,
  changed_columns text[],
  old_values jsonb,
  new_values jsonb,
  transaction_number bigint not null,
  source text not null,
  correlation_id text,
  ip_address inet,
  created_at timestamptz not null default now(),
  primary key (id, created_at),
  constraint audit_trail_operation_check check (operation in ('INSERT', 'UPDATE', 'DELETE')),
  constraint audit_trail_row_key_is_an_object check (jsonb_typeof(row_key) = 'object'),
  constraint audit_trail_update_names_columns check ((operation = 'UPDATE') = (changed_columns is not null)),
  constraint audit_trail_insert_has_no_old_values check (operation <> 'INSERT' or old_values is null),
  constraint audit_trail_delete_has_no_new_values check (operation <> 'DELETE' or new_values is null)
) partition by range (created_at);

alter table security.audit_trail enable row level security;

-- One account's changes by time; also serve the foreign keys.
create index audit_trail_user_id_created_at_idx on security.audit_trail (user_id, created_at);
create index audit_trail_actor_id_created_at_idx on security.audit_trail (actor_id, created_at);
-- "What happened to this table" and, within it, to a row.
create index audit_trail_table_name_created_at_idx on security.audit_trail (table_name, created_at);
-- From a line in the API's log to its changes.
create index audit_trail_correlation_id_idx on security.audit_trail (correlation_id);

comment on table security.audit_trail is
  'One row per changed row of the watched tables; partitioned by month of created_at. Secrets are never in it.';
comment on column security.audit_trail.id is 'UUIDv7.';
comment on column security.audit_trail.table_name is 'Schema and name of the table.';
comment on column security.audit_trail.operation is 'INSERT, UPDATE or DELETE.';
comment on column security.audit_trail.row_key is 'Primary key of the row (JSON object).';
comment on column security.audit_trail.user_id is 'The account concerned; null when there is none or it was deleted.';
comment on column security.audit_trail.actor_id is 'The account that acted; null for visitors, jobs and psql.';
comment on column security.audit_trail.changed_columns is 'Of an update: the columns that changed, those without kept values too.';
comment on column security.audit_trail.old_values is
  'Values before (JSON object), of an update the changed ones only; null when the account was deleted.';
comment on column security.audit_trail.new_values is
  'Values after (JSON object), of an update the changed ones only; null when the account was deleted.';
comment on column security.audit_trail.transaction_number is 'Which changes happened together: the number of their transaction.';
comment on column security.audit_trail.source is 'Database role on whose behalf it happened.';
comment on column security.audit_trail.correlation_id is 'Id of the API request, also in its log.';
comment on column security.audit_trail.ip_address is 'Client address.';
comment on column security.audit_trail.created_at is 'Time of the transaction; the partition key.';

-- What went wrong on our side. The id is what the client was told.
create table security.error_logs (
  id uuid not null,
  user_id uuid references identity.users on delete set null,
  message text not null,
  error_code text not null,
  stack_fingerprint text,
  context jsonb not null default '{}',
  correlation_id text,
  source text not null,
  created_at timestamptz not null default now(),
  primary key (id, created_at),
  constraint error_logs_message_check check (length(message) <= 1000),
  constraint error_logs_error_code_check check (length(error_code) between 1 and 100),
  constraint error_logs_stack_fingerprint_check check (stack_fingerprint ~ '^[0-9a-f]{16}$'),
  constraint error_logs_context_is_an_object check (jsonb_typeof(context) = 'object')
) partition by range (created_at);

alter table security.error_logs enable row level security;

-- Serves the foreign key.
create index error_logs_user_id_created_at_idx on security.error_logs (user_id, created_at);
-- How often the same error happened, and since when.
create index error_logs_stack_fingerprint_created_at_idx on security.error_logs (stack_fingerprint, created_at);
create index error_logs_created_at_idx on security.error_logs (created_at);
create index error_logs_correlation_id_idx on security.error_logs (correlation_id);

comment on table security.error_logs is 'One row per error nobody foresaw; partitioned by month of created_at, kept 90 days.';
comment on column security.error_logs.id is 'The errorId that the client was told; also in the API''s log.';
comment on column security.error_logs.user_id is 'Who asked; null for visitors or when the account was deleted.';
comment on column security.error_logs.message is 'The error''s message without anything quoted in it.';
comment on column security.error_logs.error_code is 'SQLSTATE, system error code, or the error''s class.';
comment on column security.error_logs.stack_fingerprint is 'The same for errors from the same place: 16 hexadecimal digits.';
comment on column security.error_logs.context is 'Where it happened (JSON object): GraphQL path, table, constraint. No values.';
comment on column security.error_logs.correlation_id is 'Id of the API request, also in its log.';
comment on column security.error_logs.source is 'Database role that reported it.';
comment on column security.error_logs.created_at is 'When it happened; the partition key.';

--! Included private/functions/record_security_event.sql
-- The one way into the audit log. Context (address, agent, correlation id, actor) comes from the request's settings.
create or replace function private.record_security_event(
  event_type text,
  user_id uuid,
  event_data jsonb default '{}',
  severity text default 'info'
)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  insert into security.security_audit_log
    (user_id, actor_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id)
  values (
    -- The account may be gone (a token of a deleted user), the event still counts. Locked as the foreign key would, so that
    -- it cannot go between the look and the insert. One that is just being deleted counts as gone: who deletes it may wait
    -- for a row that the caller has changed, and the two would wait in a circle.
    (select u.id from identity.users u where u.id = record_security_event.user_id for key share skip locked),
    (select u.id from identity.users u where u.id = plinth.current_user_id() for key share skip locked),
    record_security_event.event_type,
    coalesce(record_security_event.event_data, '{}'),
    record_security_event.severity,
    session_user,
    plinth.client_ip(),
    left(plinth.user_agent(), 1000),
    plinth.correlation_id()
  )
$$;

comment on function private.record_security_event(text, uuid, jsonb, text) is
  'Adds a row to security.security_audit_log with the request''s context.';
--! EndIncluded private/functions/record_security_event.sql
--! Included private/functions/consume_rate_limit_at.sql
-- Counts a call against a limit, or refuses it; refused calls do not count. Calls of one key and algorithm wait for each
-- other at an advisory lock and take the time after it, so that exactly the limit is allowed however many come at once; all
-- arithmetic is in whole numbers (microseconds, and tokens times microseconds), so that nothing drifts.
--   fixed_window    at most limit_value in each window since 1970-01-01 UTC; up to twice that around a window's edge
--   sliding_window  two counters: what the current window holds, plus the previous one weighted by how much of it the last
--                   window_length still covers ("How we built rate limiting capable of scaling to millions of domains",
--                   Cloudflare, 2017); exact by that definition, which takes the previous window's calls as evenly spread
--   token_bucket    holds limit_value tokens and refills evenly in window_length (RFC 2697's committed bucket, in calls)
-- A clock that was put back is believed: at worst the time it went back is refilled twice, and nobody is shut out.
create or replace function private.consume_rate_limit_at(
  key text,
  algorithm text,
  limit_value integer,
  window_length interval,
  cost integer default 1,
  at timestamptz default null,
  metadata jsonb default '{}'
)
  returns table (allowed boolean, remaining integer, retry_after interval, reset_at timestamptz)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_tick constant interval := interval '1 microsecond';
  v_seconds numeric := extract(epoch from consume_rate_limit_at.window_length);
  v_limit numeric := consume_rate_limit_at.limit_value;
  v_cost numeric := consume_rate_limit_at.cost;
  -- In microseconds; v_now, v_start and v_end since 1970.
  v_window numeric;
  v_now numeric;
  v_start numeric;
  v_end numeric;
  v_wait numeric := 0;
  v_hash bytea;
  v_count numeric;
  v_previous numeric;
  -- Tokens times microseconds of the window: what is used up of limit times window.
  v_used numeric;
  v_bucket security.rate_limit_records;
begin
  if consume_rate_limit_at.key is null or length(consume_rate_limit_at.key) not between 1 and 1000 then
    raise exception 'A key has 1 to 1000 characters.' using errcode = 'PL422', column = 'key';
  elsif consume_rate_limit_at.algorithm is null
    or consume_rate_limit_at.algorithm not in ('fixed_window', 'sliding_window', 'token_bucket')
  then
    raise exception 'The algorithm is fixed_window, sliding_window or token_bucket.'
      using errcode = 'PL422', column = 'algorithm';
  elsif v_limit is null or v_limit not between 1 and 1000000000 then
    raise exception 'A limit is from 1 to 1000000000.' using errcode = 'PL422', column = 'limit_value';
  elsif v_seconds is null or v_seconds not between 0.001 and 31622400 then
    raise exception 'A window is from a millisecond to 366 days long.' using errcode = 'PL422', column = 'window_length';
  elsif v_cost is null or v_cost not between 1 and v_limit then
    raise exception 'A cost is from 1 to the limit.' using errcode = 'PL422', column = 'cost';
  elsif consume_rate_limit_at.at not between '1970-01-02' and '9999-01-01' then
    raise exception 'The time is out of range.' using errcode = 'PL422', column = 'at';
  end if;

  v_window := trunc(v_seconds * 1000000);
  -- The window belongs to the key: another length is another counter.
  v_hash := sha256(convert_to(v_window || ':' || consume_rate_limit_at.key, 'UTF8'));
  perform pg_advisory_xact_lock(hashtextextended(encode(v_hash, 'hex') || consume_rate_limit_at.algorithm, 0));
  v_now := trunc(extract(epoch from coalesce(consume_rate_limit_at.at, clock_timestamp())) * 1000000);

  if consume_rate_limit_at.algorithm = 'token_bucket' then
    -- A missing row is a full bucket, so one that has filled up may be deleted at any time; locked against that.
    select r.* into v_bucket
    from security.rate_limit_records r
    where r.key_hash = v_hash and r.algorithm = 'token_bucket'
    for update;
    v_used := greatest(
      0,
      -- A limit that was lowered meanwhile: no debt beyond an empty bucket.
      least(coalesce(v_bucket.tokens_used, 0), v_limit * v_window)
        - v_limit * greatest(0, v_now - coalesce(trunc(extract(epoch from v_bucket.window_start) * 1000000), v_now))
    );
    allowed := v_used + v_cost * v_window <= v_limit * v_window;
    if allowed then
      v_used := v_used + v_cost * v_window;
    else
      v_wait := ceil((v_used + v_cost * v_window - v_limit * v_window) / v_limit);
    end if;
    remaining := div(v_limit * v_window - v_used, v_window);
    v_end := v_now + ceil(v_used / v_limit);
    v_start := v_now;
    v_count := ceil(v_used / v_window);
  else
    v_start := v_now - v_now % v_window;
    v_end := v_start + v_window;
    select
      coalesce(sum(r.request_count) filter (where r.window_start = timestamptz 'epoch' + v_start::bigint * v_tick), 0),
      coalesce(sum(r.request_count) filter (where r.window_start < timestamptz 'epoch' + v_start::bigint * v_tick), 0)
    into v_count, v_previous
    from security.rate_limit_records r
    where r.key_hash = v_hash
      and r.algorithm = consume_rate_limit_at.algorithm
      and r.window_start in (
        timestamptz 'epoch' + v_start::bigint * v_tick,
        timestamptz 'epoch' + (v_start - v_window)::bigint * v_tick
      );
    if consume_rate_limit_at.algorithm = 'fixed_window' then
      v_previous := 0;
    end if;
    v_used := v_count * v_window + v_previous * (v_end - v_now);
    allowed := v_used + v_cost * v_window <= v_limit * v_window;
    if allowed then
      v_count := v_count + v_cost;
      v_used := v_used + v_cost * v_window;
    elsif consume_rate_limit_at.algorithm = 'fixed_window' then
      v_wait := v_end - v_now;
    elsif v_count + v_cost <= v_limit then
      -- Until enough of the previous window has gone by.
      v_wait := v_end - v_now - div((v_limit - v_count - v_cost) * v_window, v_previous);
    else
      -- Into the next window, where this one is the previous.
      v_wait := v_end - v_now + greatest(0, v_window - div((v_limit - v_cost) * v_window, v_count));
    end if;
    remaining := div(greatest(0, v_limit * v_window - v_used), v_window);
  end if;

  if allowed then
    if v_bucket.id is not null then
      update security.rate_limit_records r
      set
        window_start = timestamptz 'epoch' + v_start::bigint * v_tick,
        window_end = timestamptz 'epoch' + v_end::bigint * v_tick,
        request_count = v_count,
        tokens_used = v_used,
        limit_value = v_limit,
        metadata = consume_rate_limit_at.metadata
      where r.id = v_bucket.id;
    else
      insert into security.rate_limit_records as r
        (key_hash, algorithm, window_start, window_end, request_count, tokens_used, limit_value, metadata)
      values (
        v_hash,
        consume_rate_limit_at.algorithm,
        timestamptz 'epoch' + v_start::bigint * v_tick,
        timestamptz 'epoch' + v_end::bigint * v_tick,
        v_count,
        case when consume_rate_limit_at.algorithm = 'token_bucket' then v_used end,
        v_limit,
        consume_rate_limit_at.metadata
      )
      on conflict on constraint rate_limit_records_key_hash_algorithm_window_start_key do update
      set request_count = excluded.request_count, limit_value = excluded.limit_value, metadata = excluded.metadata;
    end if;
  end if;

  retry_after := v_wait::bigint * v_tick;
  reset_at := timestamptz 'epoch' + v_tick * (
    case
      when consume_rate_limit_at.algorithm <> 'sliding_window' then v_end
      when v_count > 0 then v_end + v_window
      when v_previous > 0 then v_end
      else v_now
    end
  )::bigint;
  return next;
end
$$;

comment on function private.consume_rate_limit_at(text, text, integer, interval, integer, timestamptz, jsonb) is
  'security.consume_rate_limit at a given time; null means now, after waiting for others that use the key. PL422.';
--! EndIncluded private/functions/consume_rate_limit_at.sql
--! Included security/functions/consume_rate_limit.sql
-- The limiter for a product's own functions. It counts in the caller's transaction: what is rolled back was not counted, so
-- something that fails on purpose is limited from a transaction of its own, as the API does.
create or replace function security.consume_rate_limit(
  key text,
  algorithm text,
  limit_value integer,
  window_length interval,
  cost integer default 1
)
  returns table (allowed boolean, remaining integer, retry_after interval, reset_at timestamptz)
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select c.allowed, c.remaining, c.retry_after, c.reset_at
  from private.consume_rate_limit_at(key, algorithm, limit_value, window_length, cost) c
$$;

comment on function security.consume_rate_limit(text, text, integer, interval, integer) is
  'Counts a call against a limit (fixed_window, sliding_window or token_bucket) or refuses it; exact when many call at once. remaining: calls left; retry_after: when this call could pass; reset_at: when nothing counts any more. PL422 for bad arguments.';
--! EndIncluded security/functions/consume_rate_limit.sql
--! Included private/functions/consume_rate_limit_rule.sql
-- Limits by name, with the numbers in security.rate_limit_rules. The rule's name is part of the key, so that rules do not
-- share counters.
create or replace function private.consume_rate_limit_rule(rule_name text, key text)
  returns table (allowed boolean, remaining integer, retry_after interval, reset_at timestamptz)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_rule security.rate_limit_rules;
begin
  select r.* into v_rule from security.rate_limit_rules r where r.rule_name = consume_rate_limit_rule.rule_name;
  if v_rule.rule_name is null then
    raise exception 'There is no rate limit rule of that name.' using errcode = 'PL422', column = 'rule_name';
  end if;
  if consume_rate_limit_rule.key is null or length(consume_rate_limit_rule.key) not between 1 and 800 then
    raise exception 'A key has 1 to 800 characters.' using errcode = 'PL422', column = 'key';
  end if;
  if not v_rule.is_enabled then
    return query select true, null::integer, interval '0', null::timestamptz;
    return;
  end if;
  return query
    select c.allowed, c.remaining, c.retry_after, c.reset_at
    from private.consume_rate_limit_at(
      v_rule.rule_name || ':' || consume_rate_limit_rule.key,
      v_rule.algorithm,
      v_rule.limit_value,
      v_rule.window_length,
      metadata => jsonb_build_object('rule', v_rule.rule_name)
    ) c;
end
$$;

comment on function private.consume_rate_limit_rule(text, text) is
  'Counts a call against a rule of security.rate_limit_rules or refuses it. A rule switched off allows; an unknown one is PL422.';
grant execute on function private.consume_rate_limit_rule(text, text) to :PLINTH_SERVICE;

-- For SQL functions. A refused call does not count, so the error takes nothing back; an error later in the transaction does,
-- so what must count when it fails is counted before, in a transaction of its own.
create or replace function private.enforce_rate_limit(rule_name text, key text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_outcome record;
begin
  select c.allowed, c.retry_after into v_outcome
  from private.consume_rate_limit_rule(enforce_rate_limit.rule_name, enforce_rate_limit.key) c;
  if not v_outcome.allowed then
    raise exception 'Too many attempts; try again later.'
      using
        errcode = 'PL429',
        hint = format('Try again in %s seconds.', greatest(1, ceil(extract(epoch from v_outcome.retry_after))));
  end if;
end
$$;

comment on function private.enforce_rate_limit(text, text) is
  'Counts a call against a rule; PL429 with the seconds to wait in the hint when it is one too many.';
grant execute on function private.enforce_rate_limit(text, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/consume_rate_limit_rule.sql
--! Included private/functions/lease_requests.sql
-- The API counts requests in memory. A server asks here only for a client that has used up a share of its limit, for a block
-- of requests at a time, so that a client spread over many servers is held to one limit. The limit is the server's setting.
create or replace function private.lease_requests(
  client text,
  limit_value integer,
  window_length interval,
  wanted integer
)
  returns table (granted integer, remaining integer, retry_after interval)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_cost integer := lease_requests.wanted;
  v_outcome record;
begin
  -- All that is wanted, else what is left, else the time when there will be one again.
  for v_try in 1 .. 2 loop
    select c.allowed, c.remaining, c.retry_after into v_outcome
    from private.consume_rate_limit_at(
      'api_per_client:' || lease_requests.client,
      'sliding_window',
      lease_requests.limit_value,
      lease_requests.window_length,
      v_cost,
      metadata => '{"rule": "api_per_client"}'
    ) c;
    exit when v_outcome.allowed;
    v_cost := greatest(1, v_outcome.remaining);
  end loop;
  granted := case when v_outcome.allowed then v_cost else 0 end;
  remaining := v_outcome.remaining;
  retry_after := v_outcome.retry_after;
  return next;
end
$$;

comment on function private.lease_requests(text, integer, interval, integer) is
  'Counts a block of API requests of a client ahead: as many as wanted, or those that are left, or none and how long to wait.';
grant execute on function private.lease_requests(text, integer, interval, integer) to :PLINTH_SERVICE;
--! EndIncluded private/functions/lease_requests.sql
--! Included private/functions/delete_expired_rate_limits.sql
-- One batch of the rate limits' clean-up. A sliding window still counts while it is the previous one. A minute of grace, for
-- a caller that took the time just before.
create or replace function private.delete_expired_rate_limits(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  with expired as (
    select r.id
    from security.rate_limit_records r
    where r.window_end < now() - interval '1 minute'
      and (
        r.algorithm <> 'sliding_window'
        or r.window_end + (r.window_end - r.window_start) < now() - interval '1 minute'
      )
    limit batch_size
    for update skip locked
  )
  delete from security.rate_limit_records r using expired e where r.id = e.id;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;

comment on function private.delete_expired_rate_limits(integer) is
  'Deletes up to batch_size counters that count for nothing any more; returns how many.';
grant execute on function private.delete_expired_rate_limits(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_expired_rate_limits.sql
--! Included private/functions/record_data_change.sql
-- Writes the audit trail: who changed what, from what to what. One function for all tables; the trigger's arguments say
--   1  the columns of the primary key
--   2  the column that names the account concerned, or ''
--   3  columns that are noise: their change alone is no change (counters of each sign-in, updated_at, generated columns)
--   4  columns whose values are nobody's to keep: that they changed is recorded, from what to what is not
-- each a list with commas and no blanks.
--
-- An account that is gone, or is just being deleted, is not waited for: whoever deletes it waits for this row already, and the
-- two would wait in a circle. Then user_id stays null and no values are kept; see private.forget_data_changes.
create or replace function private.record_data_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_noise constant text[] := string_to_array(tg_argv[2], ',');
  v_masked constant text[] := string_to_array(tg_argv[3], ',');
  v_old jsonb := to_jsonb(old) - v_noise;
  v_new jsonb := to_jsonb(new) - v_noise;
  v_row constant jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
  v_changed text[];
  v_user_id uuid;
  v_actor_id uuid;
begin
  if v_old = v_new then
    return null;
  end if;
  if tg_op = 'UPDATE' then
    select array_agg(n.key order by n.key) into v_changed
    from jsonb_each(v_new) n
    where n.value is distinct from v_old -> n.key;
    select jsonb_object_agg(c.name, v_old -> c.name), jsonb_object_agg(c.name, v_new -> c.name) into v_old, v_new
    from unnest(v_changed) c (name);
  end if;

  if tg_argv[1] <> '' then
    select u.id into v_user_id
    from identity.users u
    where u.id = (v_row ->> tg_argv[1])::uuid
    for key share skip locked;
    if v_user_id is null then
      v_old := null;
      v_new := null;
    end if;
  end if;
  select u.id into v_actor_id from identity.users u where u.id = plinth.current_user_id() for key share skip locked;

  insert into security.audit_trail (
    table_name, operation, row_key, user_id, actor_id, changed_columns, old_values, new_values,
    transaction_number, source, correlation_id, ip_address
  )
  values (
    tg_table_schema || '.' || tg_table_name,
    tg_op,
    (select jsonb_object_agg(k.name, v_row -> k.name) from unnest(string_to_array(tg_argv[0], ',')) k (name)),
    v_user_id,
    v_actor_id,
    v_changed,
    v_old - v_masked,
    v_new - v_masked,
    pg_current_xact_id()::text::bigint,
    session_user,
    plinth.correlation_id(),
    plinth.client_ip()
  );
  return null;
end
$$;

comment on function private.record_data_change() is
  'Trigger: adds a row to security.audit_trail. Arguments: key columns, account column, noise, columns whose values are not kept.';

-- The right to be forgotten: with an account go the values that the trail holds about it. That something changed, when and in
-- which transaction, stays. Before the delete, because afterwards the rows have lost their user_id.
create or replace function private.forget_data_changes()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  update security.audit_trail t
  set old_values = null, new_values = null
  where t.user_id = old.id and (t.old_values is not null or t.new_values is not null);
  return old;
end
$$;

comment on function private.forget_data_changes() is 'Trigger: removes an account''s values from the audit trail when it is deleted.';
--! EndIncluded private/functions/record_data_change.sql
--! Included private/functions/record_error.sql
-- The one way into the error log. The API sends errors some time after they happened, in batches, so who and when are
-- arguments. The account is not waited for when it is being deleted.
create or replace function private.record_error(
  error_id uuid,
  user_id uuid,
  message text,
  error_code text,
  stack_fingerprint text,
  context jsonb,
  correlation_id text,
  happened_at timestamptz
)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  insert into security.error_logs
    (id, user_id, message, error_code, stack_fingerprint, context, correlation_id, source, created_at)
  values (
    record_error.error_id,
    (select u.id from identity.users u where u.id = record_error.user_id for key share skip locked),
    left(record_error.message, 1000),
    left(record_error.error_code, 100),
    record_error.stack_fingerprint,
    coalesce(record_error.context, '{}'),
    left(record_error.correlation_id, 200),
    session_user,
    -- A server's clock is not believed beyond a day.
    least(now(), greatest(now() - interval '1 day', coalesce(record_error.happened_at, now())))
  )
  -- Sent again because the answer was lost.
  on conflict do nothing
$$;

comment on function private.record_error(uuid, uuid, text, text, text, jsonb, text, timestamptz) is
  'Adds a row to security.error_logs. The caller leaves out secrets and parameters.';
grant execute on function private.record_error(uuid, uuid, text, text, text, jsonb, text, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded private/functions/record_error.sql
--! Included private/functions/delete_old_error_logs.sql
-- One batch of the error log's clean-up: after 90 days an error is fixed, or has happened again.
create or replace function private.delete_old_error_logs(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  with old as (
    select e.id, e.created_at
    from security.error_logs e
    where e.created_at < now() - interval '90 days'
    order by e.created_at
    limit batch_size
    for update skip locked
  )
  delete from security.error_logs e using old o where e.id = o.id and e.created_at = o.created_at;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;

comment on function private.delete_old_error_logs(integer) is
  'Deletes up to batch_size errors older than 90 days; returns how many.';
grant execute on function private.delete_old_error_logs(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_old_error_logs.sql
--! Included private/functions/network_of.sql
-- Without a database of places, "somewhere else" means another network: the first 16 bits of an IPv4 address, the first 32 of
-- an IPv6 address, which is what providers are given. Neighbours may be told apart and far places may not: a hint, no proof.
create or replace function private.network_of(address inet)
  returns cidr
  language sql
  immutable
  parallel safe
as $$
  select network(set_masklen(address, case family(address) when 4 then 16 else 32 end))::cidr
$$;

comment on function private.network_of(inet) is 'The network of an address, coarsely: /16 for IPv4, /32 for IPv6.';

-- Who a client is for limits and rules: an IPv4 address, or the IPv6 network that one customer gets.
create or replace function private.client_network_of(address inet)
  returns cidr
  language sql
  immutable
  parallel safe
as $$
  select network(set_masklen(address, case family(address) when 4 then 32 else 56 end))::cidr
$$;

comment on function private.client_network_of(inet) is 'The network of one client: /32 for IPv4, /56 for IPv6.';
--! EndIncluded private/functions/network_of.sql
--! Included private/functions/suspicious_subjects.sql
-- Which enabled rules of security.suspicious_activity_rules are broken at a time, by whom: one branch a rule, each counting
-- over the rule's window that ends at that time. Subjects are client networks (addresses) or accounts.
create or replace function private.suspicious_subjects(at timestamptz)
  returns table (
    rule_name text,
    severity text,
    threshold integer,
    window_length interval,
    subject text,
    user_id uuid,
    observed bigint,
    evidence jsonb
  )
  language sql
  stable
  set search_path = pg_catalog
as $$
  with rules as (
    select r.* from security.suspicious_activity_rules r where r.is_enabled
  ),
  -- Where accounts were active: sign-ins, and sessions that moved, with the place they moved from.
  activity as (
    select a.user_id, private.network_of(a.ip_address) as network, a.created_at
    from security.login_attempts a
    where a.status = 'success' and a.user_id is not null and a.ip_address is not null
      and a.created_at > suspicious_subjects.at - interval '1 day'
    union all
    select e.user_id, private.network_of(m.address::inet), m.seen_at::timestamptz
    from security.security_audit_log e
    cross join lateral (
      values
        (e.event_data ->> 'from_address', e.event_data ->> 'from_seen_at'),
        (e.event_data ->> 'to_address', e.created_at::text)
    ) m (address, seen_at)
    where e.event_type = 'session_network_changed' and e.user_id is not null
      and e.created_at > suspicious_subjects.at - interval '1 day'
  ),
  broken as (
    select
      r.rule_name, private.client_network_of(a.ip_address)::text as subject, null::uuid as user_id,
      count(distinct a.user_id) as observed,
      jsonb_build_object('address', private.client_network_of(a.ip_address), 'accounts', count(distinct a.user_id))
        as evidence
    from rules r
    join security.login_attempts a
      on a.status = 'success' and a.user_id is not null and a.ip_address is not null
      and a.created_at > suspicious_subjects.at - r.window_length and a.created_at <= suspicious_subjects.at
    where r.rule_name = 'many_accounts_from_one_address'
    group by r.rule_name, private.client_network_of(a.ip_address)

    union all
    select
      r.rule_name, private.client_network_of(a.ip_address)::text, null,
      count(distinct coalesce(a.user_id::text, a.email)) filter (where a.status <> 'success'),
      jsonb_build_object(
        'address', private.client_network_of(a.ip_address),
        'failed_accounts', count(distinct coalesce(a.user_id::text, a.email)) filter (where a.status <> 'success'),
        'failed_attempts', count(*) filter (where a.status <> 'success'),
        -- Whose password may have been guessed.
        'signed_in_user_ids', coalesce(jsonb_agg(distinct a.user_id) filter (where a.status = 'success'), '[]')
      )
    from rules r
    join security.login_attempts a
      on a.status in ('failed', 'locked', 'success') and a.ip_address is not null
      and a.created_at > suspicious_subjects.at - r.window_length and a.created_at <= suspicious_subjects.at
    where r.rule_name = 'password_spraying'
    group by r.rule_name, private.client_network_of(a.ip_address)

    union all
    select
      r.rule_name, a.user_id::text, a.user_id,
      count(distinct private.network_of(a.ip_address)),
      jsonb_build_object(
        'networks', count(distinct private.network_of(a.ip_address)),
        'attempts', count(*),
        'succeeded', count(*) filter (where a.status = 'success')
      )
    from rules r
    join security.login_attempts a
      on a.status in ('failed', 'locked', 'success') and a.user_id is not null and a.ip_address is not null
      and a.created_at > suspicious_subjects.at - r.window_length and a.created_at <= suspicious_subjects.at
    where r.rule_name = 'one_account_from_many_addresses'
    group by r.rule_name, a.user_id

    union all
    select
      r.rule_name, a.user_id::text, a.user_id,
      count(distinct a.network),
      jsonb_build_object('networks', jsonb_agg(distinct a.network))
    from rules r
    join activity a
      on a.created_at > suspicious_subjects.at - r.window_length and a.created_at <= suspicious_subjects.at
    where r.rule_name = 'fast_network_change'
    group by r.rule_name, a.user_id

    union all
    select
      r.rule_name, e.user_id::text, e.user_id,
      count(*),
      jsonb_build_object('session_ids', jsonb_agg(distinct e.event_data -> 'session_id'))
    from rules r
    join security.security_audit_log e
      on e.event_type = 'refresh_token_reused' and e.user_id is not null
      and e.created_at > suspicious_subjects.at - r.window_length and e.created_at <= suspicious_subjects.at
    where r.rule_name = 'token_reuse'
    group by r.rule_name, e.user_id
  )
  select r.rule_name, r.severity, r.threshold, r.window_length, b.subject, b.user_id, b.observed, b.evidence
  from broken b
  join rules r on r.rule_name = b.rule_name
  where b.observed >= r.threshold
$$;

comment on function private.suspicious_subjects(timestamptz) is
  'Subjects that break an enabled rule of security.suspicious_activity_rules in its window that ends at a time.';
--! EndIncluded private/functions/suspicious_subjects.sql
--! Included private/functions/detect_suspicious_activity.sql
-- What happens when a rule is broken: the one place for it. The account concerned, if there is one, is told from here.
create or replace function private.report_suspicious_activity(
  rule_name text,
  user_id uuid,
  event_data jsonb,
  severity text
)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.record_security_event(
    'suspicious_activity',
    report_suspicious_activity.user_id,
    report_suspicious_activity.event_data || jsonb_build_object('rule', report_suspicious_activity.rule_name),
    report_suspicious_activity.severity
  );
end
$$;

comment on function private.report_suspicious_activity(text, uuid, jsonb, text) is
  'Audits a broken rule of security.suspicious_activity_rules: event suspicious_activity with the rule and its evidence.';

-- Looks at every minute from since to now, so that a worker that was away catches up, and may run as often as anybody likes: a
-- subject that was reported for a window is not reported again before a window without overlap. Runs wait for each other.
create or replace function private.detect_suspicious_activity(since timestamptz default now() - interval '3 minutes')
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_until constant timestamptz := clock_timestamp();
  v_at timestamptz;
  v_found record;
  v_reported integer := 0;
begin
  if since is null or since < v_until - interval '1 day 1 minute' or since > v_until then
    raise exception 'since must be within the last day.' using errcode = 'PL422', column = 'since';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('private.detect_suspicious_activity', 0));
  for v_at in
    select g from generate_series(v_until, since, interval '-1 minute') g order by g
  loop
    for v_found in
      select s.*
      from private.suspicious_subjects(v_at) s
      where not exists (
        select
        from security.security_audit_log e
        where e.event_type = 'suspicious_activity'
          and e.created_at > v_at - s.window_length
          and e.event_data ->> 'rule' = s.rule_name
          and e.event_data ->> 'subject' = s.subject
          and (e.event_data ->> 'window_end')::timestamptz > v_at - s.window_length
          and (e.event_data ->> 'window_start')::timestamptz < v_at
      )
      order by s.rule_name, s.subject
    loop
      perform private.report_suspicious_activity(
        v_found.rule_name,
        v_found.user_id,
        v_found.evidence || jsonb_build_object(
          'subject', v_found.subject,
          'observed', v_found.observed,
          'threshold', v_found.threshold,
          'window_start', v_at - v_found.window_length,
          'window_end', v_at
        ),
        v_found.severity
      );
      v_reported := v_reported + 1;
    end loop;
  end loop;
  return v_reported;
end
$$;

comment on function private.detect_suspicious_activity(timestamptz) is
  'Reports what breaks an enabled rule, minute by minute since a time within the last day; returns how many reports are new.';
grant execute on function private.detect_suspicious_activity(timestamptz) to :PLINTH_WORKER;
--! EndIncluded private/functions/detect_suspicious_activity.sql
--! Included private/triggers/session_network.sql
-- A session that moves to another network leaves a trace: the session's row remembers only its last address. Detection reads
-- these (private.suspicious_subjects), people too.
create or replace function private.record_session_network_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.record_security_event(
    'session_network_changed',
    new.user_id,
    jsonb_build_object(
      'session_id', new.id,
      'from_address', host(old.ip_address),
      'from_seen_at', old.last_activity_at,
      'to_address', host(new.ip_address)
    )
  );
  return null;
end
$$;

comment on function private.record_session_network_change() is
  'Trigger: writes session_network_changed to the audit log when a session goes on from another network.';

create or replace trigger _500_record_network_change
  after update of ip_address on identity.user_sessions
  for each row
  when (old.ip_address is not null and new.ip_address is not null and old.ip_address <> new.ip_address
    and network(set_masklen(old.ip_address, case family(old.ip_address) when 4 then 16 else 32 end))
      <> network(set_masklen(new.ip_address, case family(new.ip_address) when 4 then 16 else 32 end)))
  execute function private.record_session_network_change();
--! EndIncluded private/triggers/session_network.sql
--! Included security/triggers/updated_at.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on security.rate_limit_records
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on security.rate_limit_rules
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on security.suspicious_activity_rules
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded security/triggers/updated_at.sql
--! Included security/triggers/audit_trail.sql
-- What the audit trail watches, and what of it is not kept. A new table or column is decided here; a test walks all columns
-- of these tables and refuses one whose name sounds like a secret. Arguments: see private.record_data_change.

-- In privacy mode no clear address is kept anywhere, so the trail keeps none either. The JSON columns are the product's and may
-- hold anything. Counters change with each sign-in, which has logs of its own.
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.users
  for each row
  execute function private.record_data_change(
    'id', 'id',
    'failed_login_attempts,locked_until,last_login_at,updated_at,is_active,is_verified',
    'email,profile_data,metadata'
  );

create or replace trigger _700_forget_data_changes
  before delete on identity.users
  for each row
  execute function private.forget_data_changes();

-- An endpoint's address may carry a key.
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.user_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', 'preferences,llm_endpoint');

create or replace trigger _700_record_data_change
  after insert or update or delete on identity.user_security_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.roles
  for each row
  execute function private.record_data_change('id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.permissions
  for each row
  execute function private.record_data_change('id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.role_permissions
  for each row
  execute function private.record_data_change('role_id,permission_id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.user_roles
  for each row
  execute function private.record_data_change('user_id,role_id', 'user_id', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.user_model_access
  for each row
  execute function private.record_data_change('id', 'user_id', '', '');

-- An address may carry a key, and a model's configuration may too.
create or replace trigger _700_record_data_change
  after insert or update or delete on llm.model_providers
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'api_url');

create or replace trigger _700_record_data_change
  after insert or update or delete on llm.models
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'config');

create or replace trigger _700_record_data_change
  after insert or update or delete on billing.model_prices
  for each row
  execute function private.record_data_change('id', '', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on security.rate_limit_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on security.suspicious_activity_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');
--! EndIncluded security/triggers/audit_trail.sql
--! Included security/policies/rate_limit_rules.sql
-- Who looks after security tunes them; auditors read them. No insert and no delete: code asks for the rules by name.
revoke all on security.rate_limit_rules from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (algorithm, limit_value, window_length, is_enabled) on security.rate_limit_rules to :PLINTH_USER;

drop policy if exists select_permitted on security.rate_limit_rules;
create policy select_permitted on security.rate_limit_rules
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security')) or (select access.has_permission('view_audit_log')));
comment on policy select_permitted on security.rate_limit_rules is
  'The permissions manage_security and view_audit_log read the limits.';

drop policy if exists update_manager on security.rate_limit_rules;
create policy update_manager on security.rate_limit_rules
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_security')))
  with check ((select access.has_permission('manage_security')));
comment on policy update_manager on security.rate_limit_rules is 'The permission manage_security changes the limits.';
--! EndIncluded security/policies/rate_limit_rules.sql
--! Included security/policies/rate_limit_records.sql
-- Counters are the limiter's own business: hashes of addresses and accounts are of use to nobody else. No grant, no policy.
revoke all on security.rate_limit_records from :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded security/policies/rate_limit_records.sql
--! Included security/policies/suspicious_activity_rules.sql
-- Who looks after security tunes them; auditors read them. No insert and no delete: code asks for the rules by name.
revoke all on security.suspicious_activity_rules from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (threshold, window_length, severity, is_enabled) on security.suspicious_activity_rules to :PLINTH_USER;

drop policy if exists select_permitted on security.suspicious_activity_rules;
create policy select_permitted on security.suspicious_activity_rules
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security')) or (select access.has_permission('view_audit_log')));
comment on policy select_permitted on security.suspicious_activity_rules is
  'The permissions manage_security and view_audit_log read the rules of suspicion.';

drop policy if exists update_manager on security.suspicious_activity_rules;
create policy update_manager on security.suspicious_activity_rules
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_security')))
  with check ((select access.has_permission('manage_security')));
comment on policy update_manager on security.suspicious_activity_rules is 'The permission manage_security changes the rules of suspicion.';
--! EndIncluded security/policies/suspicious_activity_rules.sql
--! Included security/policies/audit_trail.sql
-- Users see what was changed about them, auditors all; nobody writes but private.record_data_change. What somebody else
-- changed from an address of theirs stays the auditors': the address is that person's.
revoke all on security.audit_trail from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.audit_trail to :PLINTH_USER;

drop policy if exists select_own on security.audit_trail;
create policy select_own on security.audit_trail
  for select to :PLINTH_USER
  using (
    user_id = (select plinth.current_user_id())
    and (actor_id = (select plinth.current_user_id()) or ip_address is null)
  );
comment on policy select_own on security.audit_trail is
  'Users read changes of their own rows, made by themselves or by nobody with an address.';

drop policy if exists select_auditor on security.audit_trail;
create policy select_auditor on security.audit_trail
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log')));
comment on policy select_auditor on security.audit_trail is 'The permission view_audit_log reads all changes.';
--! EndIncluded security/policies/audit_trail.sql
--! Included security/policies/error_logs.sql
-- Auditors read them; nobody writes but private.record_error.
revoke all on security.error_logs from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.error_logs to :PLINTH_USER;

drop policy if exists select_auditor on security.error_logs;
create policy select_auditor on security.error_logs
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log')));
comment on policy select_auditor on security.error_logs is 'The permission view_audit_log reads all errors.';
--! EndIncluded security/policies/error_logs.sql
--! Included identity/views/user_security_status.sql
-- How safe my account is, on one row. Invoker rights, so the tables' policies decide; and only one's own row, because other
-- people's sessions are hidden even from who may see their accounts, and none is not zero. Without claims, the owner in psql,
-- it shows everybody. Columns of later parts are added at the end.
create or replace view identity.user_security_status
  with (security_invoker = true)
as
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
  (
    select count(*)
    from identity.user_sessions s
    where s.user_id = u.id and s.ended_at is null and s.expires_at > now()
  ) as live_sessions
from identity.users u
where u.id = plinth.current_user_id() or plinth.current_user_id() is null;

comment on view identity.user_security_status is
  E'@primaryKey user_id\n@foreignKey (user_id) references identity.users (id)|@fieldName user|@foreignFieldName securityStatus\nOne row per account: its state as far as signing in is concerned. Users read their own.';
comment on column identity.user_security_status.user_id is 'The account.';
comment on column identity.user_security_status.account_status is 'active, disabled or deleted.';
comment on column identity.user_security_status.is_verified is 'Whether the e-mail address is verified.';
comment on column identity.user_security_status.is_locked is 'Whether sign-in is refused now because of wrong passwords.';
comment on column identity.user_security_status.locked_until is 'When the last lock ends or ended; null after a success.';
comment on column identity.user_security_status.failed_login_attempts is 'Wrong passwords in a row.';
comment on column identity.user_security_status.last_login_at is 'Last successful sign-in.';
comment on column identity.user_security_status.password_changed_at is 'When the password was set.';
comment on column identity.user_security_status.password_age_days is 'Whole days since then.';
comment on column identity.user_security_status.live_sessions is 'Devices signed in now.';
revoke all on identity.user_security_status from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.user_security_status to :PLINTH_USER;
--! EndIncluded identity/views/user_security_status.sql
--! Included analytics/views/account_security.sql
-- The state of all accounts, without names and addresses: identity.user_security_status for people who count.
create or replace view analytics.account_security
  with (security_barrier = true)
as
select
  u.id as user_id,
  u.account_status,
  u.is_verified,
  coalesce(u.locked_until > now(), false) as is_locked,
  u.failed_login_attempts,
  coalesce(s.live_sessions, 0) as live_sessions,
  extract(day from now() - u.password_changed_at)::integer as password_age_days,
  u.last_login_at,
  u.created_at
from identity.users u
left join (
  select s.user_id, count(*) as live_sessions
  from identity.user_sessions s
  where s.ended_at is null and s.expires_at > now()
  group by s.user_id
) s on s.user_id = u.id;

comment on view analytics.account_security is 'Grain: one row per account. How it stands with signing in.';
comment on column analytics.account_security.user_id is 'The account.';
comment on column analytics.account_security.account_status is 'active, disabled or deleted.';
comment on column analytics.account_security.is_verified is 'Whether the e-mail address is verified.';
comment on column analytics.account_security.is_locked is 'Whether sign-in is refused now because of wrong passwords.';
comment on column analytics.account_security.failed_login_attempts is 'Wrong passwords in a row.';
comment on column analytics.account_security.live_sessions is 'Devices signed in now.';
comment on column analytics.account_security.password_age_days is 'Whole days since the password was set; null without one.';
comment on column analytics.account_security.last_login_at is 'Last successful sign-in.';
comment on column analytics.account_security.created_at is 'When the account was made.';
grant select on analytics.account_security to :PLINTH_ANALYST;
--! EndIncluded analytics/views/account_security.sql
--! Included analytics/views/security_events_hourly.sql
-- What the security log fills up with, for a chart or an alarm.
create or replace view analytics.security_events_hourly
  with (security_barrier = true)
as
select
  date_trunc('hour', e.created_at, 'UTC') as hour,
  e.event_type,
  e.severity,
  count(*) as events,
  count(distinct e.user_id) as users
from security.security_audit_log e
group by 1, 2, 3;

comment on view analytics.security_events_hourly is 'Grain: one row per hour, type and severity of security events.';
comment on column analytics.security_events_hourly.hour is 'Begin of the hour.';
comment on column analytics.security_events_hourly.event_type is 'What happened, such as login_failed.';
comment on column analytics.security_events_hourly.severity is 'debug, info, warning, error or critical.';
comment on column analytics.security_events_hourly.events is 'How many events.';
comment on column analytics.security_events_hourly.users is 'How many existing accounts they concern.';
grant select on analytics.security_events_hourly to :PLINTH_ANALYST;
--! EndIncluded analytics/views/security_events_hourly.sql
--! Included analytics/views/failed_logins_by_network.sql
-- Where refused sign-ins come from. A whole address is a person's, so the last 8 bits (IPv4) or 80 bits (IPv6) are cut off;
-- auditors find it in security.login_attempts.
create or replace view analytics.failed_logins_by_network
  with (security_barrier = true)
as
select
  (a.created_at at time zone 'UTC')::date as day,
  network(set_masklen(a.ip_address, case family(a.ip_address) when 4 then 24 else 48 end))::cidr as network,
  count(*) as failed_attempts,
  count(distinct a.user_id) as users,
  count(*) filter (where a.user_id is null) as unknown_account_attempts,
  max(a.created_at) as last_attempt_at
from security.login_attempts a
where a.status in ('failed', 'locked') and a.ip_address is not null
group by 1, 2;

comment on view analytics.failed_logins_by_network is 'Grain: one row per day (UTC) and network with refused sign-ins.';
comment on column analytics.failed_logins_by_network.day is 'Day in UTC.';
comment on column analytics.failed_logins_by_network.network is 'Client network: /24 of IPv4, /48 of IPv6 addresses.';
comment on column analytics.failed_logins_by_network.failed_attempts is 'How many were refused, locked accounts included.';
comment on column analytics.failed_logins_by_network.users is 'How many existing accounts were tried.';
comment on column analytics.failed_logins_by_network.unknown_account_attempts is 'How many named an account that does not exist.';
comment on column analytics.failed_logins_by_network.last_attempt_at is 'The last of them.';
grant select on analytics.failed_logins_by_network to :PLINTH_ANALYST;
--! EndIncluded analytics/views/failed_logins_by_network.sql
--! Included analytics/views/sessions_by_state.sql
-- How many devices are signed in, and how the others ended.
create or replace view analytics.sessions_by_state
  with (security_barrier = true)
as
select
  coalesce(
    s.end_reason,
    case
      when s.expires_at <= now() then 'expired'
      when s.last_activity_at > now() - interval '1 hour' then 'active_last_hour'
      else 'open'
    end
  ) as state,
  count(*) as sessions,
  count(distinct s.user_id) as users,
  max(s.last_activity_at) as last_activity_at
from identity.user_sessions s
group by 1;

comment on view analytics.sessions_by_state is 'Grain: one row per state of sessions; ended ones are kept 90 days.';
comment on column analytics.sessions_by_state.state is
  'active_last_hour and open can be used; otherwise why the session ended, such as logout or expired.';
comment on column analytics.sessions_by_state.sessions is 'How many sessions.';
comment on column analytics.sessions_by_state.users is 'Of how many accounts.';
comment on column analytics.sessions_by_state.last_activity_at is 'When one of them was last used.';
grant select on analytics.sessions_by_state to :PLINTH_ANALYST;
--! EndIncluded analytics/views/sessions_by_state.sql

-- This month and three ahead for the new logs; the worker goes on from here every day.
select from private.ensure_partitions(3);
