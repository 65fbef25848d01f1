import type pg from "pg";
import { withClient } from "../client.ts";
import type { TestDatabase } from "../test-database.ts";
import { type Dice, makeDice } from "./dice.ts";
import { HOSTILE_VALUES } from "./hostile-values.ts";
import { type Column, type Reference, readTables, type Table } from "./tables.ts";

// Multiplies the rows of a seeded database. Copies keep to every constraint, so a copy is a row that the product can
// hold, with values that are hard to write as JSON wherever the constraints let them in.

/** Copies for each table. */
const COPIES = 10;
/** Attempts for each copy; each drops what the last error names. */
const ATTEMPTS = 8;

type Row = Readonly<Record<string, string | null>>;

/** @returns the number of copies by table */
export async function multiplyRows(
  db: TestDatabase,
  schemas: readonly string[],
  seed: number,
): Promise<ReadonlyMap<string, number>> {
  const dice = makeDice(seed);
  return withClient(db.url("owner"), async (client) => {
    const tables = await readTables(client, schemas);
    const rows = new Map<string, Row[]>();
    for (const { name, columns } of tables) rows.set(name, await readRows(client, name, columns));
    const made = new Map<string, number>();
    for (const table of inOrder(tables)) {
      await client.query(`alter table ${table.name} disable trigger user`);
      made.set(table.name, await copyRows(client, table, rows, dice));
      await client.query(`alter table ${table.name} enable trigger user`);
    }
    await client.query("analyze");
    return made;
  });
}

async function readRows(client: pg.Client, table: string, columns: readonly Column[]): Promise<Row[]> {
  const text = `select ${columns.map(({ name }) => `${name}::text`).join(", ")} from ${table} limit 100`;
  const { rows } = await client.query<(string | null)[]>({ text, rowMode: "array" });
  // By names as SQL quotes them.
  return rows.map((row) => Object.fromEntries(columns.map(({ name }, i) => [name, row[i]!])));
}

/** Referenced tables first; circles are cut somewhere. */
function inOrder(tables: readonly Table[]): Table[] {
  const done = new Set<string>();
  const ordered: Table[] = [];
  function add(table: Table): void {
    if (done.has(table.name)) return;
    done.add(table.name);
    for (const { target } of table.references) {
      const referenced = tables.find(({ name }) => name === target);
      if (referenced) add(referenced);
    }
    ordered.push(table);
  }
  for (const table of tables) add(table);
  return ordered;
}

async function copyRows(client: pg.Client, table: Table, rows: Map<string, Row[]>, dice: Dice) {
  const known = rows.get(table.name)!;
  const bases = [...known];
  if (bases.length === 0) return 0;
  let made = 0;
  for (let n = 0; n < COPIES; n++) {
    const row = await copyRow(client, table, bases[n % bases.length]!, rows, dice);
    if (!row) continue;
    known.push(row);
    made++;
  }
  return made;
}

async function copyRow(
  client: pg.Client,
  table: Table,
  base: Row,
  rows: Map<string, Row[]>,
  dice: Dice,
): Promise<Row | undefined> {
  const plan = planCopies(table);
  let changed = new Set(
    table.columns
      .filter(({ name }) => !plan.referring.has(name) && (plan.keys.has(name) || dice.chance(75)))
      .map(({ name }) => name),
  );
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const row: Record<string, string | null> = { ...base };
    for (const column of table.columns) {
      const change = plan.keys.has(column.name) ? anotherKey : hostileValue;
      if (changed.has(column.name)) row[column.name] = change(column, base[column.name]!, dice);
    }
    for (const name of plan.cut) row[name] = null;
    for (const reference of plan.references) {
      // Keys made of references vary with them; references that are there mostly keep the owner.
      const isKey = reference.columns.some((name) => plan.keys.has(name));
      const isEmpty = reference.columns.some((name) => base[name] === null);
      if (dice.chance((isKey && attempt > 0) || (isEmpty && attempt < 4) ? 70 : 15))
        refer(row, reference, rows, dice);
    }
    const error = await tryToInsert(client, table, row);
    if (!error) return row;
    const blamed = blamedColumns(table, error);
    changed = new Set(
      [...changed].filter((name) =>
        blamed ? !blamed.includes(name) : plan.keys.has(name) || dice.chance(50),
      ),
    );
  }
  return undefined;
}

