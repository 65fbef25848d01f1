import type pg from "pg";
import type { SqlActor } from "./actors.ts";
import { type Attempt, type Attempted, attemptAll } from "./attempt.ts";
import type { Relation } from "./catalogue.ts";
import { INSUFFICIENT_PRIVILEGE } from "./cells.ts";

/** The privileges of a role, tried column by column without touching a row. */
export interface Privileges {
  readonly select: readonly string[];
  readonly insert: readonly string[];
  readonly update: readonly string[];
  readonly delete: boolean;
  readonly truncate: boolean;
}

/** In the order of `roles`. */
export async function tryPrivileges(
  client: pg.ClientBase,
  { name, columns, generated }: Relation,
  roles: readonly SqlActor[],
): Promise<readonly Privileges[]> {
  const readable = [...columns.map((column) => column.name), ...generated];
  const statements = [
    ...readable.map((column) => `select ${column} from ${name} where false`),
    ...columns.map(
      (column) => `insert into ${name} (${column.name}) select null::${column.type} where false`,
    ),
    ...columns.map((column) => `update ${name} set ${column.name} = null where false`),
    `delete from ${name} where false`,
    `truncate ${name}`,
  ];
  const attempts = roles.flatMap((actor) =>
    statements.map((statement): Attempt => ({ actor, statements: [statement] })),
  );
  const results = await attemptAll(client, attempts);
  return roles.map((_, i) => {
    const allowed = statements.map((statement, n) =>
      isAllowed(statement, results[i * statements.length + n]!),
    );
    const take = (count: number) => allowed.splice(0, count);
    const chosen = (names: readonly string[]) => {
      const flags = take(names.length);
      return names.filter((_, n) => flags[n]);
    };
    const names = columns.map((column) => column.name);
    return {
      select: chosen(readable),
      insert: chosen(names),
      update: chosen(names),
      delete: take(1)[0]!,
      truncate: take(1)[0]!,
    };
  });
}

function isAllowed(statement: string, { state, message }: Attempted): boolean {
  if (state === null) return true;
  if (state === INSUFFICIENT_PRIVILEGE) return false;
  // Tables that others refer to cannot be truncated alone, which PostgreSQL says after it has looked at the privilege.
  if (statement.startsWith("truncate") && state === "0A000") return true;
  if (IMPOSSIBLE.includes(state)) return false;
  throw new Error(`${statement}: ${state} ${message}`);
}

/** A view or computed column that cannot be written, which PostgreSQL says before it looks at the privilege. */
const IMPOSSIBLE = ["55000", "42809", "0A000", "428C9"];
