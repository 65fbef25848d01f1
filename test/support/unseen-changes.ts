import pg from "pg";
import { emailHasherOn } from "../../src/auth/email-storage.ts";
import { createShapes, type TableShape } from "../../src/import/system/catalogue.ts";
import { isCall, mapRows } from "../../src/import/system/import-batch.ts";
import type {
  AnyStep,
  Context,
  Pending,
  Row,
  SystemMapping,
  Target,
} from "../../src/import/system/mapping.ts";
import { readRows } from "../../src/import/system/read-rows.ts";
import { resolved, resolverOf } from "../../src/import/system/references.ts";
import type { Source } from "../../src/import/system/sources/source.ts";
import { withSpellings } from "../../src/import/system/sources/spellings.ts";
import { verifyBatch } from "../../src/import/system/verify-batch.ts";
import { MASTER_KEYS } from "./api.ts";
import type { TestDatabase } from "./database.ts";

/** Another value of a column, by its type. */
const CHANGES: Readonly<Record<string, readonly string[]>> = {
  text: ["coalesce(c, '') || 'x'", "'x'", "null"],
  integer: ["coalesce(c, 0) + 1", "null"],
  bigint: ["coalesce(c, 0) + 1", "null"],
  numeric: ["coalesce(c, 0) + 1", "null"],
  boolean: ["not coalesce(c, false)"],
  jsonb: [`'{"changed": true}'`, "'[]'", "null"],
  uuid: ["gen_random_uuid()", "null"],
  bytea: ["sha256(coalesce(c, ''))", "null"],
  inet: ["inet '203.0.113.9'"],
  date: ["coalesce(c, current_date) + 1"],
  "timestamp with time zone": [
    "coalesce(c, now()) + interval '1 second'",
    "coalesce(c, now()) - interval '1 second'",
    "null",
  ],
};

export interface Seen {
  /** "step table.column" whose change the verification does not find. */
  readonly unseen: readonly string[];
  /** "step table" of targets of which no row could be changed, because none was imported or equals its source. */
  readonly untested: readonly string[];
}

/**
 * Changes each column that an import wrote, one at a time, in one row of each target, and asks the verification, then deletes the row.
 * `salt` and `hasHasher` are those of the import. Triggers are off, so that each change stands alone. Everything is rolled back.
 */
export async function unseenChanges(
  db: TestDatabase,
  opened: Source,
  mapping: SystemMapping,
  { hasHasher = false, salt = {} }: { hasHasher?: boolean; salt?: Context["salt"] } = {},
): Promise<Seen> {
  const source = withSpellings(opened, mapping.spellings);
  const client = new pg.Client(db.adminUrl);
  await client.connect();
  try {
    await client.query("begin; set local session_replication_role = replica; set local timezone = 'UTC'");
    const context: Context = {
      client,
      system: mapping.system,
      emailHasher: hasHasher ? emailHasherOn(client, MASTER_KEYS) : undefined,
      privacyMode: false,
      salt,
    };
    const unseen: string[] = [];
    const untested = new Set<string>();
    for (const step of mapping.steps) await changeStep(step);
    return { unseen, untested: [...untested] };

    async function changeStep(step: AnyStep): Promise<void> {
      const options = { step, context, shapeOf: createShapes(client) };
      const pending = await importedRows(source, step, client, mapping.system);
      for (const [place, target] of step.targets.entries()) {
        if (isCall(target)) continue;
        const name = `${step.relation} ${target.table}`;
        untested.add(name);
        for (const row of pending) {
          const shape = await options.shapeOf(target.table);
          const values = await valuesOf(row, step, context, place, shape);
          if (values === undefined || (await notices(row))) continue;
          untested.delete(name);
          await changeRow(row, target, shape, values);
          break;
        }
      }

      async function changeRow(
        row: Pending<Row>,
        target: Target,
        shape: TableShape,
        values: Readonly<Record<string, unknown>>,
      ): Promise<void> {
        const where = shape.primaryKey.map((column, n) => `t."${column}" = $${n + 1}`).join(" and ");
        const key = shape.primaryKey.map((column) => String(values[column]));
        const attempts = Object.keys(values)
          .filter((column) => !shape.primaryKey.includes(column) && !target.unverified?.includes(column))
          .map((column) => ({ column, name: `${step.relation} ${target.table}.${column}` }));
        for (const { column, name } of attempts)
          if ((await change(target.table, column, where, key, row)) === false) unseen.push(name);
        await client.query("savepoint change");
        const { rowCount } = await client.query(`delete from ${target.table} t where ${where}`, key);
        if (rowCount !== 1 || !(await notices(row))) unseen.push(`${step.relation} ${target.table}`);
        await client.query("rollback to savepoint change");
      }

      /** @returns whether the change was noticed; undefined if the table allows no other value */
      async function change(
        table: string,
        column: string,
        where: string,
        key: readonly string[],
        row: Pending<Row>,
      ): Promise<boolean | undefined> {
        const { rows } = await client.query<{ type: string }>(
          "select format_type(a.atttypid, null) as type from pg_attribute a where a.attrelid = $1::regclass and a.attname = $2",
          [table, column],
        );
        for (const to of CHANGES[rows[0]!.type] ?? ["null"]) {
          await client.query("savepoint change");
          try {
            const value = to.replace(/\bc\b/, `t."${column}"`);
            const { rowCount } = await client.query(
              `update ${table} t set "${column}" = ${value} where ${where} and t."${column}" is distinct from ${value}`,
              [...key],
            );
            if (rowCount === 1) return await notices(row, column);
          } catch (error) {
            if (!/^23/.test((error as pg.DatabaseError).code ?? "")) throw error;
          } finally {
            await client.query("rollback to savepoint change");
          }
        }
        return undefined;
      }

      /** A row that was here before the import is compared, too, but keeps its value. */
      async function notices(row: Pending<Row>, column?: string): Promise<boolean> {
        const { rows } = await verifyBatch([row], options);
        return (
          rows[0]!.difference !== undefined ||
          rows[0]!.losses.some((loss) => loss.column === column && loss.reason.startsWith("the row was here"))
        );
      }
    }
  } finally {
    await client.query("rollback");
    await client.end();
  }
}

async function importedRows(
  source: Source,
  step: AnyStep,
  client: pg.Client,
  system: string,
): Promise<Pending<Row>[]> {
  const { rows } = await client.query<{ external_id: string; row_id: string }>(
    "select external_id, row_id from plinth.external_ids where system = $1 and relation = $2",
    [system, step.relation],
  );
  const ids = new Map(rows.map(({ external_id, row_id }) => [external_id, row_id]));
  const imported: Pending<Row>[] = [];
  for await (const batch of readRows(source, step, 500))
    for (const { key, row, problem } of batch)
      if (problem === undefined && ids.has(key)) imported.push({ key, row, rowId: ids.get(key) });
  return imported;
}

async function valuesOf(
  row: Pending<Row>,
  step: AnyStep,
  context: Context,
  place: number,
  shape: TableShape,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const [mapped] = await mapRows([row], step, context);
  const values = mapped!.values[place];
  if (!values) return undefined;
  const resolve = await resolverOf(context.client, context.system, mapped!.values, new Map());
  const result = resolved(values, resolve);
  if ("omitted" in result) return undefined;
  const key = place === 0 && shape.primaryKey.length === 1 ? { [shape.primaryKey[0]!]: row.rowId } : {};
  return { ...key, ...result.values };
}
