import type { PoolClient } from "pg";

/** Maximum named statements per connection; each holds a plan in the server's memory until it is deallocated. */
const MAX_STATEMENTS = 100;

/** node-pg stores the prepared names here and offers no way to remove one. */
interface Connection {
  readonly parsedStatements: Record<string, string>;
}

/** Insertion order is the order of use: the first entry is the least recently used. */
const usedStatements = new WeakMap<PoolClient, Set<string>>();

/** Records the use of a named statement on a connection. */
export function touchStatement(client: PoolClient, name: string): void {
  const names = usedStatements.get(client) ?? new Set();
  usedStatements.set(client, names);
  names.delete(name);
  names.add(name);
}

/**
 * Deallocates the least recently used statements, so that ever new queries cannot fill the server's memory. Call it between
 * transactions: DEALLOCATE of an unknown statement would abort a transaction.
 */
export async function trimStatements(client: PoolClient): Promise<void> {
  const names = usedStatements.get(client);
  if (!names || names.size <= MAX_STATEMENTS) return;
  const { parsedStatements } = (client as unknown as { connection: Connection }).connection;
  const dropped: Promise<unknown>[] = [];
  for (const name of names) {
    if (names.size <= MAX_STATEMENTS) break;
    names.delete(name);
    // Missing if its preparation failed.
    if (!(name in parsedStatements)) continue;
    delete parsedStatements[name];
    dropped.push(client.query(`deallocate ${client.escapeIdentifier(name)}`));
  }
  await Promise.all(dropped);
}
