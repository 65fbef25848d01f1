import type { PoolClient } from "pg";

/** How many named statements a connection keeps; each holds a plan in the server's memory until it is dropped. */
const MAX_STATEMENTS = 100;

/** node-pg keeps the names it has prepared here and offers no way to forget one. */
interface Connection {
  readonly parsedStatements: Record<string, string>;
}

/** Insertion order is the order of use: the first is the one not used for longest. */
const usedStatements = new WeakMap<PoolClient, Set<string>>();

/** Notes the use of a named statement on a connection. */
export function touchStatement(client: PoolClient, name: string): void {
  const names = usedStatements.get(client) ?? new Set();
  usedStatements.set(client, names);
  names.delete(name);
  names.add(name);
}

/**
 * Drops the statements not used for longest, so that a client which sends ever new queries cannot fill the server's
 * memory. Call it between transactions: DEALLOCATE of a statement unknown to the server would abort one.
 */
export async function trimStatements(client: PoolClient): Promise<void> {
  const names = usedStatements.get(client);
  if (!names || names.size <= MAX_STATEMENTS) return;
  const { parsedStatements } = (client as unknown as { connection: Connection }).connection;
  const dropped: Promise<unknown>[] = [];
  for (const name of names) {
    if (names.size <= MAX_STATEMENTS) break;
    names.delete(name);
    // Absent when its preparation failed.
    if (!(name in parsedStatements)) continue;
    delete parsedStatements[name];
    dropped.push(client.query(`deallocate ${client.escapeIdentifier(name)}`));
  }
  await Promise.all(dropped);
}
