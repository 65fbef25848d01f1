--! Previous: sha1:c7cf0b559e41ca81009154d8153a38880a7c9247
--! Hash: sha1:8841a99afafc558d32f83fe646681c6b7293daa7
--! Message: reads of personal data

-- The log of reads of other people's personal data. One row per person, so that each can ask who has read their data, and an
-- erasure or an export finds them by user_id as in any other log.
create table security.personal_data_reads (
  id uuid not null default plinth.uuid_v7(),
  read_id uuid not null,
  user_id uuid references identity.users on delete set null,
  actor_id uuid references identity.users on delete set null,
  api_token_id uuid,
  actor_roles text[] not null default '{}',
  origin text not null,
  source text not null,
  operation text,
  document_hash text,
  relations text[] not null,
  classes text[] not null default '{}',
  row_count bigint,
  subject_count integer not null,
  reason text,
  ip_address inet,
  user_agent text,
  correlation_id text,
  created_at timestamptz not null default now(),
  primary key (id, created_at),
  constraint personal_data_reads_origin_check check (origin in ('api', 'export', 'command')),
  constraint personal_data_reads_document_hash_check check (document_hash ~ '^[0-9a-f]{64}$'),
  constraint personal_data_reads_row_count_check check (row_count >= 0),
  constraint personal_data_reads_subject_count_check check (subject_count >= 0)
) partition by range (created_at);

alter table security.personal_data_reads enable row level security;

-- The reads of one person's data; also serves the foreign key.
create index personal_data_reads_user_id_created_at_idx on security.personal_data_reads (user_id, created_at);
-- The reads by one administrator; also serves the foreign key.
create index personal_data_reads_actor_id_created_at_idx on security.personal_data_reads (actor_id, created_at);
-- A period of the report.
create index personal_data_reads_created_at_idx on security.personal_data_reads (created_at);

comment on table security.personal_data_reads is
  'One row per read of personal data and person concerned; partitioned by month of created_at. Append-only.';
comment on column security.personal_data_reads.id is 'Id (UUIDv7).';
comment on column security.personal_data_reads.read_id is 'Id of the read, the same for all people whose data it returned.';
comment on column security.personal_data_reads.user_id is
  'The person whose data was read; null if the rows belong to no account, the account was deleted, or the read has more than 1,000 people.';
comment on column security.personal_data_reads.actor_id is 'The account that read; null for commands.';
comment on column security.personal_data_reads.api_token_id is E'@dataExport omit\nAPI token of the request; null without one.';
comment on column security.personal_data_reads.actor_roles is 'Roles of the account that read, at that time.';
comment on column security.personal_data_reads.origin is 'Origin of the read: api, export or command.';
comment on constraint personal_data_reads_origin_check on security.personal_data_reads is
  E'Origin of a read of personal data.\n'
  'api: A request of the API that a permission allowed.\n'
  'export: An export of all data of a person.\n'
  'command: Another command of an operator.';
comment on column security.personal_data_reads.source is 'Database role that read.';
comment on column security.personal_data_reads.operation is 'Name of the GraphQL operation, or the command.';
comment on column security.personal_data_reads.document_hash is 'SHA-256 of the GraphQL document (hex).';
comment on column security.personal_data_reads.relations is 'Tables and views that were read, by schema and name.';
comment on column security.personal_data_reads.classes is 'Classes of personal data in them.';
comment on column security.personal_data_reads.row_count is 'Number of rows of the person; null for an export by its owner.';
comment on column security.personal_data_reads.subject_count is 'Number of people whose data the read returned.';
comment on column security.personal_data_reads.reason is 'Reason that the reader gave.';
comment on column security.personal_data_reads.ip_address is 'IP address of the client; null if the account that read was deleted.';
comment on column security.personal_data_reads.user_agent is
  'User-Agent header of the client; null if the account that read was deleted.';
comment on column security.personal_data_reads.correlation_id is 'Id of the API request, also in its log.';
comment on column security.personal_data_reads.created_at is 'Time of the read; the partition key.';
comment on constraint personal_data_reads_user_id_fkey on security.personal_data_reads is '@behavior -*';
comment on constraint personal_data_reads_actor_id_fkey on security.personal_data_reads is '@behavior -*';

insert into security.column_classes (schema_name, table_name, column_name, class)
select 'security', 'personal_data_reads', unnest(t.columns::text[]), t.class
from (values
  ('none', '{id, read_id, created_at, origin, source, operation, document_hash, relations, classes, row_count, subject_count}'),
  ('pseudonym', '{user_id, actor_id, api_token_id, actor_roles, correlation_id}'),
  ('contact', '{ip_address, user_agent}'),
  ('content', '{reason}')
) t (class, columns);

