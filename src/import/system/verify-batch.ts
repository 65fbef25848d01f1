import { type BatchOptions, isCall, mapRows } from "./import-batch.ts";
import type { Loss, Pending, Row } from "./mapping.ts";
import { resolved, resolverOf } from "./references.ts";
import { type Comparison, compareRows, type Item } from "./target-sql.ts";

/** The state of an imported row. */
interface Verified {
  readonly key: string;
  /** Columns that the mapping left out. */
  readonly losses: readonly Loss[];
  /** The reason that the row is not as its source has it. */
  readonly difference?: string;
}

export interface Verification {
  readonly rows: readonly Verified[];
  readonly expected: bigint;
  readonly stored: bigint;
}

const WAS_HERE = "the row was here before the import, with another value, which was kept";

/** Maps imported rows again and compares them with what the database has. */
export async function verifyBatch(
  rows: readonly Pending<Row>[],
  options: BatchOptions,
): Promise<Verification> {
  const { step, context, shapeOf } = options;
  const batch = await mapRows(rows, step, context);
  const resolve = await resolverOf(
    context.client,
    context.system,
    batch.flatMap(({ values }) => values),
    new Map(),
  );
  const differences = new Map<number, string>();
  const losses = batch.map((moving) => [...moving.losses]);
  let [expected, stored] = [0n, 0n];
  for (const { n, omitted } of batch) if (omitted !== undefined) differences.set(n, omitted);

  for (const [place, target] of step.targets.entries()) {
    const items: Item[] = [];
    for (const moving of batch) {
      const values = moving.values[place] ?? null;
      if (values === null) continue;
      const result = resolved(values, resolve);
      if ("omitted" in result) differences.set(moving.n, result.omitted);
      else {
        losses[moving.n]!.push(...result.losses);
        items.push({ n: moving.n, values: result.values });
      }
    }
    if (items.length === 0) continue;
    if (isCall(target)) {
      if (target.check === undefined) continue;
      const list = items.map((item) => ({ ...item, row_id: batch[item.n]!.rowId }));
      const { rows: wrong } = await context.client.query<{ n: number }>(target.check, [JSON.stringify(list)]);
      for (const { n } of wrong) differences.set(n, "differs");
      continue;
    }
    const shape = await shapeOf(target.table);
    const [onlyKey] = shape.primaryKey;
    const isFound = target.write === "find" || target.write === "find or insert";
    const withKey = items.map(({ n, values }) => {
      const key = place === 0 && shape.primaryKey.length === 1 ? { [onlyKey!]: batch[n]!.rowId } : {};
      return { n, values: { ...key, ...values } };
    });
    for (const comparison of await compareRows(context.client, shape, withKey, target.unverified ?? [])) {
      expected += comparison.expected;
      stored += comparison.stored;
      const { n, isMissing, differing } = comparison;
      // A row that was here before the import keeps its values.
      if (isFound && !isMissing) {
        for (const column of differing) losses[n]!.push({ column, reason: WAS_HERE });
        continue;
      }
      const difference = differenceOf(target.table, comparison);
      if (difference !== undefined) differences.set(comparison.n, difference);
    }
  }
  return {
    rows: batch.map(({ n, key }) => {
      const difference = differences.get(n);
      return { key, losses: losses[n]!, ...(difference === undefined ? {} : { difference }) };
    }),
    expected,
    stored,
  };
}

function differenceOf(table: string, { isMissing, differing }: Comparison): string | undefined {
  if (isMissing) return `${table} no longer has the row`;
  return differing.length > 0 ? `${table} has another ${differing.join(", ")}` : undefined;
}
