import pg from "pg";
import { PLINTH_HISTORY } from "../history.ts";

/** A statement of an uninstall with an upper estimate of the locks that it takes. */
export interface Step {
  readonly sql: string;
  readonly locks: number;
}

/**
 * Returns the statements that drop the schemas, children first: a transaction holds a lock for each relation, constraint, function
 * and so on that it drops, and the server has room for a limited number of them.
 */
export async function dropSteps(
  client: pg.ClientBase,
  schemas: readonly { name: string; oid: string }[],
): Promise<Step[]> {
  // The record of the uninstall stays to the end.
  const emptied = schemas.filter(({ name }) => name !== PLINTH_HISTORY).map(({ oid }) => oid);
  const { rows } = await client.query<Step>(
    `select format('drop table if exists %s cascade', c.oid::regclass) as sql, (10 + 4 * count(d.objid))::integer as locks
     from pg_class c
     left join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid
     where c.relnamespace = any ($1::oid[]) and c.relkind in ('r', 'p')
     group by c.oid
     order by c.relispartition desc, c.relkind desc, c.oid`,
    [emptied],
  );
  const functions = await client.query<Step>(
    `select format('drop routine if exists %s cascade', p.oid::regprocedure) as sql, 4 as locks
     from pg_proc p
     where p.pronamespace = any ($1::oid[])
       and p.prokind <> 'a'
       and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
     order by p.oid`,
    [emptied],
  );
  const { rows: members } = await client.query<{ schema: string; locks: number }>(
    `select e.extnamespace::text as schema, count(*)::integer as locks
     from pg_extension e
     join pg_depend d on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e'
     group by 1`,
  );
  return [
    ...rows,
    ...functions.rows,
    ...schemas.map(({ name, oid }) => ({
      sql: `drop schema if exists ${pg.escapeIdentifier(name)} cascade`,
      locks: 50 + (members.find(({ schema }) => schema === oid)?.locks ?? 0),
    })),
  ];
}

/** Packs the steps, in order, into as few transactions as the number of locks allows. */
export function packSteps(steps: readonly Step[], maxLocks: number): string[][] {
  const batches: string[][] = [];
  let free = 0;
  for (const { sql, locks } of steps) {
    if (batches.length === 0 || locks > free) {
      batches.push([]);
      free = maxLocks;
    }
    batches.at(-1)!.push(sql);
    free -= locks;
  }
  return batches;
}

/** A third of the server's table of locks, so that other sessions have enough of them. */
export async function lockBudget(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ locks: number }>(
    `select (current_setting('max_locks_per_transaction')::integer
       * (current_setting('max_connections')::integer + current_setting('max_prepared_transactions')::integer) / 3) as locks`,
  );
  return rows[0]!.locks;
}