insert into security.retention_policies (log, kept_for, minimum_kept_for, action, description) values (
  'security.personal_data_reads', '24 months', '12 months', 'archive',
  'Reads of personal data. A person may ask about the last year.'
);

--! Included security/private/personal_data_classes.sql
-- The columns of a view are not classified; those that its tables lend it are found by dependency.
create or replace function private.personal_data_classes(relations text[])
  returns text[]
  language sql
  stable
  set search_path = pg_catalog
as $$
  with recursive parts as (
    select c.oid, c.relkind
    from unnest(relations) r (name)
    join pg_class c on c.oid = to_regclass(r.name)
    union
    select c.oid, c.relkind
    from parts p
    join pg_rewrite w on w.ev_class = p.oid
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass
    join pg_class c on c.oid = d.refobjid
    where p.relkind in ('v', 'm')
  )
  select coalesce(array_agg(distinct d.class order by d.class), '{}')
  from parts p
  join pg_class c on c.oid = p.oid and c.relkind in ('r', 'p')
  join pg_namespace n on n.oid = c.relnamespace
  join security.personal_data d on d.schema_name = n.nspname and d.table_name = c.relname
  where d.class <> 'none'
$$;

comment on function private.personal_data_classes(text[]) is
  'Returns the classes of personal data in tables and views, given by schema and name.';
--! EndIncluded security/private/personal_data_classes.sql
--! Included security/private/record_personal_data_reads.sql
-- The only way into the log of reads. `reads` is a list of {relation, user_id, rows}; rows without a user_id belong to no account.
-- A read of more than 1,000 people names the first 1,000; one more row has the number of the others' rows, so that a read of
-- everybody is one statement of bounded size.
create or replace function private.record_personal_data_reads(
  reads jsonb,
  operation text,
  document_hash text default null,
  origin text default 'api',
  reason text default null
)
  returns uuid
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  with given as (
    select r.relation, u.id as user_id, sum(r.rows) as rows
    from jsonb_to_recordset(reads) r (relation text, user_id uuid, rows bigint)
    -- Of a user who was deleted meanwhile, only the number of rows remains.
    left join identity.users u on u.id = r.user_id
    group by r.relation, u.id
  ), subjects as (
    select
      g.user_id,
      array_agg(g.relation order by g.relation) as relations,
      sum(g.rows) as rows,
      row_number() over (order by g.user_id nulls last) as place,
      count(g.user_id) over () as subject_count
    from given g
    group by g.user_id
  ), kept as (
    select s.user_id, s.relations, s.rows, s.subject_count from subjects s where s.place <= 1000
    union all
    select null, array(select distinct g.relation from given g order by 1), sum(s.rows), max(s.subject_count)
    from subjects s
    where s.place > 1000
    having count(*) > 0
  ), classified as materialized (
    -- Many people's rows are of the same tables.
    select s.relations, private.personal_data_classes(s.relations) as classes
    from (select distinct k.relations from kept k) s
  ), actor as (
    select
      u.id,
      array(
        select r.role_name
        from access.user_roles ur
        join access.roles r on r.id = ur.role_id
        where ur.user_id = u.id and (ur.expires_at is null or ur.expires_at > now())
        order by r.role_name
      ) as roles
    from identity.users u
    where u.id = plinth.current_user_id()
  ), read as (
    select plinth.uuid_v7() as id
  ), recorded as (
    insert into security.personal_data_reads (
      read_id, user_id, actor_id, api_token_id, actor_roles, origin, source, operation, document_hash, relations, classes,
      row_count, subject_count, reason, ip_address, user_agent, correlation_id
    )
    select
      (select r.id from read r),
      k.user_id,
      (select a.id from actor a),
      plinth.current_api_token_id(),
      coalesce((select a.roles from actor a), '{}'),
      record_personal_data_reads.origin,
      session_user,
      left(record_personal_data_reads.operation, 200),
      record_personal_data_reads.document_hash,
      k.relations,
      c.classes,
      k.rows,
      k.subject_count,
      left(record_personal_data_reads.reason, 1000),
      plinth.client_ip(),
      left(plinth.user_agent(), 1000),
      plinth.correlation_id()
    from kept k
    join classified c using (relations)
  )
  select r.id from read r
$$;

