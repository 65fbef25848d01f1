--! Previous: sha1:642ff1d3ebd344be842ed195629f6af39ed1baa0
--! Hash: sha1:7625b436fc10c7dbc0c54f290cfe308b5b2b5d63
--! Message: explain access

-- Explains why access is allowed or denied: the grants, the policies and the outcome of each part.

create type access.explained_grant as (
  privilege text,
  object text,
  columns text[],
  missing_columns text[],
  is_held boolean,
  granted_to text
);

comment on type access.explained_grant is 'A privilege that an operation needs.';
comment on column access.explained_grant.privilege is 'Privilege, such as select, or usage of a schema.';
comment on column access.explained_grant.object is 'Schema, table, view or function, with its schema.';
comment on column access.explained_grant.columns is 'Columns that need the privilege; empty if any column suffices or the object has none.';
comment on column access.explained_grant.missing_columns is 'Columns for which the role lacks the privilege.';
comment on column access.explained_grant.is_held is 'Whether the role holds the privilege.';
comment on column access.explained_grant.granted_to is 'Roles through which it is held, or PUBLIC; null if it is not held.';

create type access.explained_condition as (
  depth integer,
  operator text,
  condition text,
  outcome boolean,
  is_open boolean,
  error text
);

comment on type access.explained_condition is 'A part of the condition of a policy, with its outcome.';
comment on column access.explained_condition.depth is 'Depth of the part: 0 for the whole condition; its parts follow it, one deeper.';
comment on column access.explained_condition.operator is 'Operator that connects its parts: and, or, not; null if it has none.';
comment on column access.explained_condition.condition is 'Text of the part, as PostgreSQL writes it, without casts and sub-selects that only wrap a call.';
comment on column access.explained_condition.outcome is 'Outcome for the row and the user; null if it is null, open or an error.';
comment on column access.explained_condition.is_open is 'Whether the outcome depends on a row that was not named.';
comment on column access.explained_condition.error is 'Error that the part raises, or null.';

create type access.explained_policy as (
  relation text,
  purpose text,
  policy text,
  command text,
  is_permissive boolean,
  description text,
  condition text,
  outcome boolean,
  error text,
  parts access.explained_condition[]
);

comment on type access.explained_policy is 'A row policy that applies to an operation, with its outcome.';
comment on column access.explained_policy.relation is 'Table of the policy, with its schema.';
comment on column access.explained_policy.purpose is 'Row that is checked and policies that it must pass, such as: existing row, policies for update.';
comment on column access.explained_policy.policy is 'Name of the policy.';
comment on column access.explained_policy.command is 'Command of the policy: select, insert, update, delete or all.';
comment on column access.explained_policy.is_permissive is 'Whether it allows rows (any suffices); otherwise it restricts them (each must pass).';
comment on column access.explained_policy.description is 'Comment of the policy.';
comment on column access.explained_policy.condition is 'Condition of the policy, as PostgreSQL writes it.';
comment on column access.explained_policy.outcome is 'Outcome for the row and the user; null as in its parts.';
comment on column access.explained_policy.error is 'Error that the condition raises, or null.';
comment on column access.explained_policy.parts is 'Parts of the condition, split at AND, OR and NOT.';

create type access.access_explanation as (
  verdict text,
  reason text,
  database_role text,
  operation text,
  object text,
  grants access.explained_grant[],
  policies access.explained_policy[],
  changes text[],
  notes text[]
);

comment on type access.access_explanation is 'Explanation of whether an operation is allowed.';
comment on column access.access_explanation.verdict is 'Verdict: allowed, denied, no_row (no such row), depends_on_row (no row was named), or unknown (a policy or a default writes, which an explanation may not).';
comment on column access.access_explanation.reason is 'Grant or policies that decide, and how the statement ends.';
comment on column access.access_explanation.database_role is 'Database role that runs the statement.';
comment on column access.access_explanation.operation is 'Operation: select, insert, update, delete or execute.';
comment on column access.access_explanation.object is 'Table, view or function, with its schema.';
comment on column access.access_explanation.grants is 'Privileges that the operation needs.';
comment on column access.access_explanation.policies is 'Row policies that apply.';
comment on column access.access_explanation.changes is 'Changes that would allow it, as sentences; empty if it is allowed.';
comment on column access.access_explanation.notes is 'Facts about the account or the table that may matter.';

insert into access.permissions (permission_name, description) values
  ('explain_access', 'Ask why a user may or may not read or change a row.');

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
    operator := lower(v_operator);
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
--! Included access/private/explained_role.sql
-- The database role that a statement runs as. Names are those of src/config/roles.ts, without the prefix: it is a setting of the
-- installation, and the API's user role, which holds the grant on access.explain_access, shows it.
create or replace function private.explained_role(user_id uuid, database_role text)
  returns name
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_name constant text := coalesce(explained_role.database_role, case when user_id is null then 'anonymous' else 'user' end);
  v_role name;
begin
  if v_name = 'owner' then
    return (select pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname = 'access');
  end if;
  select r.rolname into v_role
  from pg_proc p
  cross join lateral aclexplode(p.proacl) a
  join pg_roles g on g.oid = a.grantee and g.oid <> p.proowner and g.rolname ~ '_user$'
  join pg_roles r on r.rolname = regexp_replace(g.rolname, '_user$', '_' || v_name)
  where p.proname = 'explain_access'
    and p.pronamespace = (select n.oid from pg_namespace n where n.nspname = 'access');
  if v_role is null or v_name not in ('user', 'anonymous', 'analyst', 'service', 'worker') then
    raise exception 'Unknown role: %.', v_name
      using errcode = 'PL422', column = 'database_role', hint = 'The roles are user, anonymous, analyst, service, worker and owner.';
  end if;
  if user_id is not null and v_name <> 'user' then
    raise exception 'A user acts with the role user.' using errcode = 'PL422', column = 'database_role';
  end if;
  return v_role;
end
$$;

comment on function private.explained_role(uuid, text) is
  'Returns the database role of a user, a visitor or a named role. PL422 for an unknown role or for a user with another role.';
--! EndIncluded access/private/explained_role.sql
--! Included access/private/schema_grant.sql
create or replace function private.schema_grant(role_id oid, schema_id oid)
  returns access.explained_grant
  language sql
  stable
  set search_path = pg_catalog
as $$
  select
    'usage',
    'schema ' || n.nspname,
    '{}'::text[],
    '{}'::text[],
    has_schema_privilege(role_id, n.oid, 'usage'),
    (
      select string_agg(case when e.grantee = 0 then 'PUBLIC' else pg_get_userbyid(e.grantee)::text end, ', ' order by e.grantee)
      from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) e
      where e.privilege_type = 'USAGE'
        and case when e.grantee = 0 then true else pg_has_role(role_id, e.grantee, 'usage') end
    )
  from pg_namespace n
  where n.oid = schema_id
$$;

comment on function private.schema_grant(oid, oid) is
  'Returns whether a role may use a schema, and through which role.';
--! EndIncluded access/private/schema_grant.sql
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
      where g.privilege_type = upper(privilege)
        and case when g.grantee = 0 then true else pg_has_role(role_id, g.grantee, 'usage') end
    )
$$;

comment on function private.relation_grant(oid, oid, text, text[]) is
  'Returns whether a role holds a privilege on a table or on the named columns of it, through which role, and the columns that it lacks.';
