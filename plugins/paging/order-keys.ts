import type { PgCodec, PgOrderSpec, PgResource } from "@dataplan/pg";
import { type SQL, sql } from "pg-sql2";

/** One term of an order. */
export interface OrderKey {
  /** The column name, or the position of an expression among the terms. */
  readonly name: string;
  readonly fragment: SQL;
  readonly codec: PgCodec;
  readonly direction: "ASC" | "DESC";
  readonly nulls: "FIRST" | "LAST" | null | undefined;
  readonly nullable: boolean;
}

/**
 * Returns the requested order, extended by a unique key without nulls so that no two rows tie. (PostGraphile considers an
 * order unique as soon as it contains the first column of any unique key.) The added terms have the direction of the first
 * term, so that an index can be read from end to end.
 */
export function orderKeys(resource: PgResource, alias: SQL, asked: readonly PgOrderSpec[]): OrderKey[] {
  const keys = new Map<string, OrderKey>();
  const add = (key: OrderKey) => {
    // A repeated term has no effect.
    if (!keys.has(key.name)) keys.set(key.name, key);
  };
  for (const [place, spec] of asked.entries()) add(keyOf(resource, alias, spec, place));
  const direction = asked[0]?.direction ?? "ASC";
  for (const attribute of restOfUniqueKey(resource, keys))
    add(columnKey(resource, alias, attribute, { direction }));
  return [...keys.values()];
}

function keyOf(resource: PgResource, alias: SQL, spec: PgOrderSpec, place: number): OrderKey {
  const { direction, nulls } = spec;
  if (spec.attribute == null) {
    const { fragment, codec, nullable = true } = spec;
    return { name: String(place), fragment, codec, direction, nulls, nullable };
  }
  const key = columnKey(resource, alias, spec.attribute, spec);
  if (!spec.callback) return key;
  const [fragment, codec, nullable = true] = spec.callback(key.fragment, key.codec, key.nullable);
  return { name: String(place), fragment, codec, direction, nulls, nullable };
}

function columnKey(
  resource: PgResource,
  alias: SQL,
  name: string,
  { direction, nulls }: Pick<PgOrderSpec, "direction" | "nulls">,
): OrderKey {
  const { codec, notNull } = attributesOf(resource)[name]!;
  const fragment = sql`${alias}.${sql.identifier(name)}`;
  return { name, fragment, codec, direction, nulls, nullable: !notNull && !codec.notNull };
}

/** Returns the columns missing from a unique order. A view without a key is ordered by all of its columns. */
function restOfUniqueKey(resource: PgResource, keys: ReadonlyMap<string, OrderKey>): readonly string[] {
  const attributes = attributesOf(resource);
  const uniques = resource.uniques.filter((unique) =>
    unique.attributes.every((name) => attributes[name]!.notNull || attributes[name]!.codec.notNull),
  );
  if (uniques.some((unique) => unique.attributes.every((name) => keys.has(name)))) return [];
  const unique = uniques.find(({ isPrimary }) => isPrimary) ?? uniques[0];
  return (
    unique?.attributes ?? Object.keys(attributes).filter((name) => attributes[name]!.codec.hasNaturalOrdering)
  );
}

function attributesOf({ codec }: PgResource) {
  if (!codec.attributes) throw new Error(`${codec.name} has no columns to order by.`);
  return codec.attributes;
}
