create view compat_cedrina.casbin_rules as
select
  r.id::integer as id,
  r.ptype,
  case when (select compat.reads_personal_data()) then r.v0 end as v0,
  case when (select compat.reads_personal_data()) then r.v1 end as v1,
  case when (select compat.reads_personal_data()) then r.v2 end as v2,
  case when (select compat.reads_personal_data()) then r.v3 end as v3,
  case when (select compat.reads_personal_data()) then r.v4 end as v4,
  case when (select compat.reads_personal_data()) then r.v5 end as v5,
  r.created_at,
  r.updated_at,
  case when (select compat.reads_personal_data()) then r.created_by end as created_by,
  case when (select compat.reads_personal_data()) then r.updated_by end as updated_by,
  r.is_active
from access.casbin_rules r
where r.model_name = 'default';

comment on view compat_cedrina.casbin_rules is 'Access rules of the model default. Grain: one row per rule.';
comment on column compat_cedrina.casbin_rules.id is 'Number of the rule; rules of equal priority apply in this order.';
comment on column compat_cedrina.casbin_rules.ptype is 'Type of the rule: p for policies, g for roles.';
comment on column compat_cedrina.casbin_rules.v0 is 'First value; null for analysts.';
comment on column compat_cedrina.casbin_rules.v1 is 'Second value; null for analysts.';
comment on column compat_cedrina.casbin_rules.v2 is 'Third value; null for analysts.';
comment on column compat_cedrina.casbin_rules.v3 is 'Fourth value; null for analysts.';
comment on column compat_cedrina.casbin_rules.v4 is 'Fifth value; null for analysts.';
comment on column compat_cedrina.casbin_rules.v5 is 'Sixth value; null for analysts.';
comment on column compat_cedrina.casbin_rules.created_at is 'Time when the rule was created.';
comment on column compat_cedrina.casbin_rules.updated_at is 'Time of the last change.';
comment on column compat_cedrina.casbin_rules.created_by is 'Author of the rule; null for analysts.';
comment on column compat_cedrina.casbin_rules.updated_by is 'Author of the last change; null for analysts.';
comment on column compat_cedrina.casbin_rules.is_active is 'Whether the rule applies.';

-- The table's own triggers check each rule against the model and write its version.
create function compat_cedrina.write_casbin_rules()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id bigint;
begin
  if tg_op = 'DELETE' then
    delete from access.casbin_rules r where r.id = old.id;
    return case when found then old end;
  elsif tg_op = 'INSERT' and new.id is null then
    insert into access.casbin_rules as r (ptype, v0, v1, v2, v3, v4, v5, is_active)
    values (new.ptype, new.v0, new.v1, new.v2, new.v3, new.v4, new.v5, coalesce(new.is_active, true))
    returning r.id into v_id;
  elsif tg_op = 'INSERT' then
    insert into access.casbin_rules as r (id, ptype, v0, v1, v2, v3, v4, v5, is_active)
    values (new.id, new.ptype, new.v0, new.v1, new.v2, new.v3, new.v4, new.v5, coalesce(new.is_active, true))
    returning r.id into v_id;
  else
    update access.casbin_rules r
    set
      ptype = new.ptype, v0 = new.v0, v1 = new.v1, v2 = new.v2, v3 = new.v3, v4 = new.v4, v5 = new.v5, is_active = new.is_active
    where r.id = old.id
    returning r.id into v_id;
  end if;
  select v.* into new from compat_cedrina.casbin_rules v where v.id = v_id;
  return new;
end
$$;

comment on function compat_cedrina.write_casbin_rules() is
  'Trigger: writes rules of the model default. PL422 for a rule that the model does not allow; 23503 before plinth access import has stored a model.';

call compat.write_through('cedrina', 'casbin_rules', 'insert or update or delete');

grant insert, update (ptype, v0, v1, v2, v3, v4, v5, updated_at, updated_by, is_active), delete
  on compat_cedrina.casbin_rules to :PLINTH_APPLICATION;
