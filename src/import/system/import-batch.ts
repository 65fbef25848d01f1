import { unstorableWithin } from "../import.ts";
import type { TableShape } from "./catalogue.ts";
import { uuidOfKey, uuidV7At } from "./ids.ts";
import type { AnyStep, Call, Context, Loss, Pending, Row, Target, Values } from "./mapping.ts";
import { nameOf, type Resolve, resolved, resolverOf } from "./references.ts";
import { RowRejected } from "./row-error.ts";
import { findRows, freeIds, type Item, insertRows, updateRows } from "./target-sql.ts";

/** Outcome of one row of a batch. */
export type Outcome =
  | {
      readonly key: string;
      readonly outcome: "imported" | "found";
      /** Whether a compatibility schema had given the row's number to a row that was created here. */
      readonly tookNumber: boolean;
    }
  | { readonly key: string; readonly outcome: "omitted"; readonly reason: string; readonly detail?: string };

export interface BatchOptions {
  readonly step: AnyStep;
  readonly context: Context;
  readonly shapeOf: (table: string) => Promise<TableShape>;
}

/** A row on its way: its values for each target, with references resolved. */
interface Moving {
  readonly n: number;
  readonly key: string;
  readonly values: (Values | null)[];
  rowId: string | undefined;
  wasThere: boolean;
  omitted: string | undefined;
  /** The names that were looked for here, of a row that found none. */
  sought?: string;
}

export const isCall = (target: Target | Call): target is Call => "sql" in target;

/**
 * Writes rows that are not imported yet, and their external ids. The caller has begun a transaction, and rolls it back after an error.
 * @throws RowRejected if a part of a row could not be written after another part
 */
export async function writeBatch(rows: readonly Pending<Row>[], options: BatchOptions): Promise<Outcome[]> {
  const { step, context } = options;
  const { client } = context;
  const batch = await mapRows(rows, step, context);
  await chooseIds(batch, options);
  const own = new Map(
    batch.flatMap(({ key, rowId }) =>
      rowId === undefined ? [] : [[nameOf({ relation: step.relation, externalId: key }), rowId] as const],
    ),
  );
  const resolve = await resolverOf(
    client,
    context.system,
    batch.flatMap(({ values }) => values),
    own,
  );
  for (const moving of batch) resolveValues(moving, resolve);
  for (const [place, target] of inOrder(step.targets)) {
    const items = batch.flatMap((moving): Item[] => {
      const values = moving.values[place] ?? null;
      return moving.omitted !== undefined || values === null ? [] : [{ n: moving.n, values }];
    });
    if (items.length === 0) continue;
    if (isCall(target)) await callFor(target, items, batch, place === 0, options);
    else await writeTarget(target, items, batch, place === 0, options);
  }
  const tookNumber = await rememberIds(batch, options);
  // Otherwise a deferred constraint would fail at the commit, where no row is to blame.
  await client.query("set constraints all immediate");
  return batch.map(({ key, omitted, sought, wasThere }) =>
    omitted === undefined
      ? { key, outcome: wasThere ? "found" : "imported", tookNumber: tookNumber.has(key) }
      : { key, outcome: "omitted", reason: omitted, ...(sought ? { detail: sought } : {}) },
  );
}

/** The targets with their places, in the order in which they are written. */
function inOrder(targets: AnyStep["targets"]): [number, Target | Call][] {
  const entries = [...targets.entries()];
  const isFirst = ([, target]: [number, Target | Call]): boolean => isCall(target) && target.isFirst === true;
  return [...entries.filter(isFirst), ...entries.filter((entry) => !isFirst(entry))];
}

async function callFor(
  target: Call,
  items: readonly Item[],
  batch: readonly Moving[],
  isRow: boolean,
  { step, context }: BatchOptions,
): Promise<void> {
  const { rows } = await context.client.query<{ n: number; row_id?: string; added?: Values | null }>(
    target.sql,
    [JSON.stringify(items)],
  );
  const done = new Map(rows.map((row) => [row.n, row]));
  for (const { n } of items) {
    const moving = batch[n]!;
    const result = done.get(n);
    if (result === undefined) throw new RowRejected("the database did not accept it");
    if (isRow) moving.rowId = result.row_id ?? uuidOfKey(context.system, step.relation, moving.key);
    if (result.added) moving.values[0] = { ...moving.values[0], ...result.added };
  }
}

/** Maps rows without writing anything. */
export async function mapRows(
  rows: readonly Pending<Row>[],
  step: AnyStep,
  context: Context,
): Promise<(Moving & { losses: readonly Loss[] })[]> {
  const prepared: unknown = await step.prepare?.(rows, context);
  const batch = [];
  for (const [n, pending] of rows.entries()) {
    const mapped = await step.map(pending.row, prepared, pending);
    const values = "omitted" in mapped ? [] : [...mapped.values];
    batch.push({
      n,
      key: pending.key,
      values,
      rowId: pending.rowId,
      wasThere: false,
      omitted: "omitted" in mapped ? mapped.omitted : undefined,
      losses: "omitted" in mapped ? [] : (mapped.losses ?? []),
    });
  }
  return batch;
}

function resolveValues(moving: Moving, resolve: Resolve): void {
  for (const [place, values] of moving.values.entries()) {
    if (values === null || moving.omitted !== undefined) continue;
    const result = resolved(values, resolve);
    moving.omitted = "omitted" in result ? result.omitted : unstorableWithin(result.values);
    if (!("omitted" in result)) moving.values[place] = result.values;
  }
}