--! EndIncluded access/private/relation_grant.sql
--! Included access/private/applies_row_security.sql
create or replace function private.applies_row_security(role_id oid, relation_id oid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select c.relrowsecurity
    and not r.rolsuper
    and not r.rolbypassrls
    and (c.relforcerowsecurity or not pg_has_role(r.oid, c.relowner, 'usage'))
  from pg_class c, pg_roles r
  where c.oid = relation_id and r.oid = role_id
$$;

comment on function private.applies_row_security(oid, oid) is
  'Returns whether the row policies of a table apply to a role: owners (unless forced), superusers and roles that bypass them are exempt.';
--! EndIncluded access/private/applies_row_security.sql
--! Included access/private/access_step.sql
-- PostgreSQL combines policies so (rowsecurity.c): those for the command and for ALL that name the role or PUBLIC; any permissive one
-- must pass, and every restrictive one; without a permissive one, no row passes. A check is that of the policy, else its USING.
create or replace function private.access_step(role_id oid, relation_id oid, command text, is_check boolean, purpose text)
  returns jsonb
  language sql
  stable
  set search_path = pg_catalog
as $$
  with policies as (
    select
      p.polname,
      p.polpermissive,
      case p.polcmd when '*' then 'all' when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' else 'delete' end as policy_command,
      obj_description(p.oid, 'pg_policy') as description,
      coalesce(
        case when is_check then pg_get_expr(p.polwithcheck, p.polrelid) end,
        pg_get_expr(p.polqual, p.polrelid)
      ) as condition
    from pg_policy p
    where p.polrelid = relation_id
      and p.polcmd in ('*', case command when 'select' then 'r' when 'insert' then 'a' when 'update' then 'w' else 'd' end)
      and exists (
        select from unnest(p.polroles) r (id) where case when r.id = 0 then true else pg_has_role(role_id, r.id, 'usage') end
      )
  )
  select jsonb_build_object(
    'purpose', purpose,
    'command', command,
    'relation', relation_id::regclass::text,
    'condition',
      '(' || coalesce(string_agg('(' || p.condition || ')', ' or ' order by p.polname) filter (where p.polpermissive), 'false') || ')'
        || coalesce(' and ' || string_agg('(' || p.condition || ')', ' and ' order by p.polname) filter (where not p.polpermissive), ''),
    'policies', coalesce(
      jsonb_agg(
        jsonb_build_object(
          'policy', p.polname,
          'command', p.policy_command,
          'is_permissive', p.polpermissive,
          'description', p.description,
          'condition', p.condition,
          'parts', (
            select jsonb_agg(jsonb_build_object('depth', c.depth, 'operator', c.operator, 'condition', c.condition) order by c.place)
            from private.condition_parts(p.condition) with ordinality as c (depth, operator, condition, place)
          )
        )
        order by not p.polpermissive, p.polname
      ) filter (where p.condition is not null),
      '[]'
    )
  )
  from policies p
$$;

comment on function private.access_step(oid, oid, text, boolean, text) is
  'Returns the policies that a row must pass for a command, with the parts of their conditions, and the condition that PostgreSQL makes of them.';
--! EndIncluded access/private/access_step.sql
--! Included access/private/policy_columns.sql
-- A row is read no further than the policies do, and a generated column of a new row is computed from its sources. PostgreSQL records
-- no dependency for a whole row (t.*): then every column counts.
create or replace function private.policy_columns(relation_id oid)
  returns name[]
  language sql
  stable
  set search_path = pg_catalog
as $$
  with used as (
    select d.refobjsubid as attnum
    from pg_policy p
    join pg_depend d
      on d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass
      and d.refobjid = p.polrelid and d.refobjsubid > 0
    where p.polrelid = relation_id
  ),
  sources as (
    select d.refobjsubid as attnum
    from used u
    join pg_attrdef e on e.adrelid = relation_id and e.adnum = u.attnum
    join pg_attribute a on a.attrelid = e.adrelid and a.attnum = e.adnum and a.attgenerated <> ''
    join pg_depend d
      on d.classid = 'pg_attrdef'::regclass and d.objid = e.oid and d.refclassid = 'pg_class'::regclass
      and d.refobjid = relation_id and d.refobjsubid > 0
  ),
  whole as (
    select exists (
      select
      from pg_policy p
      join pg_class c on c.oid = p.polrelid
      where p.polrelid = relation_id
        and strpos(concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)), quote_ident(c.relname) || '.*') > 0
    ) as is_needed
  )
  select coalesce(array_agg(a.attname order by a.attnum), '{}')
  from pg_attribute a
  where a.attrelid = relation_id
    and a.attnum > 0
    and not a.attisdropped
    and (a.attnum in (select u.attnum from used u union select s.attnum from sources s) or (select w.is_needed from whole w))
$$;

comment on function private.policy_columns(oid) is 'Returns the columns of a table that its policies read.';
--! EndIncluded access/private/policy_columns.sql
--! Included access/private/key_condition.sql
-- SQL text of catalogue names and types only: the values stay in the parameter $1.
create or replace function private.key_condition(relation_id oid, key jsonb)
  returns text
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_unknown text;
begin
  select k.name into v_unknown
  from jsonb_object_keys(key_condition.key) k (name)
  where not exists (
    select from pg_attribute a where a.attrelid = relation_id and a.attname = k.name and a.attnum > 0 and not a.attisdropped
  );
  if v_unknown is not null or key_condition.key = '{}' then
    raise exception '% has no column %.', relation_id::regclass, quote_ident(coalesce(v_unknown, ''))
      using errcode = 'PL422', column = 'key';
  end if;
  return (
    select string_agg(
      format('t.%I = ($1 ->> %L)::%s', a.attname, a.attname, format_type(a.atttypid, a.atttypmod)), ' and ' order by a.attnum
    )
    from jsonb_object_keys(key_condition.key) k (name)
    join pg_attribute a on a.attrelid = relation_id and a.attname = k.name
  );
end
$$;

comment on function private.key_condition(oid, jsonb) is
  'Returns the condition that finds the row t of a table by the values of its key, which are the parameter $1. PL422 for an unknown column.';
--! EndIncluded access/private/key_condition.sql
--! Included access/private/explained_row.sql
-- row_security = off makes PostgreSQL raise an error where a policy would hide the row from the owner, instead of hiding it.
create or replace function private.explained_row(relation_id oid, key jsonb, columns name[])
  returns jsonb
  language plpgsql
  stable
  set search_path = pg_catalog
  set row_security = off
as $$
declare
  v_rows jsonb[];
begin
  execute format(
    'select array_agg(f.r) from (select jsonb_object(array[%s]::text[], array[%s]::text[]) as r from %s t where %s limit 2) f',
    (select string_agg(quote_literal(c.name), ', ' order by c.place) from unnest(columns) with ordinality as c (name, place)),
    (select string_agg(format('t.%I::text', c.name), ', ' order by c.place) from unnest(columns) with ordinality as c (name, place)),
    relation_id::regclass,
    private.key_condition(relation_id, explained_row.key)
  )
  into v_rows
  using explained_row.key;
  if cardinality(v_rows) > 1 then
    raise exception 'The key matches several rows of %.', relation_id::regclass using errcode = 'PL422', column = 'key';
  end if;
  return v_rows[1];