comment on function private.record_personal_data_reads(jsonb, text, text, text, text) is
  'Adds one row per person to security.personal_data_reads with the request''s context; returns the id of the read.';
grant execute on function private.record_personal_data_reads(jsonb, text, text, text, text) to :PLINTH_SERVICE;
--! EndIncluded security/private/record_personal_data_reads.sql
--! Included security/private/without_account.sql
-- The rule of erasure, once for each log: the row as it is without an account that it belongs to or that acted in it. The event,
-- its time and its kind stay; person, address, program and data go. Rows in the database and rows in archives follow it. A log
-- without a function of its own follows its foreign keys and the classes of its columns, see private.erase_archived_lines.
create or replace function private.without_account(entry security.login_attempts, account_id uuid)
  returns security.login_attempts
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  entry.user_id := null;
  entry.email := null;
  entry.ip_address := null;
  entry.user_agent := null;
  entry.correlation_id := null;
  return entry;
end
$$;

-- Events about the account lose their data. The address and program of an event belong to the acting person. Those of another
-- person stay, so that deleting an account does not hide what an administrator did to it.
create or replace function private.without_account(entry security.security_audit_log, account_id uuid)
  returns security.security_audit_log
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  if coalesce(entry.actor_id, account_id) = account_id then
    entry.ip_address := null;
    entry.user_agent := null;
    entry.correlation_id := null;
    entry.api_token_id := null;
    entry.session_id := null;
  end if;
  if entry.user_id = account_id then
    entry.event_data := '{}';
    entry.metadata := '{}';
  end if;
  entry.event_data := private.without_id(entry.event_data, account_id);
  entry.user_id := nullif(entry.user_id, account_id);
  entry.actor_id := nullif(entry.actor_id, account_id);
  return entry;
end
$$;

create or replace function private.without_account(entry security.audit_trail, account_id uuid)
  returns security.audit_trail
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  if coalesce(entry.actor_id, account_id) = account_id then
    entry.ip_address := null;
    entry.correlation_id := null;
    entry.api_token_id := null;
    entry.session_id := null;
  end if;
  if entry.user_id = account_id then
    entry.old_values := null;
    entry.new_values := null;
  end if;
  entry.row_key := private.without_id(entry.row_key, account_id);
  entry.old_values := private.without_id(entry.old_values, account_id);
  entry.new_values := private.without_id(entry.new_values, account_id);
  entry.user_id := nullif(entry.user_id, account_id);
  entry.actor_id := nullif(entry.actor_id, account_id);
  return entry;
end
$$;

-- Code and fingerprint stay, so that errors can still be counted.
create or replace function private.without_account(entry security.error_logs, account_id uuid)
  returns security.error_logs
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  entry.user_id := null;
  entry.message := '';
  entry.context := '{}';
  entry.correlation_id := null;
  return entry;
end
$$;

-- Usage is bookkeeping: the amounts stay. A key is the client's own text.
create or replace function private.without_account(entry billing.usage_events, account_id uuid)
  returns billing.usage_events
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  entry.user_id := null;
  entry.idempotency_key := null;
  return entry;
end
$$;

-- See private.without_account of the other logs. A read stays, so that deleting an account does not hide what an administrator
-- read. Address, program and the operation's name, which the client chooses, belong to the reader; the reason is about the person.
create or replace function private.without_account(entry security.personal_data_reads, account_id uuid)
  returns security.personal_data_reads
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  if coalesce(entry.actor_id, account_id) = account_id then
    entry.api_token_id := null;
    entry.operation := case when entry.origin <> 'api' then entry.operation end;
    entry.ip_address := null;
    entry.user_agent := null;
    entry.correlation_id := null;
  end if;
  if entry.user_id = account_id then
    entry.reason := null;
  end if;
  entry.user_id := nullif(entry.user_id, account_id);
  entry.actor_id := nullif(entry.actor_id, account_id);
  return entry;
end
$$;

comment on function private.without_account(security.login_attempts, uuid) is 'Returns a sign-in attempt without the person.';
comment on function private.without_account(security.security_audit_log, uuid) is 'Returns an event of the audit log without an erased account.';
comment on function private.without_account(security.audit_trail, uuid) is 'Returns a change of the audit trail without an erased account.';
comment on function private.without_account(security.error_logs, uuid) is 'Returns an error without an erased account.';
comment on function private.without_account(billing.usage_events, uuid) is 'Returns a use of a model without an erased account.';
comment on function private.without_account(security.personal_data_reads, uuid) is
  'Returns a read of personal data without an erased account as its reader or the person concerned.';
