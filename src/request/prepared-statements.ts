import type { PoolClient } from "pg";
import { forgetStatement } from "./pg-internals.ts";

/** Maximum named statements per connection; each holds a plan in the server's memory until it is deallocated. */
const MAX_STATEMENTS = 100;

/** Insertion order is the order of use: the first entry is the least recently used. */
const usedStatements = new WeakMap<PoolClient, Set<string>>();

/** Records the use of a named statement on a connection. */
export function touchStatement(client: PoolClient, name: string): void {
  const names = usedStatements.get(client) ?? new Set();
  usedStatements.set(client, names);
  names.delete(name);
  names.add(name);
}

/** Whether `trimStatements` has something to do. */
export function hasTooManyStatements(client: PoolClient): boolean {
  return (usedStatements.get(client)?.size ?? 0) > MAX_STATEMENTS;
}

/**
 * Deallocates the least recently used statements, so that ever new queries cannot fill the server's memory. Call it between
 * transactions: DEALLOCATE of an unknown statement would abort a transaction.
 */
export async function trimStatements(client: PoolClient): Promise<void> {
  const names = usedStatements.get(client);
  if (!names || names.size <= MAX_STATEMENTS) return;
  const dropped: Promise<unknown>[] = [];
  for (const name of names) {
    if (names.size <= MAX_STATEMENTS) break;
    names.delete(name);
    // Not prepared if its preparation failed.
    if (forgetStatement(client, name))
      dropped.push(client.query(`deallocate ${client.escapeIdentifier(name)}`));
  }
  await Promise.all(dropped);
}