exception
  when insufficient_privilege then
    raise exception 'Row security is forced on %, so only a superuser can explain its rows.', relation_id::regclass using errcode = 'PL403';
  when data_exception then
    raise exception 'The key has a value of the wrong type.' using errcode = 'PL422', column = 'key';
end
$$;

comment on function private.explained_row(oid, jsonb, name[]) is
  'Returns the named columns of the row with this key as texts; null if it does not exist. PL422 if the key is invalid or matches several rows.';
--! EndIncluded access/private/explained_row.sql
--! Included access/private/new_row.sql
-- The row after an insert or an update, as far as it is known before the statement runs: BEFORE triggers may change it.
create or replace function private.new_row(relation_id oid, new_values jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_column text;
  v_result jsonb := '{}';
  v_text text;
begin
  if jsonb_typeof(new_values) <> 'object' then
    raise exception 'The values must be a JSON object.' using errcode = 'PL422', column = 'new_values';
  end if;
  for v_column in select jsonb_object_keys(new_row.new_values) loop
    if not exists (
      select
      from pg_attribute a
      where a.attrelid = relation_id and a.attname = v_column and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    ) then
      raise exception '% has no column % that can be written.', relation_id::regclass, quote_ident(v_column)
        using errcode = 'PL422', column = 'new_values';
    end if;
    execute format('select ((jsonb_populate_record(null::%s, $1)).%I)::text', relation_id::regclass, v_column)
    into v_text
    using jsonb_build_object(v_column, new_values -> v_column);
    v_result := v_result || jsonb_build_object(v_column, v_text);
  end loop;
  return v_result;
exception
  when data_exception or check_violation then
    raise exception 'A value does not fit its column.' using errcode = 'PL422', column = 'new_values';
end
$$;

comment on function private.new_row(oid, jsonb) is
  'Returns the values of a new row as texts. PL422 for an unknown or generated column or an invalid value.';
--! EndIncluded access/private/new_row.sql
--! Included access/private/row_source.sql
-- The row has the type and the name of its table, so that the text of a policy means what it means there. Its values are the texts
-- in the parameter $1; columns that no policy reads are null.
create or replace function private.row_source(relation_id oid, columns name[])
  returns text
  language sql
  stable
  set search_path = pg_catalog
as $$
  select format(
    ' from unnest(array[row(%s)::%s]) as %I',
    string_agg(
      case
        when a.attname = any (columns) then format('($1 ->> %L)::%s', a.attname, format_type(a.atttypid, a.atttypmod))
        else format('null::%s', format_type(a.atttypid, a.atttypmod))
      end,
      ', ' order by a.attnum
    ),
    relation_id::regclass,
    (select c.relname from pg_class c where c.oid = relation_id)
  )
  from pg_attribute a
  where a.attrelid = relation_id and a.attnum > 0 and not a.attisdropped
$$;

comment on function private.row_source(oid, name[]) is
  'Returns a FROM clause of one row of a table, made of the texts in the parameter $1.';
--! EndIncluded access/private/row_source.sql
--! Included access/private/table_access_case.sql
-- A statement that finds its row by a key reads the key's columns: it needs SELECT on them, and its row must pass the policies for
-- SELECT too, before and (for an update, and for an insert with RETURNING) after it (rowsecurity.c, get_row_security_policies).
create or replace function private.table_access_case(
  role_id oid,
  relation_id oid,
  operation text,
  key jsonb,
  new_values jsonb,
  returns_row boolean
)
  returns jsonb
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  c_finds_row constant boolean := operation <> 'insert';
  v_primary_key constant text[] := array(
    select a.attname::text
    from pg_index i
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
    where i.indrelid = relation_id and i.indisprimary
    order by a.attnum
  );
  v_key jsonb := case when c_finds_row then table_access_case.key end;
  v_columns constant name[] := private.policy_columns(relation_id);
  v_grants access.explained_grant[];
  v_steps jsonb := '[]';
  v_old jsonb;
  v_given jsonb;
  v_policies_apply constant boolean := private.applies_row_security(role_id, relation_id);
  v_notes text[] := '{}';
begin
  if v_key is not null and jsonb_typeof(v_key) <> 'object' then
    if cardinality(v_primary_key) <> 1 then
      raise exception 'The key of % needs the columns %.', relation_id::regclass, coalesce(nullif(array_to_string(v_primary_key, ', '), ''), 'by name')
        using errcode = 'PL422', column = 'key';
    end if;
    v_key := jsonb_build_object(v_primary_key[1], v_key);
  end if;
  if new_values is not null and operation in ('insert', 'update') then
    v_given := private.new_row(relation_id, new_values);
  end if;
  if v_key is not null then
    v_old := private.explained_row(relation_id, v_key, v_columns);
  end if;

  v_grants := array[
    private.schema_grant(role_id, (select c.relnamespace from pg_class c where c.oid = relation_id)),
    private.relation_grant(
      role_id, relation_id, operation,
      case when operation = 'delete' or operation = 'select' and v_key is null then '{}'
        when operation = 'select' then array(select jsonb_object_keys(v_key))
        else array(select jsonb_object_keys(coalesce(v_given, '{}')))
      end
    )
  ];
  if operation in ('update', 'delete') or operation = 'insert' and returns_row then
    v_grants := v_grants || private.relation_grant(
      role_id, relation_id, 'select',
      case when v_key is null then v_primary_key else array(select jsonb_object_keys(v_key)) end
    );
  end if;

  if v_policies_apply then
    if c_finds_row then
      v_steps := v_steps || (
        private.access_step(role_id, relation_id, 'select', false, 'existing row')
        || jsonb_build_object('row', 'old')
      );
      if operation <> 'select' then
        v_steps := v_steps || (
          private.access_step(role_id, relation_id, operation, false, 'existing row')
          || jsonb_build_object('row', 'old')
        );
      end if;
    end if;
    if operation in ('insert', 'update') then
      v_steps := v_steps || (
        private.access_step(role_id, relation_id, operation, true, 'new row') || jsonb_build_object('row', 'new')
      );
    end if;
    if operation = 'update' or operation = 'insert' and returns_row then
      v_steps := v_steps || (
        private.access_step(role_id, relation_id, 'select', false, 'new row') || jsonb_build_object('row', 'new')
      );
    end if;
  end if;
  v_notes := array_remove(
    array[
      (
        select 'Triggers that run before the change may alter or reject it, and are not evaluated: '
          || string_agg(t.tgname, ', ' order by t.tgname) || '.'
        from pg_trigger t
        where t.tgrelid = relation_id
          and not t.tgisinternal
          -- BEFORE, for each row, and the operation; see pg_trigger.h.
          and t.tgtype & 3 = 3
          and t.tgtype & case operation when 'insert' then 4 when 'delete' then 8 when 'update' then 16 else 0 end <> 0
      )
    ],
    null
  );

  return jsonb_build_object(
    'object', relation_id::regclass::text,
    'grants', to_jsonb(v_grants),
    'applies_policies', v_policies_apply,
    'has_key', v_key is not null,
    'row_exists', v_old is not null,
    'old', v_old,
    'new', case
      when operation = 'insert' then v_given
      when operation = 'update' then v_old || coalesce(v_given, '{}')
    end,
    'source', private.row_source(
      relation_id, v_columns || array(select jsonb_object_keys(coalesce(v_given, '{}'))::name)
    ),
    -- Expressions of the catalogue that the new row is completed with.
    'defaults', (
      select coalesce(jsonb_agg(jsonb_build_object('column', a.attname, 'condition', pg_get_expr(d.adbin, d.adrelid)) order by a.attnum), '[]')
      from pg_attrdef d
      join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum and a.attgenerated = '' and a.attname = any (v_columns)
      where d.adrelid = relation_id and operation = 'insert' and not coalesce(v_given, '{}') ? a.attname
    ),
    'generated', (
      select coalesce(jsonb_agg(jsonb_build_object('column', a.attname, 'condition', pg_get_expr(d.adbin, d.adrelid)) order by a.attnum), '[]')
      from pg_attrdef d
      join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum and a.attgenerated <> '' and a.attname = any (v_columns)
      where d.adrelid = relation_id and operation in ('insert', 'update')
    ),
    'steps', v_steps,
    'notes', to_jsonb(v_notes)
  );
end
$$;

comment on function private.table_access_case(oid, oid, text, jsonb, jsonb, boolean) is
  'Returns what decides on an operation on a row of a table: grants, policies, and the columns of the row that the policies read.';
--! EndIncluded access/private/table_access_case.sql
--! Included access/private/view_access_case.sql
-- A view reads its tables with the rights of its owner, or of the caller if it is a security_invoker, also within another view.
-- Whether it shows a row is one query, run as the caller: then its own conditions count too. The policies of its tables are listed
-- with the parts that do not depend on a row.
create or replace function private.view_access_case(role_id oid, relation_id oid, operation text, key jsonb, user_id uuid)
  returns jsonb
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  c_caller constant text := coalesce(current_setting('jwt.claims.user_id', true), '');
  v_owner_sees boolean := true;
  v_condition text;
  v_bases jsonb;
  v_grants jsonb;
begin
  if view_access_case.key is not null and jsonb_typeof(view_access_case.key) <> 'object' then
    raise exception 'The key of a view needs the names of its columns.' using errcode = 'PL422', column = 'key';
  end if;
  with recursive bases as (
    select relation_id as view_id, role_id as reader, relation_id as base_id, '{}'::text[] as columns, 'v'::"char" as kind
    union
    select
      b.base_id,
      reader.id,
      c.oid,
      array(
        select a.attname::text collate "default"
        from pg_depend e
        join pg_rewrite w on w.oid = e.objid
        join pg_attribute a on a.attrelid = e.refobjid and a.attnum = e.refobjsubid
        where e.classid = 'pg_rewrite'::regclass and w.ev_class = b.base_id and e.refobjid = c.oid and e.refobjsubid > 0
        order by a.attnum
      ),
      c.relkind
    from bases b
    join pg_class v on v.oid = b.base_id and v.relkind = 'v'
    cross join lateral (
      select case when coalesce('security_invoker=true' = any (v.reloptions) or 'security_invoker=on' = any (v.reloptions), false)
        then role_id else v.relowner end as id
    ) reader
    join pg_rewrite w on w.ev_class = v.oid
    join pg_depend d
      on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass and d.refobjid <> v.oid
    join pg_class c on c.oid = d.refobjid and c.relkind in ('r', 'p', 'v', 'm', 'f')
  )
  select
    jsonb_agg(
      private.access_step(b.reader, b.base_id, 'select', false, 'table of the view') || '{"row": "none"}'
      order by b.base_id::regclass::text
    ) filter (where b.kind in ('r', 'p') and private.applies_row_security(b.reader, b.base_id)),
    jsonb_agg(to_jsonb(private.relation_grant(b.reader, b.base_id, 'select', b.columns)) order by b.base_id::regclass::text)
  into v_bases, v_grants
  from (select distinct reader, base_id, columns, kind from bases where base_id <> relation_id) b;

  v_condition := case
    when view_access_case.key is null then format('not exists (select from %s t limit 0)', relation_id::regclass)
    else format('exists (select from %s t where %s)', relation_id::regclass, private.key_condition(relation_id, view_access_case.key))
  end;
  if view_access_case.key is not null then
    -- The owner asks as the user, because a view may ask for the user. A failure ends the transaction and with it the setting.
    perform set_config('jwt.claims.user_id', coalesce(view_access_case.user_id::text, ''), true);
    execute 'select ' || v_condition into v_owner_sees using view_access_case.key;
    perform set_config('jwt.claims.user_id', c_caller, true);
  end if;
  return jsonb_build_object(
    'object', relation_id::regclass::text,
    'grants', jsonb_build_array(
      private.schema_grant(role_id, (select c.relnamespace from pg_class c where c.oid = relation_id)),
      private.relation_grant(
        role_id, relation_id, operation,
        case when operation = 'select' and view_access_case.key is not null then array(select jsonb_object_keys(view_access_case.key)) else '{}' end
      )
    ) || coalesce(v_grants, '[]'),
    'applies_policies', v_bases is not null,
    'has_key', view_access_case.key is not null,
    'row_exists', v_owner_sees,
    'old', coalesce(view_access_case.key, '{}'),
    'source', '',
    'steps', case
      -- Without policies, the owner's answer is the role's, and a session that may not become the role need not.
      when v_bases is null and not pg_has_role(session_user, role_id, 'member') then '[]'
      else jsonb_build_array(
        jsonb_build_object(
          'purpose', 'view', 'command', 'select', 'relation', relation_id::regclass::text, 'row', 'old', 'condition', v_condition,
          'policies', '[]'::jsonb
        )
      ) || coalesce(v_bases, '[]')
    end,
    'notes', '[]'::jsonb
  );
exception
  when data_exception then
    raise exception 'The key has a value of the wrong type.' using errcode = 'PL422', column = 'key';
end
$$;

comment on function private.view_access_case(oid, oid, text, jsonb, uuid) is
  'Returns what decides on an operation on a row of a view: grants on it and on its tables, and the policies of these.';
--! EndIncluded access/private/view_access_case.sql
--! Included access/private/function_access_case.sql
create or replace function private.function_access_case(role_id oid, object text)
  returns jsonb
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_functions oid[] := '{}';
  v_function record;
begin
  -- Anything that is no name is not the name of a function.
  begin
    v_functions := array(
      select p.oid
      from parse_ident(function_access_case.object, false) as i (names)
      join pg_proc p on p.proname = i.names[2]
      join pg_namespace n on n.oid = p.pronamespace and n.nspname = i.names[1]
      where cardinality(i.names) = 2
        and (
          strpos(function_access_case.object, '(') = 0
          or replace(function_access_case.object, ', ', ',') = p.oid::regprocedure::text
        )
      order by p.oid::regprocedure::text
    );
  exception when invalid_parameter_value then
    null;
  end;
  if cardinality(v_functions) = 0 then
    raise exception 'Function not found: %.', function_access_case.object
      using errcode = 'PL404', column = 'object', hint = 'Write schema.name, or schema.name(type,type) for one of several.';
  elsif cardinality(v_functions) > 1 then
    raise exception 'Several functions have this name: %.',
      (select string_agg(f.id::regprocedure::text, '; ') from unnest(v_functions) f (id))
      using errcode = 'PL422', column = 'object', hint = 'Add the types of the arguments.';
  end if;
  select p.* into v_function from pg_proc p where p.oid = v_functions[1];
  return jsonb_build_object(
    'object', v_function.oid::regprocedure::text,
    'grants', jsonb_build_array(
      private.schema_grant(role_id, v_function.pronamespace),
      (
        'execute',
        v_function.oid::regprocedure::text,
        '{}'::text[],
        '{}'::text[],
        has_function_privilege(role_id, v_function.oid, 'execute'),
        (
          select string_agg(case when e.grantee = 0 then 'PUBLIC' else pg_get_userbyid(e.grantee)::text end, ', ' order by e.grantee)
          from aclexplode(coalesce(v_function.proacl, acldefault('f', v_function.proowner))) e
          where e.privilege_type = 'EXECUTE'
            and case when e.grantee = 0 then true else pg_has_role(role_id, e.grantee, 'usage') end
        )
      )::access.explained_grant
    ),
    'applies_policies', false,
    'has_key', false,
    'steps', '[]'::jsonb,
    'notes', jsonb_build_array(
      case
        when v_function.prosecdef then format('The function acts with the rights of its owner %s and checks its caller itself.', pg_get_userbyid(v_function.proowner))
        else 'The function acts with the rights of its caller: the grants and policies of the tables decide what it may do.'
      end
    )
  );
end
$$;

comment on function private.function_access_case(oid, text) is
  'Returns what decides on a call of a function. PL404 for an unknown name, PL422 for a name of several functions.';
--! EndIncluded access/private/function_access_case.sql
--! Included access/private/access_case.sql
-- Everything about a question of access that needs the rights of the owner. It evaluates no policy: access.explain_access does that
-- with the rights of the role in question.
create or replace function private.access_case(
  user_id uuid,
  operation text,
  object text,
  key jsonb default null,
  new_values jsonb default null,
  database_role text default null,
  returns_row boolean default false
)
  returns jsonb
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_role constant name := private.explained_role(access_case.user_id, access_case.database_role);
  v_role_id constant oid := (select r.oid from pg_roles r where r.rolname = v_role);
  v_relations constant oid[] := array(
    select c.oid
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
      and n.nspname !~ '^(pg_|information_schema$)'
      and access_case.object in (n.nspname || '.' || c.relname, c.relname, c.oid::regclass::text)
  );
  v_kind "char";
  v_case jsonb;
begin
  if access_case.operation in ('select', 'insert', 'update', 'delete', 'execute') is not true then
    raise exception 'The operation must be select, insert, update, delete or execute.' using errcode = 'PL422', column = 'operation';
  end if;
  if access_case.user_id is not null and not exists (select from identity.users u where u.id = access_case.user_id) then
    raise exception 'No account has this id.' using errcode = 'PL404', column = 'user_id';
  end if;

  if access_case.operation = 'execute' then
    v_case := private.function_access_case(v_role_id, access_case.object);
  else
    if v_relations = '{}' then
      raise exception 'Table not found: %.', access_case.object
        using errcode = 'PL404', column = 'object', hint = 'Write schema.table.';
    end if;
    if cardinality(v_relations) > 1 then
      raise exception 'Several tables have this name: %.', access_case.object
        using errcode = 'PL422', column = 'object', hint = 'Write schema.table.';
    end if;
    v_kind := (select c.relkind from pg_class c where c.oid = v_relations[1]);
    if v_kind = 'v' then
      v_case := private.view_access_case(v_role_id, v_relations[1], access_case.operation, access_case.key, access_case.user_id);
    else
      v_case := private.table_access_case(
        v_role_id, v_relations[1], access_case.operation, access_case.key, access_case.new_values, access_case.returns_row
      );
    end if;
    if v_kind in ('v', 'm') and access_case.operation <> 'select' then
      -- Without the grant, nothing else is asked; with it, the grants and policies of the view's table decide.
      if not exists (select from jsonb_array_elements(v_case -> 'grants') g where not (g.value ->> 'is_held')::boolean) then
        raise exception 'Only reading a view can be explained.'
          using errcode = 'PL422', column = 'object', hint = 'Explain the operation on the view''s table.';
      end if;
      v_case := v_case || '{"steps": []}';
    end if;
  end if;

  return v_case || jsonb_build_object(
    'role', v_role,
    'user_id', access_case.user_id,
    'operation', access_case.operation,
    'notes', (v_case -> 'notes') || (
      select coalesce(jsonb_agg(n.note), '[]')
      from (
        select 'The account is not active, so it holds no permission.'
        from identity.users u
        where u.id = access_case.user_id and not u.is_active
        union all
        select format('The role %s has expired.', r.role_name)
        from access.user_roles ur
        join access.roles r on r.id = ur.role_id
        where ur.user_id = access_case.user_id and ur.expires_at <= now()
        union all
        select format('The role %s counts only in a session that has passed a second factor.', r.role_name)
        from access.user_roles ur
        join access.roles r on r.id = ur.role_id
        where ur.user_id = access_case.user_id and r.requires_mfa
      ) n (note)
    )
  );
end
$$;

comment on function private.access_case(uuid, text, text, jsonb, jsonb, text, boolean) is
  'Returns the grants, policies and row that decide on an operation, for access.explain_access. PL404 for an unknown account, table or function.';
--! EndIncluded access/private/access_case.sql
--! Included access/functions/permitted_access_case.sql
-- The way of the API to private.access_case: it needs the permission, and the question is recorded. The key must be the primary key,
-- so that no one can search a table by its other columns. The result contains the columns of the row that policies read;
-- access.explain_access returns outcomes only, and this function is no field of the API.
create or replace function access.permitted_access_case(
  user_id uuid,
  operation text,
  object text,
  key jsonb,
  new_values jsonb,
  database_role text,
  returns_row boolean
)
  returns jsonb
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_case jsonb;
begin
  perform private.require_user_id();
  if not access.has_permission('explain_access') then
    raise exception 'This needs the permission explain_access.' using errcode = 'PL403';
  end if;
  if octet_length(concat(permitted_access_case.object, permitted_access_case.key, permitted_access_case.new_values)) > 8000 then
    raise exception 'The object, key and values must have at most 8,000 bytes.' using errcode = 'PL422';
  end if;
  if coalesce(permitted_access_case.database_role, 'user') not in ('user', 'anonymous') then
    raise exception 'The API explains the roles user and anonymous.' using errcode = 'PL422', column = 'database_role';
  end if;
  if jsonb_typeof(permitted_access_case.key) = 'object' and not exists (
    select
    from pg_index i
    join pg_class c on c.oid = i.indrelid
    join pg_namespace n on n.oid = c.relnamespace
    where permitted_access_case.object in (n.nspname || '.' || c.relname, c.relname)
      and i.indisprimary
      and array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum = any (i.indkey) order by 1)
        = array(select k.name from jsonb_object_keys(permitted_access_case.key) k (name) order by 1)
  ) then
    raise exception 'The key must have the columns of the primary key.' using errcode = 'PL422', column = 'key';
  end if;
  perform private.record_security_event(
    'access_explained',
    permitted_access_case.user_id,
    jsonb_strip_nulls(jsonb_build_object(
      'operation', permitted_access_case.operation,
      'object', permitted_access_case.object,
      'key', permitted_access_case.key,
      'new_values', permitted_access_case.new_values,
      'database_role', permitted_access_case.database_role,
      'returns_row', nullif(permitted_access_case.returns_row, false)
    ))
  );
  v_case := private.access_case(
    permitted_access_case.user_id,
    permitted_access_case.operation,
    permitted_access_case.object,
    permitted_access_case.key,
    permitted_access_case.new_values,
    permitted_access_case.database_role,
    permitted_access_case.returns_row
  );
  -- A missing grant decides alone: the row, and whether it exists, are none of the question's business.
  if exists (select from jsonb_array_elements(v_case -> 'grants') g where not (g.value ->> 'is_held')::boolean) then
    return v_case || '{"steps": [], "old": null, "new": null}';
  end if;
  return v_case;