--! EndIncluded security/private/without_account.sql
--! Included security/private/erase_personal_data_reads.sql
create or replace function private.erase_personal_data_reads()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform
  from security.personal_data_reads r
  where r.user_id = old.id or r.actor_id = old.id
  order by r.created_at, r.id
  for update;

  update security.personal_data_reads r
  set (user_id, actor_id, api_token_id, operation, reason, ip_address, user_agent, correlation_id) = (
    select w.user_id, w.actor_id, w.api_token_id, w.operation, w.reason, w.ip_address, w.user_agent, w.correlation_id
    from private.without_account(r, old.id) w
  )
  where r.user_id = old.id or r.actor_id = old.id;
  return old;
end
$$;

comment on function private.erase_personal_data_reads() is
  'Trigger: clears a deleted account from the log of reads of personal data; the reads stay.';
--! EndIncluded security/private/erase_personal_data_reads.sql
--! Included security/triggers/erase_personal_data_reads.sql
-- Before the delete and with the account locked, like the other logs.
create or replace trigger _610_erase_personal_data_reads
  before delete on identity.users
  for each row
  execute function private.erase_personal_data_reads();
--! EndIncluded security/triggers/erase_personal_data_reads.sql
--! Included security/policies/personal_data_reads.sql
-- Auditors read the log; only private.record_personal_data_reads writes it. The person concerned reads
-- security.my_personal_data_reads, which names roles and not people.
revoke all on security.personal_data_reads from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.personal_data_reads to :PLINTH_USER;

