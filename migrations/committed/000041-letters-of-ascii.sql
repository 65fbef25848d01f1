--! Previous: sha1:6309044cb8a5e6a2fdf1098d9185040e5a58ae61
--! Hash: sha1:f60cc312ae58b6cfa4c414a00aa91fe7f1ff9cbb
--! Message: letters of ASCII

-- In a Turkish or Azerbaijani database, lower('INSERT') has another i. Words of Plinth's own have the letters of ASCII.
--! Included access/private/condition_parts.sql
-- Splits a condition at AND, OR and NOT, for people who read why a policy did not pass. The text must be one that pg_get_expr wrote:
-- it puts parentheses around every AND, OR and NOT, and writes keywords in upper case, other names in lower case or in quotes.
-- Strings, quoted names, sub-selects, arrays and CASE are never split. The parts are in the order of the text, each below its parent.
create or replace function private.condition_parts(expression text, level integer default 0)
  returns table (depth integer, operator text, condition text)
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  c_token constant text :=
    $re$(E'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|[[:alnum:]_$]+|\s+|.)$re$;
  v_tokens constant text[] := array(
    select t.token[1]
    from regexp_matches(btrim(expression), c_token, 'g') with ordinality as t (token, place)
    order by t.place
  );
  v_first integer := 1;
  v_last integer := cardinality(v_tokens);
  v_close integer;
  v_depth integer;
  v_start integer;
  v_operator text;
  v_children text[];
begin
  -- Parentheses around the whole mean nothing, unless they are those of a sub-select.
  loop
    exit when v_tokens[v_first] is distinct from '(' or v_tokens[v_last] <> ')';
    v_depth := 0;
    for v_place in v_first..v_last loop
      v_depth := v_depth
        + case when v_tokens[v_place] in ('(', '[', 'CASE') then 1 when v_tokens[v_place] in (')', ']', 'END') then -1 else 0 end;
      v_close := v_place;
      exit when v_depth = 0;
    end loop;
    exit when v_close < v_last
      or btrim(array_to_string(v_tokens[v_first + 1:v_first + 2], '')) ~ '^(SELECT|WITH|VALUES)$';
    v_first := v_first + 1;
    v_last := v_last - 1;
  end loop;

  -- OR binds less than AND, so it splits first.
  foreach v_operator in array array['OR', 'AND'] loop
    v_children := '{}';
    v_depth := 0;
    v_start := v_first;
    for v_place in v_first..v_last loop
      v_depth := v_depth
        + case when v_tokens[v_place] in ('(', '[', 'CASE') then 1 when v_tokens[v_place] in (')', ']', 'END') then -1 else 0 end;
      if v_depth = 0 and v_tokens[v_place] = v_operator then
        v_children := v_children || array_to_string(v_tokens[v_start:v_place - 1], '');
        v_start := v_place + 1;
      end if;
    end loop;
    exit when cardinality(v_children) > 0;
  end loop;

  condition := btrim(array_to_string(v_tokens[v_first:v_last], ''));
  depth := level;
  if cardinality(v_children) > 0 then
    operator := lower(v_operator collate "C");
    v_children := v_children || array_to_string(v_tokens[v_start:v_last], '');
  elsif v_tokens[v_first] = 'NOT' then
    operator := 'not';
    v_children := array[array_to_string(v_tokens[v_first + 1:v_last], '')];
  end if;
  return next;
  return query
    select p.depth, p.operator, p.condition
    from unnest(v_children) with ordinality as c (expression, place)
    cross join lateral private.condition_parts(c.expression, level + 1) with ordinality as p (depth, operator, condition, place)
    order by c.place, p.place;
end
$$;

comment on function private.condition_parts(text, integer) is
  'Returns the parts of a condition that pg_get_expr wrote, split at AND, OR and NOT: each with its depth and its operator, which is null for a part without parts.';
--! EndIncluded access/private/condition_parts.sql
--! Included access/private/relation_grant.sql
-- PostgreSQL needs the privilege on the table or on every named column; a statement that names none needs it on any.
create or replace function private.relation_grant(role_id oid, relation_id oid, privilege text, columns text[])
  returns access.explained_grant
  language sql
  stable
  set search_path = pg_catalog
as $$
  with attributes as (
    select
      a.attname::text as name,
      a.attacl,
      privilege <> 'delete' and has_column_privilege(role_id, relation_id, a.attnum, privilege) as is_held
    from pg_attribute a
    where a.attrelid = relation_id
      and a.attnum > 0
      and not a.attisdropped
      and (cardinality(columns) = 0 or a.attname = any (columns))
  ),
  grants as (
    select e.grantee, e.privilege_type
    from pg_class c
    cross join lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) e
    where c.oid = relation_id
    union
    select e.grantee, e.privilege_type
    from attributes a
    cross join lateral aclexplode(a.attacl) e
  )
  select
    privilege,
    relation_id::regclass::text,
    columns,
    case when has_table_privilege(role_id, relation_id, privilege) then '{}'::text[]
      else (select coalesce(array_agg(a.name order by a.name) filter (where not a.is_held), '{}') from attributes a)
    end,
    has_table_privilege(role_id, relation_id, privilege)
      or (select case when cardinality(columns) = 0 then bool_or(a.is_held) else bool_and(a.is_held) end from attributes a) is true,
    (
      select string_agg(case when g.grantee = 0 then 'PUBLIC' else pg_get_userbyid(g.grantee)::text end, ', ' order by g.grantee)
      from grants g
      where g.privilege_type = upper(privilege collate "C")
        and case when g.grantee = 0 then true else pg_has_role(role_id, g.grantee, 'usage') end
    )
