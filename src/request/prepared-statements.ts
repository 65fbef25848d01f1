import type { PoolClient, QueryConfig } from "pg";
import type { Preparation } from "./pg-internals/preparations.ts";
import { closeStatement, forgetStatement, isPrepared } from "./pg-internals/prepared-names.ts";

/** Maximum named statements per connection; each holds a plan in the server's memory until it is deallocated. */
const MAX_STATEMENTS = 100;

/** A statement of a request. */
export interface Statement {
  text: string;
  values?: readonly unknown[] | undefined;
  name?: string | undefined;
  arrayMode?: boolean | undefined;
}

/** Insertion order is the order of use: the first entry is the least recently used. */
type UsedNames = WeakMap<PoolClient, Set<string>>;
const usedStatements: UsedNames = new WeakMap();
/** There are few, so they stay prepared. */
const usedPreparations: UsedNames = new WeakMap();

/** Connections through a pooler that may run each transaction on another server connection, which knows other statements. */
const withoutNames = new WeakSet<PoolClient>();

/** From now on, statements are sent on this connection without their names, so that the server prepares none. */
export function forgoNames(client: PoolClient): void {
  withoutNames.add(client);
}

/** Returns a statement as this connection sends it for a role, and records the use of its name. */
export function statementQuery(
  client: PoolClient,
  role: string | null | undefined,
  { text, values, name, arrayMode }: Statement,
): QueryConfig & { rowMode?: "array" } {
  const query: QueryConfig & { rowMode?: "array" } = { text };
  if (values) query.values = [...values];
  if (name && !withoutNames.has(client))
    query.name = use(client, usedStatements, roleQualifiedName(role, name));
  if (arrayMode) query.rowMode = "array";
  return query;
}

/** Returns a preparation as a statement of its own. */
export function preparationQuery(client: PoolClient, { name, text, values }: Preparation): QueryConfig {
  const query = { text, values: [...values] };
  return withoutNames.has(client) ? query : { ...query, name: use(client, usedPreparations, name) };
}

/** Whether preparations can be sent in front of a statement. Otherwise they must first run on their own, which prepares them. */
export function arePrepared(client: PoolClient, preparations: readonly Preparation[]): boolean {
  return withoutNames.has(client) || preparations.every(({ name }) => isPrepared(client, name));
}

/** Returns preparations as this connection sends them in front of a statement. */
export function inFront(client: PoolClient, preparations: readonly Preparation[]): readonly Preparation[] {
  if (!withoutNames.has(client)) return preparations;
  return preparations.map((preparation) => ({ ...preparation, name: "" }));
}

/** Records the use of a name on a connection. */
function use(client: PoolClient, usedNames: UsedNames, name: string): string {
  const names = usedNames.get(client) ?? new Set();
  usedNames.set(client, names);
  // Its preparation failed, but PgBouncer keeps the name and would end a connection that prepares it again.
  if (names.delete(name) && !isPrepared(client, name)) closeStatement(client, name).catch(() => {});
  names.add(name);
  return name;
}

/** Whether `trimStatements` has something to do. */
export function hasTooManyStatements(client: PoolClient): boolean {
  return (usedStatements.get(client)?.size ?? 0) > MAX_STATEMENTS;
}

/** Deallocates the least recently used statements, so that ever new queries cannot fill the server's memory. */
export async function trimStatements(client: PoolClient): Promise<void> {
  const names = usedStatements.get(client);
  if (!names || names.size <= MAX_STATEMENTS) return;
  const dropped: Promise<void>[] = [];
  for (const name of names) {
    if (names.size <= MAX_STATEMENTS) break;
    names.delete(name);
    // Not prepared if its preparation failed.
    if (forgetStatement(client, name)) dropped.push(closeStatement(client, name));
  }
  await Promise.all(dropped);
}

/**
 * With row-level security a plan belongs to one role: a statement shared by two roles on a connection would be replanned at
 * each change of role. PostgreSQL cuts names at 63 bytes, so a long name keeps its end, where hashes differ.
 */
function roleQualifiedName(role: string | null | undefined, name: string): string {
  const qualified = `${role ?? ""}/${name}`;
  return qualified.length <= 63 ? qualified : `${(role ?? "").slice(-10)}/${name.slice(-52)}`;
}