/** How the rows of a table are copied. */
interface CopyPlan {
  readonly keys: ReadonlySet<string>;
  /** References that may choose another row. */
  readonly references: readonly Reference[];
  /** Columns whose values come from a reference. */
  readonly referring: ReadonlySet<string>;
  /** Columns to leave null: a reference from the row's own id, such as to its current version, finds nothing from a new id. */
  readonly cut: readonly string[];
}

function planCopies({ columns, uniques, references }: Table): CopyPlan {
  const ids = new Set(uniques.flatMap((key) => (key.columns.length === 1 ? key.columns : [])));
  const isOfId = (reference: Reference) =>
    reference.columns.length > 1 && reference.columns.some((name) => ids.has(name));
  const others = references.filter((reference) => !isOfId(reference));
  const referring = new Set(others.flatMap((reference) => reference.columns));
  const isNarrower = (one: Reference, other: Reference) =>
    one.columns.length < other.columns.length && one.columns.some((name) => other.columns.includes(name));
  return {
    keys: new Set(uniques.flatMap((key) => key.columns)),
    references: others.filter((one) => !others.some((other) => isNarrower(one, other))),
    referring,
    cut: columns
      .filter(({ name, isNullable }) => isNullable && !referring.has(name))
      .map(({ name }) => name)
      .filter((name) => references.some((one) => isOfId(one) && one.columns.includes(name))),
  };
}

function refer(
  row: Record<string, string | null>,
  { columns, target, targetColumns }: Reference,
  rows: ReadonlyMap<string, readonly Row[]>,
  dice: Dice,
): void {
  const candidates = rows.get(target) ?? [];
  if (candidates.length === 0) return;
  const referenced = dice.pick(candidates);
  for (const [i, name] of columns.entries()) row[name] = referenced[targetColumns[i]!] ?? row[name] ?? null;
}

async function tryToInsert(client: pg.Client, { name, columns }: Table, row: Row) {
  try {
    await client.query(
      `insert into ${name} (${columns.map((column) => column.name).join(", ")})
       values (${columns.map(({ type }, i) => `$${i + 1}::text::${type}`).join(", ")})`,
      columns.map((column) => row[column.name]),
    );
    return undefined;
  } catch (error) {
    return error as pg.DatabaseError;
  }
}

/** The columns that an error names, as far as PostgreSQL says. */
function blamedColumns({ columns, checks, uniques, references }: Table, error: pg.DatabaseError) {
  if (error.column) return [error.column];
  if (error.dataType) return columns.filter(({ isDomain }) => isDomain).map(({ name }) => name);
  return [...checks, ...uniques, ...references].find(({ name }) => name === error.constraint)?.columns;
}

function hostileValue(column: Column, value: string | null, dice: Dice): string | null {
  if (column.isNullable && dice.chance(25)) return null;
  // The API reads infinite times as null, so they are not for columns that always have a value.
  const values =
    column.labels ??
    HOSTILE_VALUES[column.baseType]?.filter((text) => column.isNullable || !/^-?infinity$/.test(text));
  return values ? dice.pick(values) : value;
}

function anotherKey({ baseType, labels }: Column, value: string | null, dice: Dice): string | null {
  if (value === null) return null;
  if (labels) return dice.pick(labels);
  const number = dice.below(1e6);
  if (baseType === "uuid")
    return `0190f000-${String(dice.below(1e4)).padStart(4, "0")}-7000-8000-${String(number).padStart(12, "0")}`;
  if (/^(smallint|integer|bigint)$/.test(baseType)) return String(1 + (number % 9));
  if (baseType === "text" || baseType === "citext") return `${value}${number}`;
  if (baseType === "date") return `2026-0${1 + (number % 9)}-1${number % 10}`;
  return value;
}
