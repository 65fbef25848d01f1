import { PlinthError } from "../../support/errors.ts";
import type { AnyStep, Kind, Loss, Row } from "./mapping.ts";
import { quoted, type RawRow, type Source } from "./sources/source.ts";
import { EXPECTED, readValue } from "./values.ts";

/** A row of the source in the form of its columns, or the reason that it has no such form. */
export interface SourceRow {
  readonly key: string;
  readonly row: Row;
  readonly losses: readonly Loss[];
  readonly problem?: string;
}

/** Name of a step's table in the source. */
export const tableOf = (step: AnyStep): string => step.table ?? step.relation;

const kindOf = (declared: string): Kind => declared.replace("?", "") as Kind;
const mayLack = (declared: string): boolean => declared.endsWith("?");

/**
 * Checks that the source has the tables and columns of the steps.
 * @returns the steps whose table exists
 * @throws PlinthError SOURCE_DOES_NOT_FIT, with everything that is missing
 */
export async function checkSource(source: Source, steps: readonly AnyStep[]): Promise<AnyStep[]> {
  const missing: string[] = [];
  const present: AnyStep[] = [];
  for (const step of steps) {
    if ((await source.columnsOf(tableOf(step))) === undefined) {
      if (!step.isOptional)
        missing.push(`the table ${tableOf(step)} (${Object.keys(step.columns).join(", ")})`);
      continue;
    }
    present.push(step);
    for (const [name, declared] of Object.entries<string>(step.columns)) {
      const [relation, column] = placeOf(step, name);
      if (!mayLack(declared) && !(await source.columnsOf(relation))?.has(column))
        missing.push(`the column ${relation}.${column} (${EXPECTED[kindOf(declared)]})`);
    }
  }
  if (missing.length > 0)
    throw new PlinthError("SOURCE_DOES_NOT_FIT", `The source lacks ${[...new Set(missing)].join("; ")}.`, {
      hint: "Check that it is the right source. If its names differ, create a view with these names, or change the header of the file.",
    });
  return present;
}

export async function countRows(source: Source, relation: string): Promise<number> {
  for await (const [row] of source.read(`select count(*) as count from ${quoted(relation)}`, 1))
    return Number(row!.count);
  return 0;
}

/** Reads the rows of a step in batches. */
export async function* readRows(
  source: Source,
  step: AnyStep,
  batchSize: number,
): AsyncGenerator<SourceRow[]> {
  const columns = Object.entries<string>(step.columns).map(([name, declared]) => ({
    name,
    kind: kindOf(declared),
    isOptional: mayLack(declared),
  }));
  let previous: string | undefined;
  for await (const batch of source.read(await queryOf(source, step), batchSize))
    yield batch.map((raw) => {
      const row = readRow(step, columns, raw);
      // In the order of their key, rows of a file that repeat one follow each other.
      const isRepeat = row.key === previous && row.problem === undefined;
      previous = row.key;
      return isRepeat ? { ...row, problem: "another row has the same key" } : row;
    });
}

function readRow(
  step: AnyStep,
  columns: readonly { name: string; kind: Kind; isOptional: boolean }[],
  raw: RawRow,
): SourceRow {
  const row: Record<string, unknown> = {};
  const losses: Loss[] = [];
  let problem: string | undefined;
  for (const { name, kind, isOptional } of columns) {
    const value = readValue(kind, raw[name]);
    row[name] = value ?? null;
    if (value !== undefined) continue;
    if (isOptional) losses.push({ column: name, reason: `must be ${EXPECTED[kind]}` });
    else problem ??= `${name} must be ${EXPECTED[kind]}`;
  }
  const parts = step.key.map((name) => String(row[name] ?? raw[name] ?? "").slice(0, MAX_KEY));
  const key = parts.length === 1 ? parts[0]! : parts.map(escaped).join(":");
  if (step.key.some((name) => row[name] === null)) problem ??= "has no key";
  return { key, row, losses, ...(problem === undefined ? {} : { problem }) };
}

/** Longer ones are no keys. */
const MAX_KEY = 200;

/** Otherwise the keys 1:2, 3 and 1, 2:3 would be the same. */
const escaped = (part: string): string => part.replace(/[\\:]/g, "\\$&");

/** Returns a column's table and name in the source. */
function placeOf(step: AnyStep, name: string): [relation: string, column: string] {
  const dot = name.indexOf(".");
  return dot < 0 ? [tableOf(step), name] : [name.slice(0, dot), name.slice(dot + 1)];
}

async function queryOf(source: Source, step: AnyStep): Promise<string> {
  const selected: string[] = [];
  const joined = new Set<string>();
  for (const name of Object.keys(step.columns)) {
    const [relation, column] = placeOf(step, name);
    const has = (await source.columnsOf(relation))?.has(column);
    if (!has) continue;
    if (relation !== tableOf(step)) joined.add(relation);
    const place = `${quoted(relation)}.${quoted(column)}`;
    selected.push(`${source.expression(relation, place, column)} as ${quoted(name)}`);
  }
  const from = quoted(tableOf(step));
  const joins = [...joined].map((relation) => {
    const on = Object.entries(step.joins![relation]!).map(
      ([theirs, ours]) => `${quoted(relation)}.${quoted(theirs)} = ${from}.${quoted(ours)}`,
    );
    return ` left join ${quoted(relation)} on ${on.join(" and ")}`;
  });
  const order = step.order ?? step.key.map((name) => `${from}.${quoted(name)}`).join(", ");
  return `select ${selected.join(", ")} from ${from}${joins.join("")} order by ${order}`;
}