$$;

comment on function private.relation_grant(oid, oid, text, text[]) is
  'Returns whether a role holds a privilege on a table or on the named columns of it, through which role, and the columns that it lacks.';
--! EndIncluded access/private/relation_grant.sql
--! Included plinth/private/granted_commands.sql
-- Policies are needed for the commands that a list of privileges names, such as `select, insert (product_id, quantity)`.
create or replace function private.granted_commands(grants text)
  returns text[]
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  v_commands constant text[] := array(
    select lower(btrim(c.command, E' \n\t') collate "C")
    from regexp_split_to_table(regexp_replace(grants, '\([^)]*\)', '', 'g'), ',') c (command)
  );
begin
  if not v_commands <@ array['select', 'insert', 'update', 'delete'] then
    raise exception 'Privileges are select, insert, update and delete, each with optional columns, not: %', grants
      using errcode = 'PL422';
  end if;
  return v_commands;
end
$$;

comment on function private.granted_commands(text) is
  'Returns the commands that a list of privileges names. PL422 for others than select, insert, update and delete.';
--! EndIncluded plinth/private/granted_commands.sql
--! Included plinth/private/check_granted_columns.sql
-- Privileges on columns hold for the rows of every policy. If users may change the quantity of their own orders, and those with a
-- permission the state of all, then every user could change the state of an own order.
create or replace function private.check_granted_columns(target regclass, suffix text, grants text)
  returns void
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_command text;
  v_policy text;
  v_granted text[];
  v_wanted text[];
  v_columns constant text[] := array(
    select a.attname::text
    from pg_attribute a
    where a.attrelid = target and a.attnum > 0 and not a.attisdropped
  );
begin
  foreach v_command in array private.granted_commands(grants) loop
    continue when v_command not in ('insert', 'update');
    select p.policyname into v_policy
    from pg_policies p
    join pg_class c on c.relname = p.tablename and c.relnamespace = p.schemaname::regnamespace
    where c.oid = target
      and p.policyname <> v_command || '_' || suffix
      and p.permissive = 'PERMISSIVE'
      and p.cmd in ('ALL', upper(v_command collate "C"))
      and p.roles && array['public', ':PLINTH_USER']::name[];
    continue when not found;
    v_granted := array(
      select c.name
      from unnest(v_columns) c (name)
      where has_column_privilege(':PLINTH_USER', target, c.name, v_command)
    );
    v_wanted := coalesce(
      (
        select array_agg(btrim(c.name, E' \n\t"'))
        from regexp_split_to_table(substring(grants from '(?i)' || v_command || '\s*\(([^)]*)\)'), ',') c (name)
      ),
      v_columns
    );
    if v_granted <> '{}' and not (v_granted <@ v_wanted and v_granted @> v_wanted) then
      raise exception 'The policy % of % would let users % other columns than before, because privileges on columns hold for the rows of every policy.',
        v_policy, target, v_command
        using errcode = 'PL422',
          hint = 'Grant the same columns in both, or write the others in a function with the owner''s rights.';
    end if;
  end loop;
