import type { Call } from "../mapping.ts";

const ITEMS = `jsonb_to_recordset($1) e (n integer, "values" jsonb)
  cross join lateral jsonb_to_record(e."values") v (created_at timestamptz)`;

/** Lets analytics count the days of imported messages again, as private.import_messages does. */
export const RECOUNT_DAYS: Call = {
  sql: `
    with days as (
      select distinct (v.created_at at time zone 'UTC')::date as day from ${ITEMS}
    ),
    added as (
      insert into private.days_to_roll_up (day)
      select d.day
      from days d
      where d.day between '2000-01-01' and (now() at time zone 'UTC')::date
        and not exists (select from private.days_to_roll_up o where o.day = d.day)
    )
    select e.n from ${ITEMS}`,
};