drop policy if exists select_auditor on security.personal_data_reads;
create policy select_auditor on security.personal_data_reads
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log')));
comment on policy select_auditor on security.personal_data_reads is 'Users with view_audit_log read the log of reads.';
--! EndIncluded security/policies/personal_data_reads.sql
--! Included security/private/privacy_report.sql
-- The numbers of `plinth privacy report` for the time from period_start to before period_end, one list of rows a section, in the
-- order of the report. States are those of now, because states of the past are not kept; events are those of the period.
create or replace function private.privacy_report(period_start timestamptz, period_end timestamptz)
  returns table (section text, description text, rows json)
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if period_start is null or period_end is null or not period_start < period_end then
    raise exception 'The period must end after it starts.' using errcode = 'PL422';
  end if;

  section := 'accounts';
  description := 'Accounts by their state now, and those created in the period.';
  select coalesce(json_agg(r order by r.state), '[]') into rows
  from (
    select
      u.account_status as state,
      count(*) as accounts,
      count(*) filter (where u.created_at >= period_start and u.created_at < period_end) as created_in_period
    from identity.users u
    group by u.account_status
  ) r;
  return next;

  section := 'dormant_accounts';
  description := 'Active accounts without a sign-in for so many days before the end of the period.';
  select json_agg(r order by r.days_without_sign_in) into rows
  from (
    select d.days as days_without_sign_in, count(u.id) as accounts
    from (values (90), (180), (365)) d (days)
    left join identity.users u
      on u.is_active and coalesce(u.last_login_at, u.created_at) < period_end - make_interval(days => d.days)
    group by d.days
  ) r;
  return next;

  section := 'second_factors';
  description := 'Active accounts with a confirmed second factor now. An account may have several kinds.';
  select json_agg(r order by r.kind) into rows
  from (
    select
      k.kind,
      count(u.id) filter (where k.matches) as accounts,
      round(100.0 * count(u.id) filter (where k.matches) / nullif(count(u.id), 0), 1) as share_percent
    from identity.users u
    cross join lateral (
      select f.kind, exists (
        select from identity.mfa_factors m where m.user_id = u.id and m.kind = f.kind and m.confirmed_at is not null
      )
      from (values ('passkey'), ('totp')) f (kind)
      union all
      select 'any', exists (select from identity.mfa_factors m where m.user_id = u.id and m.confirmed_at is not null)
    ) k (kind, matches)
    where u.is_active
    group by k.kind
  ) r;
  return next;

  section := 'consents';
  description := 'Decisions in the period by purpose and version, and the consents in force at its end.';
  select coalesce(json_agg(r order by r.purpose, r.version), '[]') into rows
  from (
    select
      p.name as purpose,
      p.version,
      count(c.granted_at) filter (where c.decided_at >= period_start) as given,
      count(c.withdrawn_at) filter (where c.decided_at >= period_start) as withdrawn,
      count(c.granted_at) filter (
        where not exists (
          select
          from identity.consents l
          where l.user_id = c.user_id and l.purpose = c.purpose and l.decided_at > c.decided_at and l.decided_at < period_end
        )
      ) as in_force
    from identity.consent_purposes p
    left join identity.consents c on c.purpose = p.name and c.version = p.version and c.decided_at < period_end
    where p.published_at < period_end
    group by p.name, p.version
  ) r;
  return next;

  section := 'retention';
  description := 'How long logs are kept now, and the months that left the database in the period.';
  select coalesce(json_agg(r order by r.log), '[]') into rows
  from (
    select
      p.log,
      p.kept_for::text as kept_for,
      p.action,
      count(*) filter (where a.state in ('archived', 'attached', 'detached')) as months_archived,
      count(*) filter (where a.state = 'dropped') as months_dropped,
      coalesce(sum(a.row_count), 0) as rows
    from security.retention_policies p
    left join security.archives a on a.log = p.log and a.created_at >= period_start and a.created_at < period_end
    group by p.log
  ) r;
  return next;

  section := 'data_exports';
  description := 'Exports of all data of a person in the period.';
  select json_agg(r) into rows
  from (
    select e.kind, count(l.id) as exports, count(distinct l.user_id) as people
    from (
      values
        ('requested by the person', 'data_export_requested'),
        ('downloaded by the person', 'data_export_downloaded'),
        ('written by an operator', 'data_export_written')
    ) e (kind, event_type)
    left join security.security_audit_log l
      on l.event_type = e.event_type and l.created_at >= period_start and l.created_at < period_end
    group by e.kind
    order by e.kind
  ) r;
  return next;

  section := 'erasures';
  description := 'Erased accounts in the period, by the requester, and their certificates.';
  select coalesce(json_agg(r order by r.requested_by), '[]') into rows
  from (
    select c.requested_by, count(*) as erasures, count(c.signed_at) as signed_certificates
    from security.erasure_certificates c
    where c.created_at >= period_start and c.created_at < period_end
    group by c.requested_by
  ) r;
  return next;

  section := 'legal_holds';
  description := 'Legal holds placed and released in the period, and those in force at its end.';
  select json_agg(r) into rows
  from (
    select
      count(*) filter (where h.created_at >= period_start) as placed,
      count(*) filter (where h.released_at >= period_start and h.released_at < period_end) as released,
      count(*) filter (where h.released_at is null or h.released_at >= period_end) as in_force
    from security.legal_holds h
    where h.created_at < period_end
  ) r;
  return next;

  section := 'administrators';
  description := 'Accounts with a role that gives a permission, and the reads of other people''s data that they made in the period.';
  select coalesce(json_agg(r order by r.reads desc, r.account), '[]') into rows
  from (
    select
      coalesce(u.username, 'deleted account') as account,
      array(
        select o.role_name
        from access.user_roles ur
        join access.roles o on o.id = ur.role_id
        where ur.user_id = u.id and (ur.expires_at is null or ur.expires_at > now())
        order by o.role_name
      ) as roles,
      count(distinct d.read_id) as reads,
      count(distinct d.user_id) as people,
      coalesce(sum(d.row_count), 0) as rows,
      max(d.created_at) as last_read_at
    from (
      select ur.user_id as id
      from access.user_roles ur
      join access.role_permissions p on p.role_id = ur.role_id
      where ur.expires_at is null or ur.expires_at > now()
      union
      select s.actor_id
      from security.personal_data_reads s
      where s.origin = 'api' and s.created_at >= period_start and s.created_at < period_end
    ) a
    left join identity.users u on u.id = a.id
    left join security.personal_data_reads d
      on d.actor_id is not distinct from a.id and d.origin = 'api'
      and d.created_at >= period_start and d.created_at < period_end
    group by u.id, u.username
  ) r;
  return next;

  section := 'reads';
  description := 'Reads of other people''s data in the period, by origin and table.';
  select coalesce(json_agg(r order by r.origin, r.relation), '[]') into rows
  from (
    select
      d.origin, t.relation, count(distinct d.read_id) as reads, count(distinct d.user_id) as people
    from security.personal_data_reads d
    cross join unnest(d.relations) t (relation)
    where d.created_at >= period_start and d.created_at < period_end
    group by d.origin, t.relation
  ) r;
  return next;
end
$$;

comment on function private.privacy_report(timestamptz, timestamptz) is
  'Returns the sections of the report on personal data for a period, each with its rows as JSON. PL422 for an empty period.';