end
$$;

comment on function private.check_granted_columns(regclass, text, text) is
  'Checks that policies for the same command grant the same columns. PL422 otherwise.';
--! EndIncluded plinth/private/check_granted_columns.sql
--! Included identity/private/write_data_export.sql
-- Writes the next tables of a pending export, about a megabyte in each transaction, so that a killed worker repeats little and a
-- deletion of the account waits for one large table at most. Rows are collected into parts of about 64 kB, for tables of any
-- size. The row of the export is the lock between workers. An application's table with forced row security fails instead of
-- exporting less than there is.
create or replace function private.write_data_export()
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  set row_security = off
as $$
declare
  v_piece_bytes constant integer := 65536;
  v_step_bytes constant integer := 1048576;
  v_export identity.data_exports;
  v_source record;
  v_table text;
  v_rows refcursor;
  v_row text;
  v_count bigint := 0;
  v_content text := '';
  v_part integer;
  v_size bigint := 0;
  -- Also true when no table is left.
  v_is_finished boolean := true;
begin
  select e.* into v_export
  from identity.data_exports e
  where e.status = 'pending' and e.next_attempt_at <= now()
  order by e.next_attempt_at, e.id
  limit 1
  for update skip locked;
  if v_export.id is null then
    return null;
  end if;
  select coalesce(max(p.part_number) + 1, 0) into v_part
  from private.data_export_parts p
  where p.export_id = v_export.id and p.user_id = v_export.user_id;

  begin
    if v_part = 0 then
      v_content := format(
        '{"format":"plinth-data-export","version":1,"user_id":%s,"requested_at":%s,"tables":{',
        to_json(v_export.user_id), to_json(v_export.requested_at)
      );
    end if;
    for v_source in
      select s.*
      from private.data_export_sources() s
      where v_export.last_table is null or s.table_name > v_export.last_table collate "C"
      order by s.table_name
    loop
      v_count := 0;
      v_table := v_source.table_name;
      open v_rows no scroll for execute private.data_export_query(v_source.table_oid, v_source.condition) using v_export.user_id;
      loop
        fetch v_rows into v_row;
        exit when not found;
        v_content := v_content || case
          when v_count > 0 then E',\n'
          else case when cardinality(v_export.tables) > 0 then E',\n' else E'\n' end || to_json(v_source.table_name) || E':[\n'
        end || v_row;
        v_count := v_count + 1;
        if octet_length(v_content) >= v_piece_bytes then
          insert into private.data_export_parts (export_id, user_id, part_number, content)
          values (v_export.id, v_export.user_id, v_part, v_content);
          v_part := v_part + 1;
          v_size := v_size + octet_length(v_content);
          v_content := '';
        end if;
      end loop;
      close v_rows;
      if v_count > 0 then
        v_content := v_content || ']';
        v_export.tables := v_export.tables || v_source.table_name;
      end if;
      v_export.last_table := v_source.table_name;
      v_is_finished := false;
      exit when v_size > v_step_bytes;
      v_is_finished := true;
    end loop;
    if v_is_finished then
      -- The server closes the object, because it adds data that only it can read.
      v_content := v_content || '}';
    end if;

    if v_content <> '' then
      insert into private.data_export_parts (export_id, user_id, part_number, content)
      values (v_export.id, v_export.user_id, v_part, v_content);
      v_size := v_size + octet_length(v_content);
    end if;
    update identity.data_exports e
    set
      size_bytes = e.size_bytes + v_size,
      tables = v_export.tables,
      last_table = v_export.last_table,
      status = case when v_is_finished then 'ready' else e.status end,
      completed_at = case when v_is_finished then now() end,
      expires_at = case when v_is_finished then now() + (select s.export_lifetime from identity.data_rights_settings s) end
    where e.id = v_export.id;
  exception
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      update identity.data_exports e
      set
        attempts = e.attempts + 1,
        next_attempt_at = now() + least(interval '1 hour', interval '1 minute' * power(2, least(e.attempts, 10))),
        status = case when e.attempts >= 9 then 'failed' else e.status end
      where e.id = v_export.id;
      return 'failed_' || lower(sqlstate collate "C") || coalesce(' in ' || v_table, '');
  end;

  if not v_is_finished then
    return 'continued';
  end if;
  perform private.notify_user(
    v_export.user_id, 'data-export-ready',
    jsonb_build_object('expires_at', (select e.expires_at from identity.data_exports e where e.id = v_export.id))
  );
  return 'finished';