end
$$;

comment on function access.permitted_access_case(uuid, text, text, jsonb, jsonb, text, boolean) is
  E'@behavior -*\nReturns private.access_case to a user with explain_access and records the question. PL403 without the permission.';
grant execute on function access.permitted_access_case(uuid, text, text, jsonb, jsonb, text, boolean) to :PLINTH_USER;
--! EndIncluded access/functions/permitted_access_case.sql
--! Included access/functions/readable_condition.sql
-- For reading only: PostgreSQL writes a call in a policy as ( SELECT f('x'::text) AS f). The text is never evaluated.
create or replace function access.readable_condition(condition text)
  returns text
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select regexp_replace(
    regexp_replace(
      regexp_replace(btrim(condition, E' \n'), '\s+', ' ', 'g'), $re$\( SELECT ([a-z0-9_.]+\([^()]*\)) AS [a-z0-9_]+\)$re$, '\1', 'g'
    ),
    $re$('[^']*')::text\M$re$, '\1', 'g'
  )
$$;

comment on function access.readable_condition(text) is
  E'@behavior -*\nReturns the text of a condition without the sub-selects and casts that do not help to read it.';
grant execute on function access.readable_condition(text) to :PLINTH_USER;
--! EndIncluded access/functions/readable_condition.sql
--! Included access/functions/required_change.sql
-- The parts are those of private.condition_parts, with their outcomes; the children of a part follow it, one level deeper.
create or replace function access.required_change(parts jsonb, place integer default 0, wanted boolean default true)
  returns text
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  v_part constant jsonb := parts -> place;
  v_depth constant integer := v_part ->> 'depth';
  v_condition constant text := v_part ->> 'condition';
  v_permission constant text := substring(
    v_condition from '^(?:\( SELECT )?access\.has_permission\(''([a-z_]+)''::text\)(?: AS has_permission\))?$'
  );
  v_column constant text := substring(
    v_condition from '^(?:[a-z_]+\.)?([a-z_]+) = (?:\( SELECT )?plinth\.current_user_id\(\)(?: AS current_user_id\))?$'
  );
  v_changes text[] := '{}';
  v_child jsonb;
  v_end integer := place + 1;
