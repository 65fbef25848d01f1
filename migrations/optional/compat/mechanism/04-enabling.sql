-- For the owner only.

-- Numbers the rows that exist, in the order of their ids, which is that of their creation.
create or replace procedure compat.number_rows(
  system text,
  relation text,
  source regclass,
  user_column name default null,
  key_column name default 'id'
)
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_sequence constant text := format('compat.%I', number_rows.system || '_' || number_rows.relation || '_number');
  v_trigger constant text := format('_850_%s_%s', number_rows.system, number_rows.relation);
  v_arguments constant text := format(
    '%L, %L, %L, %L', number_rows.system, number_rows.relation, number_rows.key_column, coalesce(number_rows.user_column, '')
  );
begin
  execute format('create sequence if not exists %s', v_sequence);
  execute format('comment on sequence %s is %L', v_sequence, format('Numbers of %s.%s.', number_rows.system, number_rows.relation));
  -- An import makes an id from the key of a row that has none of its own.
  if number_rows.key_column = number_rows.user_column then
    update plinth.external_ids x
    set row_id = x.user_id
    where x.system = number_rows.system
      and x.relation = number_rows.relation
      and x.user_id is not null
      and x.number = (
        select min(o.number)
        from plinth.external_ids o
        where o.system = x.system and o.relation = x.relation and o.user_id = x.user_id
      )
      and not exists (
        select
        from plinth.external_ids o
        where o.system = x.system and o.relation = x.relation and o.row_id = x.user_id
      );
  end if;
  execute format(
    'select setval(%L, greatest(max(x.number), 1), max(x.number) is not null)
     from plinth.external_ids x
     where x.system = %L and x.relation = %L',
    v_sequence, number_rows.system, number_rows.relation
  );
  execute format(
    'insert into plinth.external_ids (system, relation, external_id, row_id, user_id, is_numbered_here)
     select %1$L, %2$L, compat.next_number(%1$L, %2$L), r.%3$I, %4$s, true
     from (
       select * from %5$s s
       where not exists (select from plinth.external_ids x where x.system = %1$L and x.relation = %2$L and x.row_id = s.%3$I)
       order by s.%3$I
     ) r',
    number_rows.system, number_rows.relation, number_rows.key_column,
    coalesce('r.' || quote_ident(number_rows.user_column), 'null::uuid'), number_rows.source
  );
  execute format(
    'create or replace trigger %I after insert on %s referencing new table as new_rows
     for each statement execute function compat.number_new_rows(%s)',
    v_trigger || '_number', number_rows.source, v_arguments
  );
  execute format(
    'create or replace trigger %I after delete on %s referencing old table as old_rows
     for each statement execute function compat.forget_numbers(%s)',
    v_trigger || '_forget', number_rows.source, v_arguments
  );
end
$$;

comment on procedure compat.number_rows(text, text, regclass, name, name) is
  'Numbers the rows of a table for a system, now and when rows are inserted.';

create or replace procedure compat.write_through(system text, relation text, events text)
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  execute format(
    'create trigger write instead of %1$s on %2$I.%3$I for each row execute function %2$I.%4$I()',
    write_through.events, 'compat_' || write_through.system, write_through.relation, 'write_' || write_through.relation
  );
end
$$;

comment on procedure compat.write_through(text, text, text) is
  'Lets the function write_<view> of a system write what statements write to the view (events: insert or update or delete).';

-- A command may name the columns that it writes: update (username).
create or replace procedure compat.let_application(system text, source regclass, variadic commands text[])
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_grant text;
  v_command text;
  v_policy text;
begin
  foreach v_grant in array let_application.commands
  loop
    v_command := split_part(v_grant, ' ', 1);
    v_policy := format('compat_%s_%s', let_application.system, v_command);
    execute format(
      'create policy %I on %s for %s to :PLINTH_APPLICATION%s%s',
      v_policy, let_application.source, v_command,
      case when v_command <> 'insert' then ' using ((select compat.writes_all()))' end,
      case when v_command <> 'delete' then ' with check ((select compat.writes_all()))' end
    );
    execute format(
      'comment on policy %I on %s is %L',
      v_policy, let_application.source, format('The application writes all rows through compat_%s.', let_application.system)
    );
    execute format('grant %s on %s to :PLINTH_APPLICATION', v_grant, let_application.source);
  end loop;