end
$$;

comment on function private.write_data_export() is
  'Writes the next tables of a pending export; returns continued, finished, failed_<sqlstate> in <table>, or null when none is pending.';
grant execute on function private.write_data_export() to :PLINTH_WORKER;
--! EndIncluded identity/private/write_data_export.sql
--! Included llm/private/import_prompts.sql
-- Imports library prompts, each completely or not at all: {name, content, type, forDevelopers, contributors}. Repeating it
-- changes nothing. A rejected row is reported and leaves no trace; the caller decides whether the others stay (rollback).
create or replace function private.import_prompts(prompts jsonb)
  returns table (ordinal integer, outcome text, message text)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_prompt jsonb;
  v_inserted boolean;
begin
  for v_prompt, ordinal in
    select p.value, p.ordinality::integer from jsonb_array_elements(import_prompts.prompts) with ordinality p
  loop
    message := null;
    begin
      insert into llm.prompts as p (user_id, name, content, prompt_type, is_for_developers, contributors)
      values (
        null,
        btrim(v_prompt ->> 'name', E' \t\r\n'),
        v_prompt ->> 'content',
        lower(coalesce(v_prompt ->> 'type', 'text') collate "C"),
        coalesce((v_prompt ->> 'forDevelopers')::boolean, false),
        array(select jsonb_array_elements_text(coalesce(v_prompt -> 'contributors', '[]')))
      )
      on conflict on constraint prompts_user_id_name_key do update
      set
        content = excluded.content,
        prompt_type = excluded.prompt_type,
        is_for_developers = excluded.is_for_developers,
        contributors = excluded.contributors
      where (p.content, p.prompt_type, p.is_for_developers, p.contributors)
        is distinct from (excluded.content, excluded.prompt_type, excluded.is_for_developers, excluded.contributors)
      -- xmax is 0 in a row that this statement inserted, and not in one that it updated.
      returning p.xmax = 0 into v_inserted;
      outcome := case when not found then 'unchanged' when v_inserted then 'inserted' else 'updated' end;
    exception
      when data_exception or integrity_constraint_violation then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_prompts(jsonb) is
  'Imports an array of library prompts; returns one result for each row: inserted, updated, unchanged or rejected with the reason.';
--! EndIncluded llm/private/import_prompts.sql
--! Included rooms/private/mentioned_names.sql
create or replace function private.mentioned_names(content text)
  returns table (names text[])
  language plpgsql
  immutable
  rows 5
  set search_path = pg_catalog
as $$
declare
  -- Scripts written without spaces: Thai to Myanmar, Khmer, Chinese, Japanese, Korean.
  v_unspaced constant text := '\u0e00-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7fb\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff';
  v_text text := private.text_without_code(content);
  v_part record;
  v_before text;
  v_name text;