begin
  while parts -> v_end is not null and (parts -> v_end ->> 'depth')::integer > v_depth loop
    v_child := parts -> v_end;
    if (v_child ->> 'depth')::integer = v_depth + 1
      and (v_child ->> 'outcome')::boolean is distinct from (wanted <> (v_part ->> 'operator' = 'not')) then
      v_changes := v_changes || access.required_change(parts, v_end, wanted <> (v_part ->> 'operator' = 'not'));
    end if;
    v_end := v_end + 1;
  end loop;

  if v_part ->> 'operator' is null then
    return case
      when wanted and v_permission is not null then format('the user has a role with the permission %s', v_permission)
      when wanted and v_column is not null then format('the row''s %s is the id of the user', v_column)
      when wanted then format('%s holds', access.readable_condition(v_condition))
      else format('%s does not hold', access.readable_condition(v_condition))
    end;
  end if;
  -- To make an OR true, one of its parts suffices; to make it false, all must be.
  if cardinality(v_changes) > 1 then
    v_changes := array(
      select case when c.change ~ ' (and|or) ' then format('(%s)', c.change) else c.change end
      from unnest(v_changes) with ordinality c (change, place)
      order by c.place
    );
  end if;
  return array_to_string(v_changes, case when (v_part ->> 'operator' = 'or') = wanted then ' or ' else ' and ' end);
