import pg from "pg";
import { PlinthError } from "../support/errors.ts";
import { onKey, writtenStates } from "./classify.ts";
import { id, type Stage } from "./staging.ts";

/** The audit trail is the only trigger that runs: the others send mail, count usage, announce changes and compute columns. */
const TRIGGERS = `
  select format('%I.%I', n.nspname, c.relname) as table, t.tgname as trigger, t.tgenabled as state
  from pg_trigger t
  join pg_class c on c.oid = t.tgrelid
  join pg_namespace n on n.oid = c.relnamespace
  where not t.tgisinternal and t.tgenabled in ('O', 'A') and not c.relispartition
    and format('%I.%I', n.nspname, c.relname) = any ($1)
    and t.tgfoid <> 'private.record_data_change()'::regprocedure
  order by 1, 2`;

/**
 * Locks the tables against writers, disables their triggers and returns a function that enables them. Both belong to the transaction:
 * other sessions never run without triggers, and a killed restore leaves them as they were.
 */
export async function disableTriggers(
  live: pg.Client,
  tables: readonly string[],
): Promise<() => Promise<void>> {
  for (const table of [...tables].sort()) await live.query(`lock table ${table} in share row exclusive mode`);
  const { rows } = await live.query<{ table: string; trigger: string; state: string }>(TRIGGERS, [tables]);
  for (const { table, trigger } of rows)
    await live.query(`alter table ${table} disable trigger ${id(trigger)}`);
  return async () => {
    await live.query("set constraints all immediate");
    for (const { table, trigger, state } of rows)
      await live.query(`alter table ${table} enable ${state === "A" ? "always " : ""}trigger ${id(trigger)}`);
  };
}

/**
 * Writes the staged rows with their old keys. It is one statement, so that foreign keys are checked after all tables: rows of
 * two tables can refer to each other.
 */
export async function writeRows(
  live: pg.Client,
  stages: ReadonlyMap<string, Stage>,
  overwrite: boolean,
): Promise<void> {
  const parts = [...stages.values()].flatMap(({ table, name }, at) => {
    const columns = table.columns.map((column) => id(column.name)).join(", ");
    const updated = table.columns.filter((column) => !column.isFixed && !table.key.includes(column.name));
    const insert = `i${at} as (
      insert into ${table.name} (${columns}) overriding system value
      select ${columns} from ${name} s where s."plinth:state" = 'missing'
    )`;
    if (updated.length === 0) return [insert];
    const set = updated.map((column) => `${id(column.name)} = s.${id(column.name)}`).join(", ");
    const states = writtenStates(overwrite).filter((state) => state !== "missing");
    return [
      insert,
      `u${at} as (
        update ${table.name} l set ${set} from ${name} s
        where ${onKey(table)} and s."plinth:state" in (${states.map((state) => pg.escapeLiteral(state)).join(", ")})
      )`,
    ];
  });
  await live.query(`with ${parts.join(",\n")} select`).catch((error) => {
    throw explain(error);
  });
  for (const { table } of stages.values())
    for (const column of table.identities) await advanceSequence(live, table.name, column);
}

async function advanceSequence(live: pg.Client, table: string, column: string): Promise<void> {
  await live.query(
    `select setval(s.name, m.highest)
     from (select pg_get_serial_sequence($1, $2) as name) s,
       (select max(${id(column)}) as highest from ${table}) m
     where m.highest > coalesce(pg_sequence_last_value(s.name::regclass), 0)`,
    [table, column],
  );
}

function explain(error: unknown): unknown {
  const { code, detail, schema, table, constraint } = error as pg.DatabaseError;
  const place = [schema, table].filter(Boolean).join(".");
  const fail = (message: string, hint: string) =>
    new PlinthError("RESTORE_CONFLICT", `${message} Nothing was restored.`, { hint, cause: error });
  if (code === "23505")
    return fail(
      `A new row of ${place} has a value that must be unique (${constraint}): ${detail}`,
      "Rename or delete the new row, then run the command again.",
    );
  if (code === "23503")
    return fail(`A row that ${place} needs was deleted meanwhile: ${detail}`, "Run the command again.");
  // Any other rule that a row violates is a constraint with a name.
  if (code === "23514" && constraint === undefined)
    return fail(
      `${place} has no partition for the time of a row.`,
      "If its month was archived, attach it first: plinth archive attach.",
    );
  return error;
}