begin
  v_text := regexp_replace(v_text, '[a-z][a-z0-9+.-]*://[^[:space:]<>]*', ' ', 'gi');
  -- Web addresses without https://.
  v_text := regexp_replace(v_text, '(^|[^[:alnum:]@.-])[[:alnum:]-]+(\.[[:alnum:]-]+)+/[^[:space:]<>]*', '\1 ', 'g');
  for v_part in
    select p.text, lag(p.text) over places as before, lead(p.text) over places as after, p.place
    from string_to_table(v_text, '@') with ordinality as p (text, place)
    window places as (order by p.place)
    offset 1
  loop
    -- The text between the last character that email addresses lack and this @.
    v_before := substring(right(v_part.before, 64) from '[[:alnum:]._%+-]*$');
    v_before := regexp_replace(v_before, '^.*[' || v_unspaced || ']', '');
    v_name := lower(substring(v_part.text from '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}') collate "C");
    continue when v_name is null
      or v_before ~ '[[:alnum:]]'
      -- @@john, and @john@example.com, whose parts are not names.
      or (v_part.place > 2 and v_part.before = '')
      or (length(v_name) = length(v_part.text) and v_part.after ~ '^[[:alnum:]]')
      -- Another letter continues the name.
      or substr(v_part.text, length(v_name) + 1, 1) ~ ('^(?![' || v_unspaced || '])[[:alnum:]]$');
    names := array(
      select distinct n.name
      from regexp_split_to_array(v_name, '\.') as p (parts)
      cross join lateral generate_series(1, cardinality(p.parts)) as s (count)
      cross join lateral (select rtrim(array_to_string(p.parts[1:s.count], '.'), '._-') as name) n
      where n.name <> ''
    );
    return next;
  end loop;
end
$$;

comment on function private.mentioned_names(text) is
  'Returns user names that a text may mention: a row for each place, with the name there and its prefix at each full stop.';
--! EndIncluded rooms/private/mentioned_names.sql
--! Included billing/functions/record_plan_change.sql
-- Plans and prices concern money: every change is an event, from any writer and by any path.
create or replace function billing.record_plan_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_row jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
begin
  perform private.record_security_event(
    case tg_table_name when 'plan_prices' then 'plan_price_changed' else 'plan_changed' end,
    null,
    jsonb_build_object('operation', lower(tg_op collate "C"))
      || (v_row - array['features', 'plan_name', 'created_at', 'updated_at', 'superseded_at'])
  );
  return null;
end
$$;

comment on function billing.record_plan_change() is 'Trigger: records a change of plans or their prices in the audit log.';
--! EndIncluded billing/functions/record_plan_change.sql
--! Included billing/private/settle_payment_event.sql
-- A single attempt. An event that fails or waits is retried: after one minute, two, four, up to a day, for a month.
create or replace function private.settle_payment_event(event private.payment_events)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_outcome text;
begin
  begin
    v_outcome := private.apply_payment_event(event);
  exception
    -- A conflict between two transactions is not the event's fault; the whole attempt is retried.
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      v_outcome := 'failed_' || lower(sqlstate collate "C");
  end;
  update private.payment_events e
  set
    outcome = v_outcome,
    processed_at = case
      when v_outcome in ('applied', 'ignored', 'kept_current') or e.received_at < now() - interval '30 days' then now()
    end,
    attempts = e.attempts + 1,
    next_attempt_at = now() + least(interval '1 minute' * power(2, least(e.attempts, 12)), interval '1 day')
  where e.id = event.id;
  return v_outcome;
end
$$;

comment on function private.settle_payment_event(private.payment_events) is
  'Tries to apply an event and stores the outcome: done, or the time of the next attempt.';
--! EndIncluded billing/private/settle_payment_event.sql
--! Included billing/private/apply_payment_event.sql
-- Applies one event of the inbox. Each fact is stored with the rank of the latest event about it, so an older event that arrives
-- later reverts nothing. Returns applied, ignored, kept_current or what it waits for.
create or replace function private.apply_payment_event(event private.payment_events)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_news jsonb := event.payload;
  v_kind text := v_news ->> 'kind';
  v_user_id uuid;
  v_payment billing.payments;
  -- Seconds of the provider's clock, then the later stage in a subscription's life, then any fixed order.
  v_order text := concat_ws(
    '.',
    lpad(floor(extract(epoch from event.occurred_at))::bigint::text, 12, '0'),
    coalesce(v_news ->> 'rank', '5'),
    event.provider_event_id
  );
