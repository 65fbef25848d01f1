import type pg from "pg";
import type { Loss, Values } from "./mapping.ts";

/** Stands for the id here of a row that an earlier step brought. */
export class Reference {
  readonly relation: string;
  readonly externalId: string;
  /** If the row was not imported: whether the column stays empty, or the row that refers to it is left out. */
  readonly isOptional: boolean;

  constructor(relation: string, externalId: string, isOptional: boolean) {
    this.relation = relation;
    this.externalId = externalId;
    this.isOptional = isOptional;
  }
}

/** The row's id here; the row that refers to it is left out if it was not imported. Null for null. */
export function ref(relation: string, externalId: string | number | null): Reference | null {
  return externalId === null ? null : new Reference(relation, String(externalId), false);
}

/** Like ref(), but the column stays empty, which is reported. */
export function optionalRef(relation: string, externalId: string | number | null): Reference | null {
  return externalId === null ? null : new Reference(relation, String(externalId), true);
}

/** Returns the id of a reference, or undefined if its row was not imported. */
export type Resolve = (reference: Reference) => string | undefined;

/** Looks up the references of a batch in one query. `own` has the ids of rows of the same batch. */
export async function resolverOf(
  client: pg.ClientBase,
  system: string,
  values: Iterable<Values | null>,
  own: ReadonlyMap<string, string>,
): Promise<Resolve> {
  const wanted = new Map<string, Reference>();
  for (const each of values)
    for (const value of Object.values(each ?? {}))
      if (value instanceof Reference && !own.has(nameOf(value))) wanted.set(nameOf(value), value);
  const found = new Map(own);
  if (wanted.size > 0) {
    const references = [...wanted.values()];
    const { rows } = await client.query<{ relation: string; external_id: string; row_id: string }>(
      `select e.relation, e.external_id, e.row_id
       from unnest($2::text[], $3::text[]) w (relation, external_id)
       join plinth.external_ids e on e.system = $1 and e.relation = w.relation and e.external_id = w.external_id
       where not e.is_numbered_here`,
      [system, references.map((each) => each.relation), references.map((each) => each.externalId)],
    );
    for (const row of rows) found.set(`${row.relation} ${row.external_id}`, row.row_id);
  }
  return (reference) => found.get(nameOf(reference));
}

export const nameOf = ({ relation, externalId }: { relation: string; externalId: string }): string =>
  `${relation} ${externalId}`;

/** Replaces references with ids, and bytes with their text for PostgreSQL. */
export function resolved(
  values: Values,
  resolve: Resolve,
): { readonly values: Values; readonly losses: readonly Loss[] } | { readonly omitted: string } {
  const result: Record<string, unknown> = {};
  const losses: Loss[] = [];
  for (const [column, value] of Object.entries(values)) {
    if (value instanceof Reference) {
      const id = resolve(value);
      if (id === undefined && !value.isOptional)
        return { omitted: `its row of ${value.relation} was not imported` };
      if (id === undefined) losses.push({ column, reason: `its row of ${value.relation} was not imported` });
      result[column] = id ?? null;
    } else result[column] = Buffer.isBuffer(value) ? `\\x${value.toString("hex")}` : value;
  }
  return { values: result, losses };
}