--! EndIncluded security/private/privacy_report.sql
--! Included security/views/my_personal_data_reads.sql
-- The reads of the caller's data. It runs with the owner's rights on purpose: row security cannot hide columns, and the reader's
-- name and address are the reader's personal data.
create or replace view security.my_personal_data_reads
  with (security_barrier = true)
as
select
  r.id,
  r.user_id,
  r.created_at,
  r.actor_id is not distinct from r.user_id as is_own,
  r.actor_roles,
  r.origin,
  r.relations,
  r.classes,
  r.row_count
from security.personal_data_reads r
where r.user_id = (select plinth.current_user_id());

comment on view security.my_personal_data_reads is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  '@primaryKey id,created_at\n'
  '@foreignKey (user_id) references identity.users (id)|@fieldName user|@foreignFieldName personalDataReads\n'
  'Reads of the caller''s personal data. Grain: one row per read.';
comment on column security.my_personal_data_reads.id is 'Id (UUIDv7).';
comment on column security.my_personal_data_reads.user_id is 'The person whose data was read: the caller.';
comment on column security.my_personal_data_reads.created_at is 'Time of the read.';
comment on column security.my_personal_data_reads.is_own is 'Whether the caller read the data, as by an export.';
comment on column security.my_personal_data_reads.actor_roles is 'Roles that the reader had; empty for an operator''s command.';
comment on column security.my_personal_data_reads.origin is 'Origin of the read: api, export or command.';
comment on column security.my_personal_data_reads.relations is 'Tables and views that were read.';
comment on column security.my_personal_data_reads.classes is 'Classes of personal data in them.';
comment on column security.my_personal_data_reads.row_count is 'Number of rows; null for an export by the caller.';
revoke all on security.my_personal_data_reads from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.my_personal_data_reads to :PLINTH_USER;
--! EndIncluded security/views/my_personal_data_reads.sql
--! Included identity/private/find_data_export.sql
-- The request's own claims decide the owner of an export, never an argument. An export of another user, a pending one and an
-- expired one all count as missing.
create or replace function private.find_data_export(export_id uuid)
  returns table (size_bytes bigint, part_count integer)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  perform private.refuse_api_token();
  return query
    select
      e.size_bytes,
      (
        select count(*)::integer
        from private.data_export_parts p
        where p.export_id = e.id and p.user_id = e.user_id
      )
    from identity.data_exports e
    where e.id = find_data_export.export_id
      and e.user_id = plinth.current_user_id()
      and e.status = 'ready'
      and e.expires_at > now();
  if not found then
    return;
  end if;
  perform private.record_personal_data_reads(
    (
      select jsonb_agg(jsonb_build_object('relation', t.name, 'user_id', e.user_id))
      from identity.data_exports e
      cross join unnest(e.tables) t (name)
      where e.id = find_data_export.export_id
    ),
    'data export', null, 'export'
  );
  perform private.record_security_event(
    'data_export_downloaded', plinth.current_user_id(), jsonb_build_object('export_id', find_data_export.export_id), 'warning'
  );
end
$$;

comment on function private.find_data_export(uuid) is
  'Returns size and number of parts of a downloadable export of the signed-in user, and records the download as a read; no row otherwise. PL403 with an API token.';
grant execute on function private.find_data_export(uuid) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_data_export.sql
--! Included identity/private/data_export_descriptions.sql
-- The texts for the readable page of an export. Comments begin with smart tags for the API, which mean nothing to a person.
create or replace function private.data_export_descriptions()
  returns table (table_name text, column_name text, description text)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select
    s.table_name,
    a.attname::text,
    nullif(btrim(regexp_replace(coalesce(d.description, ''), '(?n)^@.*$\n?', '', 'g')), '')
  from private.data_export_sources() s
  cross join lateral (
    select null::name as attname, 0 as attnum
    union all
    select a.attname, a.attnum from pg_attribute a where a.attrelid = s.table_oid and a.attnum > 0 and not a.attisdropped
  ) a
  left join pg_description d on d.classoid = 'pg_class'::regclass and d.objoid = s.table_oid and d.objsubid = a.attnum
  order by s.table_name, a.attnum
$$;

comment on function private.data_export_descriptions() is
  'Returns the comments of the tables of exports (without a column) and of their columns, without smart tags.';
grant execute on function private.data_export_descriptions() to :PLINTH_SERVICE;
--! EndIncluded identity/private/data_export_descriptions.sql

select private.ensure_partitions(3);
