import pg from "pg";
import { ROLES, type Role } from "../../../src/config/roles.ts";
import { SCHEMAS } from "../../../src/database/schemas.ts";
import { type Outcome, PROBES } from "../access-probes.ts";

// The probes of access-probes.ts, and those that follow from them: a command that succeeds in no probe of a table changes
// nothing there, whoever runs it; and no role except the API's two sees or changes a row, not even with the claims of a user.

/** A statement of a user, or of a visitor without claims, under a role of the database. */
export interface RoleProbe {
  readonly role: Role;
  readonly user: string;
  readonly sql: string;
  readonly expected: Outcome;
}
export type ProbesOfTables = ReadonlyMap<string, readonly RoleProbe[]>;

const DENIED = "42501";
/** Roles that no policy names. */
const OTHER_ROLES = ROLES.filter((role) => !["owner", "user", "anonymous"].includes(role));

const commandOf = (sql: string) => sql.trimStart().split(/\s/, 1)[0]!;
const nothing = (sql: string): Outcome => (/^insert(?!.*\bselect\b)/s.test(sql) ? DENIED : 0);

/** All probes of every table with row security: partitions and private tables included. */
export async function probesOfTables(client: pg.ClientBase): Promise<ProbesOfTables> {
  const { rows } = await client.query<{ table: string; column: string }>(
    `select format('%I.%I', nspname, relname) as table, quote_ident(attname) as column
     from pg_class c join pg_namespace n on n.oid = relnamespace
     join lateral (
       select attname from pg_attribute
       where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = '' order by attnum limit 1
     ) a on true
     where relkind in ('r', 'p') and nspname = any ($1) order by 1`,
    [SCHEMAS],
  );
  return new Map(rows.map(({ table, column }) => [table, probesOf(table, column)]));
}

function probesOf(table: string, column: string): RoleProbe[] {
  const stated = PROBES[table] ?? [];
  const succeeding = stated.filter(([, , expected]) => typeof expected === "number" && expected > 0);
  const permitted = new Set(succeeding.map(([, sql]) => commandOf(sql)));
  const never = [
    `select from ${table}`,
    `delete from ${table}`,
    `update ${table} set ${column} = null`,
    `insert into ${table} default values`,
  ];
  const users = [...new Set(["ada", ...stated.map(([actor]) => actor).filter((actor) => actor !== "visitor")])];
  const attempts = [...succeeding, ...users.flatMap((user) => never.map((sql) => [user, sql] as const))];
  return [
    ...stated.map(([actor, sql, expected]) => ({ ...sessionOf(actor), sql, expected })),
    ...["visitor", ...users].flatMap((actor) =>
      never
        .filter((sql) => !permitted.has(commandOf(sql)))
        .map((sql) => ({ ...sessionOf(actor), sql, expected: nothing(sql) })),
    ),
    ...OTHER_ROLES.flatMap((role) => attempts.map(([user, sql]) => ({ role, user, sql, expected: nothing(sql) }))),
    ...attempts.map(([user, sql]) => ({ role: "anonymous" as const, user, sql, expected: seenByVisitors(table, sql) })),
  ];
}

const sessionOf = (actor: string): { role: Role; user: string } => ({
  role: actor === "visitor" ? "anonymous" : "user",
  user: actor,
});

/** Claims give the anonymous role nothing: it sees what a visitor sees. */
function seenByVisitors(table: string, sql: string): Outcome {
  const stated = PROBES[table]?.find(([actor, same]) => actor === "visitor" && same === sql);
  return stated?.[2] ?? nothing(sql);
}