begin
  if v_kind is null then
    return 'ignored';
  end if;
  -- Ours, because only our own checkout writes it into the provider's objects.
  v_user_id := (select u.id from identity.users u where u.id = (v_news ->> 'user_id')::uuid);
  if v_user_id is not null and event.provider_customer_id is not null then
    insert into billing.provider_customers (provider, provider_customer_id, user_id)
    values (event.provider, event.provider_customer_id, v_user_id)
    on conflict on constraint provider_customers_pkey do nothing;
  end if;
  v_user_id := coalesce(
    (
      select c.user_id
      from billing.provider_customers c
      where c.provider = event.provider and c.provider_customer_id = event.provider_customer_id
    ),
    v_user_id
  );
  -- Account first: the global lock order.
  perform from identity.users u where u.id = v_user_id for no key update;

  if v_kind in ('invoice', 'purchase') then
    insert into billing.payments as p (
      user_id, plan_id, provider, provider_payment_id, provider_reference, provider_subscription_id, amount_cents, currency,
      period_start, period_end, paid_at, failed_at, failure_code
    )
    select
      v_user_id, f.plan_id, event.provider, v_news ->> 'payment', v_news ->> 'reference', v_news ->> 'subscription',
      (v_news ->> 'amount')::bigint, upper((v_news ->> 'currency') collate "C"), f.period_start, f.period_end,
      case when (v_news ->> 'paid')::boolean then event.occurred_at end,
      case when not (v_news ->> 'paid')::boolean then event.occurred_at end,
      v_news ->> 'failure_code'
    from private.payment_period(event.provider, v_news) f
    -- Nothing was charged (a trial, a full discount), so there is no payment.
    where (v_news ->> 'amount')::bigint > 0
    on conflict on constraint payments_provider_payment_key do update
    set
      user_id = coalesce(p.user_id, excluded.user_id),
      plan_id = coalesce(p.plan_id, excluded.plan_id),
      period_start = coalesce(p.period_start, excluded.period_start),
      period_end = coalesce(p.period_end, excluded.period_end),
      provider_reference = coalesce(p.provider_reference, excluded.provider_reference),
      amount_cents = case when p.paid_at is null then excluded.amount_cents else p.amount_cents end,
      paid_at = least(p.paid_at, excluded.paid_at),
      failed_at = greatest(p.failed_at, excluded.failed_at),
      failure_code = case
        when excluded.failed_at >= coalesce(p.failed_at, '-infinity') then coalesce(excluded.failure_code, p.failure_code)
        else p.failure_code
      end;
  elsif v_kind = 'transaction' then
    update billing.payments p
    set provider_reference = coalesce(p.provider_reference, v_news ->> 'reference')
    where p.provider = event.provider and p.provider_payment_id = v_news ->> 'payment';
    return case when found then 'applied' else 'waiting_for_payment' end;
  elsif v_kind in ('refund', 'refund_failed', 'dispute') then
    select p.* into v_payment
    from billing.payments p
    where p.provider = event.provider
      and (p.provider_payment_id in (v_news ->> 'payment', v_news ->> 'reference') or p.provider_reference = v_news ->> 'reference')
    order by p.provider_payment_id = v_news ->> 'payment' desc nulls last, p.id
    limit 1;
    if v_payment.id is null then
      return 'waiting_for_payment';
    end if;
    v_payment := private.merge_payment_reversal(v_payment.id, v_order, event.occurred_at, v_news);
    if exists (
      select
      from private.provider_subscriptions m
      where m.provider = event.provider and m.provider_subscription_id = v_payment.provider_subscription_id
    ) then
      return private.apply_provider_subscription(event.provider, v_payment.provider_subscription_id, event.occurred_at);
    end if;
    return 'applied';
  end if;

  if v_news ->> 'subscription' is null then
    return 'applied';
  end if;
  perform private.merge_provider_subscription(
    event.provider, v_news ->> 'subscription', v_order,
    v_news || jsonb_build_object('customer', event.provider_customer_id)
  );
  if v_kind in ('invoice', 'purchase') or (v_news ->> 'for_life')::boolean then
    perform private.merge_provider_invoice(event.provider, v_order, v_news);
  end if;
  if v_user_id is not null then
    update private.provider_subscriptions m
    set user_id = v_user_id
    where m.provider = event.provider
      and m.provider_subscription_id = v_news ->> 'subscription'
      and m.user_id is null;
  end if;
  return private.apply_provider_subscription(event.provider, v_news ->> 'subscription', event.occurred_at);
end
$$;

comment on function private.apply_payment_event(private.payment_events) is
  'Applies an event of a payment provider; returns applied, ignored, kept_current or waiting_for_….';
--! EndIncluded billing/private/apply_payment_event.sql