end
$$;

comment on procedure compat.let_application(text, regclass, text[]) is
  'Lets the application write columns of a table (insert, update, delete) while it acts for no user; for users, their own policies apply.';

-- Columns of a private table, such as the algorithm of a password beside its hash.
create or replace procedure compat.read_private(system text, source regclass, user_column name, variadic columns name[])
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_policy constant text := format('compat_%s_select', read_private.system);
begin
  execute format('drop policy if exists %I on %s', v_policy, read_private.source);
  execute format(
    'create policy %I on %s for select to :PLINTH_COMPAT
     using ((select compat.reads_all()) or %I = (select nullif(current_setting(''jwt.claims.user_id'', true), '''')::uuid))',
    v_policy, read_private.source, read_private.user_column
  );
  execute format(
    'comment on policy %I on %s is %L',
    v_policy, read_private.source, format('The views of compat_%s read all rows or the user''s own.', read_private.system)
  );
  execute format(
    'grant select (%s) on %s to :PLINTH_COMPAT',
    (select string_agg(quote_ident(c.name), ', ') from unnest(read_private.columns) c (name)), read_private.source
  );
end
$$;

comment on procedure compat.read_private(text, regclass, name, name[]) is
  'Lets the views of a system read columns of a private table that are no secrets; users see their own rows.';

create or replace function compat.sources()
  returns table (source oid)
  language sql
  stable
  set search_path = pg_catalog
as $$
  with recursive used (oid) as (
    select c.oid
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname ~ '^compat_' and c.relkind = 'v'
    union
    select d.refobjid
    from used u
    join pg_rewrite r on r.ev_class = u.oid
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
  )
  select u.oid
  from used u
  join pg_class c on c.oid = u.oid
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname !~ '^compat_'
$$;

comment on function compat.sources() is 'Returns the tables that the views of all compatibility schemas read.';

-- Runs after each change of a compatibility schema: views get their owner, the tables that they read their policies, and what no
-- view needs any more is taken away.
create or replace procedure compat.publish()
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_this record;
begin
  for v_this in
    select n.nspname as schema, c.relname as name
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    -- Those of another system have been published already.
    where n.nspname ~ '^compat_' and c.relkind = 'v' and c.relowner <> ':PLINTH_COMPAT'::regrole
  loop
    execute format('grant usage, create on schema %I to :PLINTH_COMPAT', v_this.schema);
    execute format('grant usage on schema %I to :PLINTH_APPLICATION, :PLINTH_USER, :PLINTH_ANALYST', v_this.schema);
    execute format(
      'grant select on %I.%I to :PLINTH_APPLICATION, :PLINTH_USER, :PLINTH_ANALYST', v_this.schema, v_this.name
    );
    execute format('alter view %I.%I owner to :PLINTH_COMPAT', v_this.schema, v_this.name);
    execute format('revoke create on schema %I from :PLINTH_COMPAT', v_this.schema);
  end loop;

  -- A view of the owner would read past the policies of its tables.
  for v_this in
    select s.source::regclass as name
    from compat.sources() s
    join pg_class c on c.oid = s.source
    where c.relkind not in ('r', 'p') or not c.relrowsecurity
  loop
    raise exception 'A compatibility view reads %, which has no policies.', v_this.name;
  end loop;

  for v_this in
    select p.polrelid::regclass as source, p.polname as name
    from pg_policy p
    where p.polname = 'compat_read' and p.polrelid not in (select s.source from compat.sources() s)
      or p.polname ~ '^compat_[a-z_]+_select$' and to_regnamespace(regexp_replace(p.polname, '_select$', '')) is null
  loop
    execute format('drop policy %I on %s', v_this.name, v_this.source);
    if not exists (
      select from pg_policy p where p.polrelid = v_this.source and p.polname ~ '^compat_([a-z_]+_select|read)$'
    ) then
      execute format('revoke select on %s from :PLINTH_COMPAT, :PLINTH_APPLICATION', v_this.source);
    end if;
  end loop;

  -- Systems may write different columns of a table, so that all grants are given anew.
  for v_this in
    select
      p.polrelid::regclass as source,
      p.polname as name,
      (array['insert', 'update', 'delete'])[strpos('awd', p.polcmd::text)] as command
    from pg_policy p
    where p.polname ~ '^compat_[a-z_]+_(insert|update|delete)$'
  loop
    execute format('drop policy %I on %s', v_this.name, v_this.source);
    execute format('revoke %s on %s from :PLINTH_APPLICATION', v_this.command, v_this.source);
  end loop;
  for v_this in
    select n.nspname as schema
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    where n.nspname ~ '^compat_' and p.proname = 'let_application'
  loop
    execute format('revoke execute on all routines in schema %I from public', v_this.schema);
    execute format('call %I.let_application()', v_this.schema);
  end loop;

  for v_this in
    select s.source::regclass as name
    from compat.sources() s
    join pg_class c on c.oid = s.source
    where c.relnamespace <> 'private'::regnamespace
  loop
    execute format('drop policy if exists compat_read on %s', v_this.name);
    execute format(
      'create policy compat_read on %s for select to %s',
      v_this.name,
      -- In a view, a number is beside its row, whose policies decide.
      case
        when v_this.name = 'plinth.external_ids'::regclass then ':PLINTH_COMPAT using (true)'
        else ':PLINTH_COMPAT, :PLINTH_APPLICATION using ((select compat.reads_all()))'
      end
    );
    execute format(
      'comment on policy compat_read on %s is %L',
      v_this.name, 'Compatibility views read all rows for analysts, and for the application while it acts for no user.'
    );
    execute format('grant select on %s to :PLINTH_COMPAT', v_this.name);
  end loop;

  -- Policies call functions as the caller. The functions of the analysts' own views stay theirs.
  for v_this in
    select
      f.oid::regprocedure as name,
      bool_or(p.polrelid in (select s.source from compat.sources() s)) as is_used
    from pg_policy p
    join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refclassid = 'pg_proc'::regclass
    join pg_proc f on f.oid = d.refobjid
    where f.pronamespace not in ('pg_catalog'::regnamespace, 'compat'::regnamespace)
      and p.polroles && array[':PLINTH_USER'::regrole::oid, ':PLINTH_COMPAT'::regrole::oid]
      and not exists (
        select
        from pg_depend w
        join pg_rewrite r on r.oid = w.objid
        join pg_class c on c.oid = r.ev_class
        where w.classid = 'pg_rewrite'::regclass
          and w.refclassid = 'pg_proc'::regclass
          and w.refobjid = f.oid
          and c.relnamespace = 'analytics'::regnamespace
      )
    group by f.oid
  loop
    execute format(
      case
        when v_this.is_used then 'grant execute on function %s to :PLINTH_ANALYST'
        else 'revoke execute on function %s from :PLINTH_ANALYST'
      end,
      v_this.name
    );
  end loop;
end
$$;

comment on procedure compat.publish() is
  'Brings owners, grants and policies in line with the views of all compatibility schemas.';

-- Rows of plinth.external_ids stay: a system that is enabled again has the same numbers, apart from those that an import has taken over.
create or replace procedure compat.withdraw(system text)
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_this record;
begin
  execute format('drop schema if exists %I cascade', 'compat_' || withdraw.system);
  for v_this in
    select t.tgrelid::regclass as source, t.tgname as name
    from pg_trigger t
    where t.tgfoid in ('compat.number_new_rows'::regproc, 'compat.forget_numbers'::regproc)
      and starts_with(t.tgname, format('_850_%s_', withdraw.system))
      and t.tgparentid = 0
  loop
    execute format('drop trigger %I on %s', v_this.name, v_this.source);
  end loop;
  for v_this in
    select c.oid::regclass as name
    from pg_class c
    where c.relnamespace = 'compat'::regnamespace and c.relkind = 'S' and starts_with(c.relname, withdraw.system || '_')
  loop
    execute format('drop sequence %s', v_this.name);
  end loop;
end
$$;

comment on procedure compat.withdraw(text) is 'Drops the schema, the triggers and the sequences of a system.';

revoke execute on all routines in schema compat from public;
