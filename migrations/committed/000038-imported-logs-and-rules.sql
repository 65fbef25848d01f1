--! Previous: sha1:467af3986c2da8c438beb74c4dbdae3cf9542413
--! Hash: sha1:7ba9f1f63027ee07932027a135e3c5f488639a88
--! Message: imported logs and rules

-- Imported audit logs and access rules.
--! Included security/private/audit_import_id.sql
create or replace function private.audit_import_id(at timestamptz)
  returns uuid
  language sql
  immutable
  strict
  set search_path = pg_catalog
as $$
  select encode(
    substr(sha256('audit log import '::bytea || int8send((extract(epoch from audit_import_id.at) * 1000000)::bigint)), 1, 16), 'hex'
  )::uuid
$$;

comment on function private.audit_import_id(timestamptz) is
  'Returns the id of the event that announces the imported rows of a transaction, made from the transaction''s time.';
--! EndIncluded security/private/audit_import_id.sql
--! Included security/private/announce_audit_import.sql
-- Rows of another system's log say another time than that of their transaction, as backdated ones do. This event shows that an import
-- wrote them. Its id follows from the time, so that its commitment, which stays for ever, is enough to know it by: an archive takes
-- the event itself away.
create or replace function private.announce_audit_import(system text)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  insert into security.security_audit_log
    (id, event_type, event_data, severity, source, actor_kind, acting_role, job_name, migration, has_ignored_claims)
  select
    private.audit_import_id(now()), 'audit_log_imported', jsonb_build_object('system', announce_audit_import.system), 'warning',
    session_user, a.actor_kind, a.acting_role, a.job_name, a.migration, a.has_ignored_claims
  from private.audit_actor() a
  on conflict do nothing
$$;

comment on function private.announce_audit_import(text) is
  'Adds the event audit_log_imported, so that rows of the same transaction may say earlier times. For the import of another system''s log.';
--! EndIncluded security/private/announce_audit_import.sql
--! Included access/private/casbin_rbac_model.sql
create or replace function private.casbin_rbac_model()
  returns text
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select E'[request_definition]\nr = sub, obj, act\n\n[policy_definition]\np = sub, obj, act\n\n[role_definition]\ng = _, _\n\n'
    || E'[policy_effect]\ne = some(where (p.eft == allow))\n\n'
    || E'[matchers]\nm = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act\n'
$$;

comment on function private.casbin_rbac_model() is 'Returns the text of Casbin''s own model of roles (rbac_model.conf).';
--! EndIncluded access/private/casbin_rbac_model.sql
--! Included access/private/casbin_row_id.sql
create or replace function private.casbin_row_id(id bigint)
  returns uuid
  language sql
  immutable
  strict
  parallel safe
  set search_path = pg_catalog
as $$
  select ('00000000-0000-8000-8000-' || lpad(to_hex(casbin_row_id.id), 12, '0'))::uuid
$$;

comment on function private.casbin_row_id(bigint) is 'Returns the id of an access rule in plinth.external_ids, made from its number.';
--! EndIncluded access/private/casbin_row_id.sql
--! Included access/private/import_casbin_rules.sql
-- Rules of another system, as one version: with their times and authors, the inactive ones too, and with their numbers where those
-- are free. Without a model they get Casbin's own one of roles. The table's trigger checks them.
create or replace function private.import_casbin_rules(system text, rules jsonb)
  returns table (n integer, row_id uuid)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_sequence constant regclass := pg_get_serial_sequence('access.casbin_rules', 'id');
  v_last bigint;
begin
  perform private.casbin_open_version(format('Import of %s.', system));
  insert into access.casbin_models (definition) values (private.casbin_rbac_model()) on conflict do nothing;
  select max(r.id) into v_last
  from (
    select r.id from access.casbin_rules r
    union all
    select (i."values" ->> 'id')::bigint from jsonb_to_recordset(import_casbin_rules.rules) i (n integer, "values" jsonb)
  ) r;
  perform setval(v_sequence, greatest(v_last, nextval(v_sequence)));

  return query
  with given as materialized (
    select
      i.n,
      case when exists (select from access.casbin_rules t where t.id = p.id) then nextval(v_sequence) else p.id end as new_id,
      p.*
    from jsonb_to_recordset(import_casbin_rules.rules) i (n integer, "values" jsonb)
    cross join lateral jsonb_populate_record(null::access.casbin_rules, i."values") p
  ),
  added as (
    insert into access.casbin_rules
      (id, ptype, v0, v1, v2, v3, v4, v5, created_at, updated_at, created_by, updated_by, is_active)
    select
      g.new_id, g.ptype, g.v0, g.v1, g.v2, g.v3, g.v4, g.v5, g.created_at, g.updated_at, g.created_by, g.updated_by, g.is_active
    from given g
    order by g.n
  )
  select g.n, private.casbin_row_id(g.new_id) from given g;
  perform set_config('plinth.casbin_version', '', true);
end
$$;

comment on function private.import_casbin_rules(text, jsonb) is
  'Adds rules of another system to the model default; returns the place of each with its id in plinth.external_ids. PL422 for a rule outside the grammar.';
--! EndIncluded access/private/import_casbin_rules.sql
