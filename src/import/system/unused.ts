import type { SystemMapping } from "./mapping.ts";
import { countRows, tableOf } from "./read-rows.ts";
import type { Remarks } from "./report.ts";
import type { Source } from "./sources/source.ts";

const NO_PLACE = "not imported: Plinth has no place for it";

/**
 * Names each table and column of the source that no step reads, with the mapping's reason if it has one. A column that a remark has
 * named for a row is not named again.
 */
export async function reportUnused(source: Source, mapping: SystemMapping, remarks: Remarks): Promise<void> {
  const { leaves = {} } = mapping;
  const used = usedColumns(mapping);
  const named = namedColumns(mapping, remarks);
  for (const [relation, reason] of Object.entries(leaves)) {
    if (relation.includes(".") || (await source.columnsOf(relation)) === undefined) continue;
    // The role of the import may be allowed to read only the tables that come along.
    const count = await countRows(source, relation).catch(() => undefined);
    remarks.add({
      relation,
      row: "",
      reason: count === undefined ? reason : `${reason} (${count} ${count === 1 ? "row" : "rows"})`,
    });
  }
  for (const relation of await source.relations()) {
    const columns = used.get(relation);
    if (columns === undefined) {
      if (leaves[relation] === undefined) remarks.add({ relation, row: "", reason: NO_PLACE });
      continue;
    }
    for (const column of (await source.columnsOf(relation)) ?? []) {
      const name = `${relation}.${column}`;
      if (column === "" || columns.has(column) || named.has(name)) continue;
      remarks.add({ relation, row: "", column, reason: leaves[name] ?? NO_PLACE });
    }
  }
}

function usedColumns({ steps }: SystemMapping): Map<string, Set<string>> {
  const used = new Map<string, Set<string>>();
  const use = (table: string, columns: readonly string[]): void => {
    used.set(table, new Set([...(used.get(table) ?? []), ...columns]));
  };
  for (const step of steps) {
    for (const name of Object.keys(step.columns)) {
      const [table, column] = name.includes(".") ? name.split(".") : [tableOf(step), name];
      use(table!, [column!]);
    }
    for (const [table, on] of Object.entries(step.joins ?? {})) use(table, Object.keys(on));
  }
  return used;
}

/** Remarks name a table as its step does. */
function namedColumns({ steps }: SystemMapping, remarks: Remarks): Set<string> {
  const tables = new Map(steps.map((step) => [step.relation, tableOf(step)]));
  return new Set(
    remarks
      .reasons()
      .flatMap(({ relation, column }) =>
        column === undefined ? [] : `${tables.get(relation) ?? relation}.${column}`,
      ),
  );
}
