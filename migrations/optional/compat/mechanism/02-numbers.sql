create or replace function compat.row_id(system text, relation text, number bigint)
  returns uuid
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_row_id uuid;
begin
  if row_id.number is null then
    return null;
  end if;
  select x.row_id into v_row_id
  from plinth.external_ids x
  where x.system = row_id.system
    and x.relation = row_id.relation
    and x.number = row_id.number
    -- Users name each other, but an id tells the time of a sign-in or a message.
    and (
      x.user_id is null
      or x.relation = 'users'
      or coalesce(nullif(current_setting('jwt.claims.user_id', true), ''), x.user_id::text) = x.user_id::text
    );
  if v_row_id is null then
    raise exception 'There is no row % in %.', row_id.number, row_id.relation
      using errcode = '23503', table = row_id.relation;
  end if;
  return v_row_id;
end
$$;

comment on function compat.row_id(text, text, bigint) is
  'Returns the id of the row with a number; null for null, 23503 for an unknown number, and for that of another user''s row if the claims name a user.';

create or replace function compat.number_of(system text, relation text, row_id uuid)
  returns bigint
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select x.number
  from plinth.external_ids x
  where x.system = number_of.system and x.relation = number_of.relation and x.row_id = number_of.row_id
$$;

comment on function compat.number_of(text, text, uuid) is 'Returns the number of a row, or null.';

-- An application that inserts a row with a number of its own.
create or replace function compat.renumber(system text, relation text, row_id uuid, number bigint)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select compat.check_user(x.user_id)
  from plinth.external_ids x
  where x.system = renumber.system
    and x.relation = renumber.relation
    and x.row_id = renumber.row_id
    and x.user_id is not null;
  update plinth.external_ids x
  set external_id = renumber.number::text
  where x.system = renumber.system
    and x.relation = renumber.relation
    and x.row_id = renumber.row_id
    and renumber.number is not null
$$;

comment on function compat.renumber(text, text, uuid, bigint) is
  'Gives a row a number; 23505 for a number in use, PL403 if the claims name another user than the row. Null changes nothing.';

-- With the caller's rights: only the application may choose a number.
create or replace function compat.new_number(system text, relation text, row_id uuid, number bigint)
  returns bigint
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  if new_number.number is not null then
    perform compat.renumber(new_number.system, new_number.relation, new_number.row_id, new_number.number);
  end if;
  return compat.number_of(new_number.system, new_number.relation, new_number.row_id);
end
$$;

comment on function compat.new_number(text, text, uuid, bigint) is
  'Returns the number of a new row: the one that its INSERT names, or the next. 42501 for a number that a user names.';

grant execute
  on function compat.row_id(text, text, bigint), compat.number_of(text, text, uuid), compat.new_number(text, text, uuid, bigint)
  to :PLINTH_APPLICATION, :PLINTH_USER;
grant execute on function compat.renumber(text, text, uuid, bigint) to :PLINTH_APPLICATION;

-- A number that a row of an import has is passed over.
create or replace function compat.next_number(system text, relation text)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_sequence constant regclass := format('compat.%I', next_number.system || '_' || next_number.relation || '_number')::regclass;
  v_number text;
begin
  loop
    v_number := nextval(v_sequence)::text;
    exit when not exists (
      select
      from plinth.external_ids x
      where x.system = next_number.system and x.relation = next_number.relation and x.external_id = v_number
    );
  end loop;
  return v_number;
end
$$;

comment on function compat.next_number(text, text) is 'Returns the next free number of a relation.';

-- Runs once for all rows of an INSERT. The arguments: system, relation, column of the id, column of the person or ''. Its
-- numbers are not those of an import, which may run in this session.
create or replace function compat.number_new_rows()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_keeps_times constant text := coalesce(current_setting('plinth.keeps_times', true), '');
begin
  perform set_config('plinth.keeps_times', 'off', true);
  execute format(
    'insert into plinth.external_ids (system, relation, external_id, row_id, user_id, is_numbered_here)
     select $1, $2, compat.next_number($1, $2), n.%I, %s, true
     from new_rows n
     where not exists (
       select from plinth.external_ids x where x.system = $1 and x.relation = $2 and x.row_id = n.%1$I
     )',
    tg_argv[2], coalesce('n.' || quote_ident(nullif(tg_argv[3], '')), 'null::uuid')
  ) using tg_argv[0], tg_argv[1];
  perform set_config('plinth.keeps_times', v_keeps_times, true);
  return null;
end
$$;

comment on function compat.number_new_rows() is 'Trigger: gives new rows their numbers in plinth.external_ids.';

-- Otherwise a number of the import would meet the same number of another row.
create or replace function compat.guard_import()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if to_regnamespace('compat_' || new.system) is not null then
    raise exception 'The compatibility schema of this system is enabled, and numbers rows.'
      using
        errcode = '55000',
        hint = format('Run plinth compat disable %s, then the import, then plinth compat enable %1$s.', new.system);
  end if;
  return new;
end
$$;

comment on function compat.guard_import() is
  'Trigger: rejects the ids of an import for a system whose compatibility schema is enabled (55000).';

-- The setting is that of an import, see plinth.touch_updated_at.
create or replace trigger _850_compat_guard_import
  before insert on plinth.external_ids
  for each row
  when (current_setting('plinth.keeps_times', true) = 'on')
  execute function compat.guard_import();

create or replace function compat.forget_numbers()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  execute format(
    'delete from plinth.external_ids x
     using old_rows o
     where x.system = $1 and x.relation = $2 and x.row_id = o.%I',
    tg_argv[2]
  ) using tg_argv[0], tg_argv[1];
  return null;
end
$$;

comment on function compat.forget_numbers() is 'Trigger: deletes the numbers of deleted rows.';