end
$$;

comment on function access.required_change(jsonb, integer, boolean) is
  E'@behavior -*\nReturns what must hold so that a part of a condition gets the wanted outcome, as the end of a sentence.';
grant execute on function access.required_change(jsonb, integer, boolean) to :PLINTH_USER;
--! EndIncluded access/functions/required_change.sql
--! Included access/functions/known_outcome.sql
-- Without a row, a part that reads one has no outcome, and null stands for "it depends", as in SQL's own logic.
create or replace function access.known_outcome(parts jsonb, place integer default 0)
  returns boolean
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  v_part constant jsonb := parts -> place;
  v_is_or constant boolean := v_part ->> 'operator' = 'or';
  v_result boolean;
  v_end integer := place + 1;
begin
  if v_part ->> 'operator' is null then
    return (v_part ->> 'outcome')::boolean;
  end if;
  v_result := not v_is_or;
  while parts -> v_end is not null and (parts -> v_end ->> 'depth')::integer > (v_part ->> 'depth')::integer loop
    if (parts -> v_end ->> 'depth')::integer = (v_part ->> 'depth')::integer + 1 then
      v_result := case when v_is_or then v_result or access.known_outcome(parts, v_end)
        else v_result and access.known_outcome(parts, v_end) end;
    end if;
    v_end := v_end + 1;
  end loop;
  return v_result <> (v_part ->> 'operator' = 'not');
end
$$;

comment on function access.known_outcome(jsonb, integer) is
  E'@behavior -*\nReturns the outcome of a part of a condition from those of its parts; null if it depends on a row.';
grant execute on function access.known_outcome(jsonb, integer) to :PLINTH_USER;
--! EndIncluded access/functions/known_outcome.sql
--! Included access/functions/step_outcome.sql
-- With a row, the outcome is that of the whole condition, evaluated as one. Without, it follows from the policies, as far as known.
create or replace function access.step_outcome(step jsonb)
  returns boolean
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select case
    when step ->> 'error' is not null then false
    when (step ->> 'has_row')::boolean then coalesce((step ->> 'outcome')::boolean, false)
    else (
      select
        -- As OR and AND do: a part without an outcome counts only if the others do not decide.
        (coalesce(bool_or(p.outcome) filter (where p.is_permissive), false)
          or case when bool_or(p.is_permissive and p.outcome is null) then null else false end)
        and (coalesce(bool_and(p.outcome) filter (where not p.is_permissive), true)
          and case when bool_or(not p.is_permissive and p.outcome is null) then null else true end)
      from (
        select (e.value ->> 'is_permissive')::boolean as is_permissive, access.known_outcome(e.value -> 'parts') as outcome
        from jsonb_array_elements(step -> 'policies') e
      ) p
    )
  end
$$;

comment on function access.step_outcome(jsonb) is
  E'@behavior -*\nReturns whether a row passes the policies of a step; null if it depends on a row.';
