import type pg from "pg";
import { HAS_TAG, OTHER_SCHEMAS, OWN_TABLES, USERS } from "./user-data-gaps.ts";

export const CLASSES = ["none", "pseudonym", "contact", "content", "credential", "financial"] as const;

/**
 * Returns a line for each table of an application that names users, or has a class, and has columns without one. Any role may ask.
 */
export async function findUnclassifiedColumns(client: pg.ClientBase): Promise<readonly string[]> {
  const { rows } = await client.query<{ line: string }>(QUERY, [OTHER_SCHEMAS]);
  return rows.map(({ line }) => line);
}

const COMMENT = "col_description(o.oid, a.attnum)";

const QUERY = `
  with ${OWN_TABLES},
  examined as (
    select
      o.name, a.attname, a.attnum,
      case
        when not ${HAS_TAG("personalData", COMMENT)} then 'missing'
        when ${COMMENT} !~ '(?n)^@personalData[ \\t]+(${CLASSES.join("|")})\\M' then 'unknown'
      end as fault
    from own o
    join pg_attribute a on a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped
    where exists (
      select from pg_attribute u
      where u.attrelid = o.oid and u.attnum > 0 and not u.attisdropped
        and (
          u.atttypid = 'uuid'::regtype and u.attname = 'user_id'
          or ${HAS_TAG("userId", "col_description(o.oid, u.attnum)")}
          or ${HAS_TAG("personalData", "col_description(o.oid, u.attnum)")}
          or exists (
            select from pg_constraint k
            where k.conrelid = o.oid and k.contype = 'f' and k.confrelid = ${USERS} and u.attnum = any (k.conkey)
          )
        )
    )
  )
  select concat_ws(
    '; ',
    name || ': ' || string_agg(attname, ', ' order by attnum) filter (where fault = 'missing'),
    name || ' (unknown class): ' || string_agg(attname, ', ' order by attnum) filter (where fault = 'unknown')
  ) as line
  from examined
  where fault is not null
  group by name
  order by name collate "C"`;
