import type pg from "pg";
import { compatSchema } from "./systems.ts";

export interface SystemState {
  readonly system: string;
  readonly schema: string;
  readonly isEnabled: boolean;
  readonly views: number;
}

/** The effect of enabling a system. */
export interface SystemChange {
  readonly system: string;
  readonly schema: string;
  readonly views: readonly string[];
  /** Tables whose new rows get a number. */
  readonly numberedTables: readonly string[];
  /** Rows that got one now. */
  readonly numberedRows: number;
}

/** Runs a change and returns its effect. */
export async function readChange(
  client: pg.ClientBase,
  system: string,
  change: () => Promise<void>,
): Promise<SystemChange> {
  const before = await countNumbers(client, system);
  await change();
  const schema = compatSchema(system);
  const { rows } = await client.query<{ views: string[]; tables: string[] }>(
    `select
       array(
         select c.relname::text from pg_class c
         where c.relnamespace = to_regnamespace($1) and c.relkind = 'v'
         order by 1
       ) as views,
       array(
         select distinct t.tgrelid::regclass::text
         from pg_trigger t
         where t.tgfoid = 'compat.number_new_rows'::regproc and starts_with(t.tgname, '_850_' || $2 || '_') and t.tgparentid = 0
         order by 1
       ) as tables`,
    [schema, system],
  );
  const { views, tables } = rows[0]!;
  const numberedRows = (await countNumbers(client, system)) - before;
  return { system, schema, views, numberedTables: tables, numberedRows };
}

async function countNumbers(client: pg.ClientBase, system: string): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    "select count(*)::integer as count from plinth.external_ids x where x.system = $1",
    [system],
  );
  return rows[0]!.count;
}
