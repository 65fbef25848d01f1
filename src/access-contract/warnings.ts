import type pg from "pg";
import { OTHER_USER, USER } from "./actors.ts";
import type { Contract } from "./contract.ts";
import type { MissingRow } from "./rows/make-rows.ts";

/** A table of an application that deserves a look. */
export interface Warning {
  /** `shop.orders`. */
  readonly table: string;
  /** A sentence's predicate: `has no row-level security`. */
  readonly problem: string;
}

interface Secured {
  readonly table: string;
  readonly isSecured: boolean;
  readonly hasPolicy: boolean;
  /** Columns with the id of a user. */
  readonly users: readonly string[];
}

/** The roles that own no row of the neighbor. */
const STRANGERS = ["anonymous", USER, OTHER_USER];
const OPERATIONS = { select: "read", insert: "insert", update: "update", delete: "delete" } as const;

/** Reports tables without protection, and rows of other users that a user reaches. */
export async function findWarnings(
  client: pg.ClientBase,
  schemas: readonly string[],
  contract: Contract,
  missing: readonly MissingRow[],
): Promise<readonly Warning[]> {
  const { rows } = await client.query<Secured>(SECURED, [schemas]);
  return rows.flatMap(({ table, isSecured, hasPolicy, users }): Warning[] => {
    const reason = missing.find((each) => each.table === table)?.reason;
    const problems = [
      ...(isSecured ? [] : ["has no row-level security"]),
      ...(isSecured && !hasPolicy
        ? ["has row-level security but no policy, so that no role of the API reaches a row"]
        : []),
      ...(reason === undefined ? [] : [`has no row to try (${reason}); add one to the seed file`]),
      ...(users.length === 0 ? [] : reachedByStrangers(contract.get(`table ${table}`), users)),
    ];
    return problems.map((problem) => ({ table, problem }));
  });
}

function reachedByStrangers(
  operations: ReadonlyMap<string, ReadonlyMap<string, string>> | undefined,
  users: readonly string[],
): readonly string[] {
  return Object.entries(OPERATIONS).flatMap(([operation, verb]) => {
    const strangers = STRANGERS.filter(
      (role) =>
        /^all\b|\bothers\b/.test(operations?.get(operation)?.get(role) ?? "") &&
        (operation !== "insert" || mayNameUser(operations!.get("insert columns"), role, users)),
    );
    if (strangers.length === 0) return [];
    return [`lets ${strangers.join(", ")} ${verb} rows whose ${users.join(" or ")} is another user`];
  });
}

/** A row whose user is filled in by the database is the caller's own. */
function mayNameUser(
  columns: ReadonlyMap<string, string> | undefined,
  role: string,
  users: readonly string[],
): boolean {
  // Tried once for each role of the database.
  const insertable = columns?.get(role === OTHER_USER ? USER : role) ?? "";
  return insertable === "all" || insertable.split(", ").some((column) => users.includes(column));
}

const SECURED = `
select
  c.oid::regclass::text as table,
  c.relrowsecurity as "isSecured",
  exists (select from pg_policy p where p.polrelid = c.oid) as "hasPolicy",
  array(
    select a.attname::text
    from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and a.atttypid = 'uuid'::regtype
      and (
        a.attname = 'user_id'
        or coalesce(col_description(c.oid, a.attnum), '') ~ '(?n)^@userId\\M'
        or exists (
          select from pg_constraint k
          where k.conrelid = c.oid and k.contype = 'f' and k.confrelid = 'identity.users'::regclass and k.conkey = array[a.attnum]
        )
      )
    order by a.attnum
  ) as users
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = any ($1) and c.relkind in ('r', 'p') and not c.relispartition
order by c.oid::regclass::text collate "C"`;