grant execute on function access.step_outcome(jsonb) to :PLINTH_USER;
--! EndIncluded access/functions/step_outcome.sql
--! Included access/functions/step_changes.sql
-- Each permissive policy is an alternative; each restrictive one is required.
create or replace function access.step_changes(step jsonb, database_role text)
  returns text[]
  language sql
  immutable
  set search_path = pg_catalog
as $$
  with policies as (
    select
      e.ordinality as place,
      (e.value ->> 'is_permissive')::boolean as is_permissive,
      access.known_outcome(e.value -> 'parts') is true as passes,
      e.value
    from jsonb_array_elements(step -> 'policies') with ordinality e
  )
  select array(
    select case
        when p.is_permissive then format('The policy %s on %s passes if %s.', p.value ->> 'policy', step ->> 'relation', c.change)
        else format('The restrictive policy %s on %s must pass: %s.', p.value ->> 'policy', step ->> 'relation', c.change)
      end
    from policies p
    cross join lateral (select access.required_change(p.value -> 'parts') as change) c
    where not p.passes
      and (not p.is_permissive or not exists (select from policies o where o.is_permissive and o.passes))
    order by not p.is_permissive, p.place
  ) || array(
    select format('Create a policy for %s on %s that applies to %s.', step ->> 'command', step ->> 'relation', database_role)
    where step ->> 'purpose' <> 'view' and not exists (select from policies p where p.is_permissive)
  )
$$;

comment on function access.step_changes(jsonb, text) is
  E'@behavior -*\nReturns what would have to change so that a row passes the policies of a step, as sentences.';
grant execute on function access.step_changes(jsonb, text) to :PLINTH_USER;
--! EndIncluded access/functions/step_changes.sql
--! Included access/functions/access_conclusion.sql
-- Says what follows from the outcomes that access.explain_access has found.
create or replace function access.access_conclusion(evaluated_case jsonb)
  returns access.access_explanation
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  c_operation constant text := evaluated_case ->> 'operation';
  c_object constant text := evaluated_case ->> 'object';
  c_role constant text := evaluated_case ->> 'role';
  c_has_key constant boolean := evaluated_case ->> 'has_key';
  v_result access.access_explanation;
  v_grant access.explained_grant;
  v_step record;
  v_needed text;
  v_passed text[] := '{}';
  -- A view without a key shows rows that the policies of its tables choose.
  v_is_open boolean := (evaluated_case ->> 'applies_policies')::boolean and not c_has_key and exists (
    select from jsonb_array_elements(evaluated_case -> 'steps') s where s.value ->> 'row' = 'none'
  );
