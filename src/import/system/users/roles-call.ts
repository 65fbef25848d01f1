import type { Call } from "../mapping.ts";

const ITEMS = `jsonb_to_recordset($1) e (n integer, row_id uuid, "values" jsonb)
  cross join lateral jsonb_to_record(e."values") v (user_id uuid, role_ids uuid[], granted_at timestamptz)`;

/** The roles of an account: {user_id, role_ids, granted_at}. */
export const rolesCall: Call = {
  sql: `with granted as (
      insert into access.user_roles (user_id, role_id, granted_at)
      select v.user_id, r.id, coalesce(v.granted_at, now())
      from ${ITEMS} cross join lateral unnest(v.role_ids) r (id)
      on conflict on constraint user_roles_pkey do nothing
    )
    select e.n from ${ITEMS}`,
  check: `select distinct e.n from ${ITEMS} cross join lateral unnest(v.role_ids) r (id)
    where not exists (select from access.user_roles u where u.user_id = v.user_id and u.role_id = r.id)`,
};