/** Gives each new row of a table with the column id its id. */
async function chooseIds(batch: readonly Moving[], { step, context, shapeOf }: BatchOptions): Promise<void> {
  const [first] = step.targets;
  if (!first || isCall(first) || first.write !== "insert" || !(await shapeOf(first.table)).hasId) return;
  const kept = step.keepsId
    ? await freeIds(
        context.client,
        first.table,
        batch.map(({ key }) => key),
      )
    : new Set();
  for (const moving of batch) {
    const values = moving.values[0];
    if (!values) continue;
    moving.rowId = kept.has(moving.key) ? moving.key : uuidV7At(values.created_at);
    moving.values[0] = { id: moving.rowId, ...values };
  }
}

async function writeTarget(
  target: Target,
  items: readonly Item[],
  batch: readonly Moving[],
  isRow: boolean,
  { step, context, shapeOf }: BatchOptions,
): Promise<void> {
  const { client, system } = context;
  const shape = await shapeOf(target.table);
  if (target.write === "insert") {
    await insertRows(client, target.table, items);
    if (isRow) for (const { n } of items) batch[n]!.rowId ??= uuidOfKey(system, step.relation, batch[n]!.key);
    return;
  }
  const by = target.by ?? shape.primaryKey;
  const found = await findRows(client, shape, by, items);
  const missing = items.filter(({ n }) => !found.has(n));
  if (isRow) {
    for (const [n, id] of found) {
      batch[n]!.rowId = id ?? uuidOfKey(system, step.relation, batch[n]!.key);
      batch[n]!.wasThere = target.write !== "update";
    }
    await omitRepeats(batch, found, { step, context, shapeOf });
  }
  if (target.write === "find or insert" && missing.length > 0) await insertMissing(missing);
  else
    for (const { n, values } of missing) {
      const reason = target.missing ?? `${target.table} has no such row`;
      if (!isRow) throw new RowRejected(reason);
      batch[n]!.omitted = reason;
      batch[n]!.sought = namesIn(values, by);
    }
  if (target.write === "update")
    await updateRows(
      client,
      target.table,
      by,
      items.filter(({ n }) => batch[n]!.omitted === undefined),
    );

  async function insertMissing(rows: readonly Item[]): Promise<void> {
    const added = rows.map(({ n, values }) => {
      if (isRow)
        batch[n]!.rowId = shape.hasId
          ? uuidV7At(values.created_at)
          : uuidOfKey(system, step.relation, batch[n]!.key);
      return { n, values: isRow && shape.hasId ? { id: batch[n]!.rowId, ...values } : values };
    });
    await insertRows(client, target.table, added);
  }
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The texts among the columns, without ids, which say nothing to a reader of the report. */
function namesIn(values: Values, columns: readonly string[]): string {
  const texts = columns.map((column) => values[column]);
  return texts.filter((text) => typeof text === "string" && !UUID.test(text)).join(", ");
}

/** Of several rows of the source that find one row here, the first counts. */
async function omitRepeats(
  batch: readonly Moving[],
  found: ReadonlyMap<number, string | null>,
  { step, context }: BatchOptions,
): Promise<void> {
  const ids = [...found.keys()].map((n) => batch[n]!.rowId!);
  const { rows } = await context.client.query<{ row_id: string }>(
    "select e.row_id from plinth.external_ids e where e.system = $1 and e.relation = $2 and e.row_id = any ($3::uuid[]) and not e.is_numbered_here",
    [context.system, step.relation, ids],
  );
  const taken = new Set(rows.map(({ row_id }) => row_id));
  for (const n of [...found.keys()].sort((a, b) => a - b)) {
    const moving = batch[n]!;
    if (taken.has(moving.rowId!)) moving.omitted = "another row of the source became the same row here";
    else taken.add(moving.rowId!);
  }
}

/** @returns the external ids that were numbers of rows created here */
async function rememberIds(
  batch: readonly Moving[],
  { step, context }: BatchOptions,
): Promise<ReadonlySet<string>> {
  const kept = batch.filter(({ omitted }) => omitted === undefined);
  const { rows: given } = await context.client.query<{ external_id: string }>(
    `delete from plinth.external_ids e
     where e.system = $1 and e.relation = $2 and e.is_numbered_here and (e.external_id = any ($3) or e.row_id = any ($4::uuid[]))
     returning e.external_id`,
    [context.system, step.relation, kept.map(({ key }) => key), kept.map(({ rowId }) => rowId)],
  );
  const [first] = step.targets;
  const isUser = first && !isCall(first) && first.table === "identity.users";
  await context.client.query(
    `insert into plinth.external_ids (system, relation, external_id, row_id, user_id)
     select $1, $2, w.external_id, w.row_id, w.user_id
     from unnest($3::text[], $4::uuid[], $5::uuid[]) w (external_id, row_id, user_id)`,
    [
      context.system,
      step.relation,
      kept.map(({ key }) => key),
      kept.map(({ rowId }) => rowId),
      kept.map(({ rowId, values }) => (isUser ? rowId : (values[0]?.user_id ?? null))),
    ],
  );
  return new Set(given.map(({ external_id }) => external_id));
}
