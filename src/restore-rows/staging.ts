import pg from "pg";
import { PlinthError } from "../support/errors.ts";
import type { OnProgress } from "../support/progress.ts";
import type { Catalogue, Reference, Table } from "./catalogue.ts";
import { NEVER_RESTORED } from "./exceptions.ts";

/** A temporary table of the live session with rows of the copy, and what is to be done with each. */
export interface Stage {
  readonly table: Table;
  readonly name: string;
}

export interface Root {
  readonly table: string;
  /** A condition in SQL on the rows of the table; null for all. */
  readonly where: string | null;
  readonly values: readonly string[];
  /** Whether rows that belong to the root's rows come too. */
  readonly withOwned: boolean;
}

const BATCH = 1_000;

export const id = (name: string): string => pg.escapeIdentifier(name);

/**
 * Copies the rows in question into temporary tables of the live session: the root, everything that its deletion would delete,
 * and the rows whose reference to it its deletion would clear.
 * @param copy in a transaction, because it reads with cursors
 */
export async function stageRows(
  copy: pg.Client,
  live: pg.Client,
  catalogue: Catalogue,
  root: Root,
  { signal, onProgress }: { signal: AbortSignal; onProgress: OnProgress },
): Promise<ReadonlyMap<string, Stage>> {
  const stages = new Map<string, Stage>();
  let round = 0;
  let read = 0;

  async function stageOf(name: string): Promise<Stage> {
    const existing = stages.get(name);
    if (existing) return existing;
    const table = catalogue.tables.get(name)!;
    if (table.key.length === 0)
      throw new PlinthError(
        "TABLE_WITHOUT_KEY",
        `${name} has no primary key, so its rows cannot be compared.`,
      );
    const stage = { table, name: `restore_${stages.size}` };
    await live.query(
      `create temp table ${stage.name} on commit drop as
         select ${list(table)}, 0 as "plinth:round", true as "plinth:owned", null::text as "plinth:state" from ${name} with no data`,
    );
    await live.query(`create unique index on ${stage.name} (${table.key.map(id).join(", ")})`);
    stages.set(name, stage);
    return stage;
  }

  async function fetchInto(
    stage: Stage,
    condition: string,
    values: unknown[],
    isOwned: boolean,
  ): Promise<void> {
    const { table } = stage;
    const columns = table.columns.map(({ name }) => `t.${id(name)}::text`).join(", ");
    await copy.query(
      `declare rows no scroll cursor for select ${columns} from ${table.name} t where ${condition}`,
      values,
    );
    for (;;) {
      signal.throwIfAborted();
      const { rows } = await copy.query<(string | null)[]>({
        text: `fetch ${BATCH} from rows`,
        rowMode: "array",
      });
      if (rows.length > 0) await insert(live, stage, rows, round, isOwned);
      read += rows.length;
      onProgress({ step: "Reading the copy", done: read, unit: "rows" });
      if (rows.length < BATCH) break;
    }
    await copy.query("close rows");
  }

  async function follow(reference: Reference, parents: Stage, parentRound: number): Promise<void> {
    const isOwned = reference.onDelete === "owned";
    const targets = reference.targetColumns.map((column) => `${id(column)}::text`).join(", ");
    const { rows } = await live.query<string[]>({
      text: `select distinct ${targets} from ${parents.name} where "plinth:round" = $1 and "plinth:owned"`,
      values: [parentRound],
      rowMode: "array",
    });
    const child = catalogue.tables.get(reference.table)!;
    const names = reference.columns.map((column) => `t.${id(column)}`).join(", ");
    const casts = reference.columns.map((column, at) => `x.c${at}::${typeOf(child, column)}`).join(", ");
    const arrays = reference.columns.map((_, at) => `$${at + 1}::text[]`).join(", ");
    const aliases = reference.columns.map((_, at) => `c${at}`).join(", ");
    for (let from = 0; from < rows.length; from += BATCH) {
      const batch = rows.slice(from, from + BATCH);
      await fetchInto(
        await stageOf(reference.table),
        `(${names}) in (select ${casts} from unnest(${arrays}) x (${aliases}))`,
        reference.columns.map((_, at) => batch.map((row) => row[at])),
        isOwned,
      );
    }
  }

  const rootStage = await stageOf(root.table);
  await fetchInto(rootStage, root.where ?? "true", [...root.values], true);
  for (let queue = [{ stage: rootStage, round }]; root.withOwned && queue.length > 0; ) {
    const { stage: parents, round: parentRound } = queue.shift()!;
    for (const reference of catalogue.references) {
      if (reference.target !== parents.table.name || NEVER_RESTORED.has(reference.table)) continue;
      if (reference.onDelete === "blocked") continue;
      round++;
      await follow(reference, parents, parentRound);
      const child = stages.get(reference.table);
      if (child && (await hasOwned(live, child, round))) queue = [...queue, { stage: child, round }];
    }
  }
  return stages;
}

const list = ({ columns }: Table): string => columns.map(({ name }) => id(name)).join(", ");

const typeOf = (table: Table, column: string): string =>
  table.columns.find(({ name }) => name === column)?.type ?? "text";

async function insert(
  live: pg.Client,
  { table, name }: Stage,
  rows: readonly (readonly (string | null)[])[],
  round: number,
  isOwned: boolean,
): Promise<void> {
  const { columns } = table;
  const values = columns.map(({ type }, at) => `x.c${at}::${type}`).join(", ");
  const arrays = columns.map((_, at) => `$${at + 3}::text[]`).join(", ");
  await live.query(
    `insert into ${name} (${list(table)}, "plinth:round", "plinth:owned")
     select ${values}, $1::integer, $2::boolean from unnest(${arrays}) x (${columns.map((_, at) => `c${at}`).join(", ")})
     on conflict (${table.key.map(id).join(", ")}) do update
       set "plinth:owned" = true, "plinth:round" = excluded."plinth:round"
       where excluded."plinth:owned" and not ${name}."plinth:owned"`,
    [round, isOwned, ...columns.map((_, at) => rows.map((row) => row[at]))],
  );
}

async function hasOwned(live: pg.Client, { name }: Stage, round: number): Promise<boolean> {
  const { rowCount } = await live.query(
    `select from ${name} where "plinth:round" = $1 and "plinth:owned" limit 1`,
    [round],
  );
  return rowCount === 1;
}
