import type pg from "pg";
import type { Catalogue, Reference, Table } from "./catalogue.ts";
import { WITHOUT_ACCOUNT } from "./exceptions.ts";
import { id, type Stage } from "./staging.ts";

/** Rows that are left out, because the row that they refer to is missing. */
export interface LeftOut {
  readonly table: string;
  readonly target: string;
  readonly rows: number;
  /** Up to three keys of missing rows. */
  readonly examples: readonly string[];
}

/** States of staged rows that a restore writes. Those in state `changed` only with --overwrite. */
export const writtenStates = (overwrite: boolean): readonly string[] =>
  overwrite ? ["missing", "cleared", "changed"] : ["missing", "cleared"];

/**
 * Compares the staged rows with the live ones. Each gets a state: `missing`, `same`, `cleared` (all that differs is null now, among
 * it a reference that a deletion clears), `changed`, `left out`, or `ignored` (it does not belong to the root, and is missing).
 */
export async function classifyRows(
  live: pg.Client,
  catalogue: Catalogue,
  stages: ReadonlyMap<string, Stage>,
  overwrite: boolean,
): Promise<readonly LeftOut[]> {
  for (const stage of stages.values()) await compare(live, catalogue, stage);
  const leftOut: LeftOut[] = [];
  // A row that is left out can leave out others, so until nothing changes.
  for (let isSettled = false; !isSettled; ) {
    isSettled = true;
    for (const reference of catalogue.references) {
      const stage = stages.get(reference.table);
      if (!stage) continue;
      const found = await resolveOrphans(live, stage, reference, stages.get(reference.target), overwrite);
      if (!found) continue;
      isSettled = false;
      if (found !== "cleared") leftOut.push(found);
    }
  }
  return leftOut;
}

async function compare(live: pg.Client, catalogue: Catalogue, { table, name }: Stage): Promise<void> {
  const same = table.columns.map(
    ({ name: column }) => `l.${id(column)}::text is not distinct from s.${id(column)}::text`,
  );
  const sameOrNull = table.columns.map((column, at) => `(l.${id(column.name)} is null or ${same[at]})`);
  const cleared = catalogue.references
    .filter((reference) => reference.table === table.name && reference.onDelete === "cleared")
    .flatMap(({ clears }) =>
      clears.map((column) => `(l.${id(column)} is null and s.${id(column)} is not null)`),
    );
  await live.query(
    `update ${name} s
     set "plinth:state" = case
       when ${same.join(" and ")} then 'same'
       when ${sameOrNull.join(" and ")} and (${cleared.join(" or ") || "false"}) then 'cleared'
       else 'changed'
     end
     from ${table.name} l
     where ${onKey(table)}`,
  );
  await live.query(
    `update ${name} set "plinth:state" = case when "plinth:owned" then 'missing' else 'ignored' end where "plinth:state" is null`,
  );
}

export const onKey = ({ key }: Table): string =>
  key.map((column) => `l.${id(column)} = s.${id(column)}`).join(" and ");

/** Clears references to rows that no longer exist as their deletion would have, or leaves the rows out. */
async function resolveOrphans(
  live: pg.Client,
  { name, table }: Stage,
  reference: Reference,
  targets: Stage | undefined,
  overwrite: boolean,
): Promise<LeftOut | "cleared" | undefined> {
  const { columns, target, targetColumns } = reference;
  const matches = (alias: string) =>
    columns.map((column, at) => `${alias}.${id(targetColumns[at]!)} = s.${id(column)}`).join(" and ");
  const isOrphan = [
    `s."plinth:state" = any ($1)`,
    ...columns.map((column) => `s.${id(column)} is not null`),
    `not exists (select from ${target} t where ${matches("t")})`,
    ...(targets
      ? [`not exists (select from ${targets.name} p where p."plinth:state" = 'missing' and ${matches("p")})`]
      : []),
  ].join(" and ");
  const changes = changesWithout(reference, table);
  if (changes) {
    const { rowCount } = await live.query(
      `update ${name} s set ${changes.map(([column, value]) => `${id(column)} = ${value}`).join(", ")} where ${isOrphan}`,
      [["missing"]],
    );
    if (rowCount) return "cleared";
  }
  const shown = columns.map((column) => `${id(column)}::text`).join(", ");
  const { rows } = await live.query<{ key: string }>(
    `update ${name} s set "plinth:state" = 'left out' where ${isOrphan} returning concat_ws(' ', ${shown}) as key`,
    [writtenStates(overwrite)],
  );
  if (rows.length === 0) return undefined;
  const examples = [...new Set(rows.map(({ key }) => key))].slice(0, 3);
  return { table: table.name, target, rows: rows.length, examples };
}

function changesWithout(reference: Reference, table: Table): [string, string][] | undefined {
  if (reference.onDelete !== "cleared") return undefined;
  const clears = reference.clears.map((column): [string, string] => [column, "null"]);
  if (reference.target !== "identity.users") return clears;
  const more = WITHOUT_ACCOUNT[`${table.name}.${reference.columns[0]}`];
  return more && [...clears, ...Object.entries(more)];
}
