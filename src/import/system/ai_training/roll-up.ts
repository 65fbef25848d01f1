import type { Call } from "../mapping.ts";

/**
 * Has the day of a row summed again: the figures of past days are computed once, and later only from rows that are new.
 * Its values are {time}.
 */
export const ROLL_UP_DAY: Call = {
  sql: `with r as (
      select (e ->> 'n')::integer as n, (e -> 'values' ->> 'time')::timestamptz as time from jsonb_array_elements($1) e
    ), added as (
      insert into private.days_to_roll_up (day)
      select distinct (r.time at time zone 'UTC')::date from r where r.time between '2000-01-01' and now()
    )
    select r.n from r`,
};