begin
  v_result.database_role := c_role;
  v_result.operation := c_operation;
  v_result.object := c_object;
  v_result.changes := '{}';
  v_result.notes := array(select jsonb_array_elements_text(evaluated_case -> 'notes'));
  v_result.grants := array(
    select jsonb_populate_record(null::access.explained_grant, g.value)
    from jsonb_array_elements(evaluated_case -> 'grants') with ordinality g
    order by g.ordinality
  );
  v_result.policies := array(
    select row(
      s.value ->> 'relation', format('%s, policies for %s', s.value ->> 'purpose', s.value ->> 'command'), p.value ->> 'policy', p.value ->> 'command', (p.value ->> 'is_permissive')::boolean,
      p.value ->> 'description', p.value ->> 'condition', (p.value #>> '{parts,0,outcome}')::boolean, p.value #>> '{parts,0,error}',
      array(
        select row(
          (q.value ->> 'depth')::integer, q.value ->> 'operator', access.readable_condition(q.value ->> 'condition'),
          (q.value ->> 'outcome')::boolean, (q.value ->> 'is_open')::boolean, q.value ->> 'error'
        )::access.explained_condition
        from jsonb_array_elements(p.value -> 'parts') with ordinality q
        order by q.ordinality
      )
    )::access.explained_policy
    from jsonb_array_elements(evaluated_case -> 'steps') with ordinality s
    cross join lateral jsonb_array_elements(s.value -> 'policies') with ordinality p
    order by s.ordinality, p.ordinality
  );

  foreach v_grant in array v_result.grants loop
    continue when v_grant.is_held;
    v_needed := v_grant.privilege
      || case when cardinality(v_grant.columns) > 0 then format(' (%s)', array_to_string(v_grant.missing_columns, ', ')) else '' end
      || ' on ' || v_grant.object;
    v_result.verdict := 'denied';
    v_result.reason := coalesce(v_result.reason, format('The role %s lacks %s: the statement fails with 42501.', c_role, v_needed));
    v_result.changes := v_result.changes || format('Grant %s to %s.', v_needed, c_role);
  end loop;

  if v_result.verdict is null and c_has_key and not (evaluated_case ->> 'row_exists')::boolean then
    v_result.verdict := 'no_row';
    v_result.reason := format('%s has no row with this key.', c_object);
    return v_result;
  end if;
  if v_result.verdict is null and exists (
    select
    from jsonb_array_elements(evaluated_case -> 'steps') s
    where concat(s.value ->> 'error', evaluated_case ->> 'error') like '%(25006)%'
  ) then
    v_result.verdict := 'unknown';
    v_result.reason := 'A policy or a default writes, which an explanation may not.';
    return v_result;
  end if;
  if v_result.verdict is null and evaluated_case ->> 'error' is not null then
    v_result.verdict := 'denied';
    v_result.reason := evaluated_case ->> 'error';
  end if;

  for v_step in
    select s.value, s.ordinality, s.value ->> 'purpose' as purpose, s.value ->> 'command' as command, access.step_outcome(s.value) as passes
    from jsonb_array_elements(evaluated_case -> 'steps') with ordinality s
    where s.value ->> 'row' <> 'none'
    order by s.ordinality
  loop
    v_is_open := v_is_open or v_step.passes is null;
    if v_step.passes then
      -- A policy that serves several steps is named once.
      v_passed := v_passed || array(
        select p.value ->> 'policy'
        from jsonb_array_elements(v_step.value -> 'policies') p
        where access.known_outcome(p.value -> 'parts') and p.value ->> 'policy' <> all (v_passed)
      );
    end if;
    continue when v_step.passes is distinct from false;
    v_result.changes := v_result.changes || array(
      select c.change
      from jsonb_array_elements(evaluated_case -> 'steps') with ordinality s
      cross join lateral unnest(access.step_changes(s.value, c_role)) with ordinality c (change, place)
      where s.ordinality = v_step.ordinality or v_step.purpose = 'view' and s.value ->> 'row' = 'none'
      group by c.change
      having c.change <> all (v_result.changes)
      order by min(s.ordinality), min(c.place)
    );
    v_result.reason := coalesce(
      v_result.reason,
      case
        when v_step.value ->> 'error' is not null then
          format('A policy for %s raises an error, and so does the statement: %s.', v_step.command, v_step.value ->> 'error')
        when v_step.purpose = 'view' then
          'The policies of its tables hide the row: the statement succeeds and finds no row.'
        when v_step.purpose = 'new row' then
          format('The new row does not pass the policies for %s: the statement fails with 42501.', v_step.command)
        else
          format('The row does not pass the policies for %s: the statement succeeds and finds no row.', v_step.command)
      end
    );
    v_result.verdict := 'denied';
  end loop;

  if v_result.verdict is null then
    v_result.verdict := case when v_is_open then 'depends_on_row' else 'allowed' end;
    v_result.reason := case
      when v_is_open then 'The grants are held. The policies depend on the row: name one by its key, or give the values of a new one.'
      when not (evaluated_case ->> 'applies_policies')::boolean then 'The grants are held, and no row policies apply.'
      when v_passed = '{}' then 'The grants are held, and the policies let the row pass.'
      else format('The grants are held, and the row passes: %s.', array_to_string(v_passed, ', '))
    end;
  end if;
  return v_result;
end
$$;

comment on function access.access_conclusion(jsonb) is
  E'@behavior -*\nReturns the verdict on an operation, its reason, and what would have to change, from the outcomes that access.explain_access found.';
grant execute on function access.access_conclusion(jsonb) to :PLINTH_USER;
--! EndIncluded access/functions/access_conclusion.sql
--! Included access/functions/explain_access.sql
-- Explains what PostgreSQL would decide, without trying it. Three steps with three kinds of rights:
--
-- 1. private.access_case reads the catalogue and the row with the owner's rights: policies hide the row from everyone else. An owner
--    calls it directly; the API's role calls access.permitted_access_case, which checks the permission first.
-- 2. The conditions are evaluated here with the rights and claims of the role in question, because sub-selects in policies are
--    themselves subject to grants and policies. PostgreSQL allows no SET ROLE in a function with definer rights, so this one has
--    those of its caller: a session that may become the role, as the authenticator's (the API) and the owner's may.
-- 3. access.access_conclusion says what follows.
--
-- The only texts that are executed are expressions that the owner wrote into the catalogue (policies, defaults, generated columns)
-- and clauses made of quoted catalogue names; pg_get_expr returns them from the parsed form. Names, keys and values of the caller are
-- compared with the catalogue or passed as parameters, never executed. The evaluation is read-only, and its subtransaction is always
-- rolled back, also after success: this ends role and claims, whatever a condition does or raises.
create or replace function access.explain_access(
  operation text,
  object text,
  user_id uuid default null,
  key jsonb default null,
  new_values jsonb default null,
  database_role text default null,
  session_id uuid default null,
  returns_row boolean default false
)
  returns access.access_explanation
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_case jsonb;
  v_new jsonb;
  v_item record;
  v_row jsonb;
  v_outcome boolean;
  v_text text;
  v_error text;
begin
  if pg_has_role(current_user, (select n.nspowner from pg_namespace n where n.nspname = 'access'), 'usage') then
    v_case := private.access_case(
      explain_access.user_id, explain_access.operation, explain_access.object, explain_access.key, explain_access.new_values,
      explain_access.database_role, explain_access.returns_row
    );
  else
    v_case := access.permitted_access_case(
      explain_access.user_id, explain_access.operation, explain_access.object, explain_access.key, explain_access.new_values,
      explain_access.database_role, explain_access.returns_row
    );
  end if;
  if v_case -> 'steps' = '[]' then
    return access.access_conclusion(v_case);
  end if;

  begin
    perform set_config('transaction_read_only', 'on', true);
    perform set_config('jwt.claims.user_id', coalesce(explain_access.user_id::text, ''), true);
    perform set_config('jwt.claims.session_id', coalesce(explain_access.session_id::text, ''), true);
    perform set_config('jwt.claims.api_token_id', '', true);
    perform set_config('role', v_case ->> 'role', true);

    v_new := nullif(v_case -> 'new', 'null');
    if v_new is not null then
      for v_item in
        select d.value ->> 'column' as name, 'select (' || (d.value ->> 'condition') || ')::text' || d.source as query
        from (
          select e.value, '' as source, 1 as turn, e.ordinality
          from jsonb_array_elements(v_case -> 'defaults') with ordinality e
          union all
          select e.value, v_case ->> 'source', 2, e.ordinality
          from jsonb_array_elements(v_case -> 'generated') with ordinality e
        ) d
        order by d.turn, d.ordinality
      loop
        begin
          execute v_item.query into v_text using v_new;
          v_new := v_new || jsonb_build_object(v_item.name, v_text);
        exception when others then
          v_case := v_case || jsonb_build_object('error', format('The value of %s raises an error, and so does the statement (%s).', v_item.name, sqlstate));
        end;
      end loop;
    end if;

    for v_item in
      select array['steps', (s.ordinality - 1)::text] || c.path as path, s.value ->> 'row' as row, c.condition
      from jsonb_array_elements(v_case -> 'steps') with ordinality s
      cross join lateral (
        select '{}'::text[] as path, s.value ->> 'condition' as condition
        union all
        select array['policies', (p.ordinality - 1)::text, 'parts', (q.ordinality - 1)::text], q.value ->> 'condition'
        from jsonb_array_elements(s.value -> 'policies') with ordinality p
        cross join lateral jsonb_array_elements(p.value -> 'parts') with ordinality q
      ) c
    loop
      v_row := case v_item.row when 'old' then nullif(v_case -> 'old', 'null') when 'new' then v_new end;
      v_outcome := null;
      v_error := null;
      begin
        execute 'select (' || v_item.condition || ')' || case when v_row is null then '' else v_case ->> 'source' end
        into v_outcome
        using v_row;
      exception when others then
        -- Without a row, a condition that reads a column of it fails with one of these: its outcome depends on the row.
        if v_row is not null or sqlstate not in ('42703', '42P01') then
          -- The message may quote a value of the row, except in class 42, which is about names and privileges.
          v_error := concat_ws(' ', case when sqlstate like '42%' then sqlerrm end, '(' || sqlstate || ')');
        end if;
      end;
      v_case := jsonb_set(
        v_case, v_item.path,
        (v_case #> v_item.path) || jsonb_build_object(
          'outcome', v_outcome, 'error', v_error, 'has_row', v_row is not null,
          'is_open', v_outcome is null and v_error is null and v_row is null
        )
      );
    end loop;
    raise exception using errcode = 'transaction_rollback';
  exception
    when transaction_rollback then
      null;
    when insufficient_privilege then
      -- set_config alone raises it here. Where a grant is missing, the verdict needs no policies.
      if exists (select from jsonb_array_elements(v_case -> 'grants') g where not (g.value ->> 'is_held')::boolean) then
        return access.access_conclusion(
          v_case || jsonb_build_object(
            'steps', '[]'::jsonb,
            'notes', (v_case -> 'notes') || to_jsonb(format('The policies were not evaluated, because %s may not become %s.', session_user, v_case ->> 'role'))
          )
        );
      end if;
      raise exception 'The role % may not become %.', session_user, v_case ->> 'role'
        using errcode = 'PL403', hint = format('As an administrator, run: grant %I to %I', v_case ->> 'role', session_user);
  end;
  return access.access_conclusion(v_case);
end
$$;

comment on function access.explain_access(text, text, uuid, jsonb, jsonb, text, uuid, boolean) is
  'Explains whether a user or a visitor may select, insert, update or delete a row, or execute a function: the verdict, the grants and policies that decide, and what would have to change. Shows outcomes, never values of the row. Needs explain_access; the question is recorded in the audit log. PL403 without the permission, PL404 for an unknown account, table or function.';
grant execute on function access.explain_access(text, text, uuid, jsonb, jsonb, text, uuid, boolean) to :PLINTH_USER;
--! EndIncluded access/functions/explain_access.sql
