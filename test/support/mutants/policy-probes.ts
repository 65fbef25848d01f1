import type pg from "pg";
import { ROLES, type Role } from "../../../src/config/roles.ts";
import { SCHEMAS } from "../../../src/database/schemas.ts";
import type { Outcome, Probe } from "../access-probes/probe.ts";
import { PROBES } from "../access-probes/probes.ts";
import { probesOfParts } from "./probes-of-parts.ts";
import { PROBES_OF_VIEWS } from "./probes-of-views.ts";

// The probes that are written down, and those that follow from them: a command that succeeds in no probe of a table changes
// nothing there, for any user; and no role except the API's two sees or changes a row, not even with the claims of a user.

/** A statement of a user under a role of the database. */
export interface RoleProbe {
  readonly role: Role;
  /** The user whose claims the session has; undefined for none. */
  readonly user: string | undefined;
  readonly sql: string;
  readonly expected: Outcome;
  /** Changes rows first, as the administrator. */
  readonly given?: string | undefined;
}
/** By the name of the table or view. */
export type ProbesByName = ReadonlyMap<string, readonly RoleProbe[]>;

const DENIED = "42501";
/** Roles that no policy names. */
const OTHER_ROLES = ROLES.filter((role) => !["owner", "user", "anonymous"].includes(role));

const commandOf = (sql: string) => sql.split(" ", 1)[0]!;
const nothing = (sql: string): Outcome => (commandOf(sql) === "insert" ? DENIED : 0);

/** All probes of every table and view, partitions and private tables included. */
export async function readProbes(client: pg.ClientBase): Promise<ProbesByName> {
  const { rows } = await client.query<{ table: string; column: string; newRow: string }>(
    `select format('%I.%I', nspname, relname) as table, quote_ident(attname) as column,
       -- A partition accepts rows of its range only, and checks that before the policies if a trigger has changed the row.
       coalesce(
         (select format('(%s) values (%L)', substring(pg_get_partkeydef(inhparent) from '\\((\\w+)\\)'),
            coalesce(substring(pg_get_expr(relpartbound, c.oid) from $$FROM \\('([^']+)$$), '1970-01-01'))
          from pg_inherits where inhrelid = c.oid),
         'default values'
       ) as "newRow"
     from pg_class c join pg_namespace n on n.oid = relnamespace
     join lateral (
       select attname from pg_attribute
       where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = '' and attidentity = ''
       order by attnum limit 1
     ) a on true
     where relkind in ('r', 'p') and nspname = any ($1) order by 1`,
    [SCHEMAS],
  );
  return new Map([
    ...rows.map(({ table, column, newRow }) => [table, probesOfTable(table, column, newRow)] as const),
    ...Object.entries(PROBES_OF_VIEWS).map(([view, probes]) => [view, probes.map(asRoleProbe)] as const),
  ]);
}

const asRoleProbe = ([actor, sql, expected, given]: Probe): RoleProbe => ({
  ...sessionOf(actor),
  sql,
  expected,
  given,
});

function probesOfTable(table: string, column: string, newRow: string): RoleProbe[] {
  const stated = [...(PROBES[table] ?? []), ...probesOfParts(table)].map(asRoleProbe);
  const never = [
    `select from ${table}`,
    `delete from ${table}`,
    `update ${table} set ${column} = null`,
    `insert into ${table} ${newRow}`,
  ].map((sql) => ({ sql, expected: nothing(sql) }));
  const succeeding = stated.filter(({ expected }) => typeof expected === "number" && expected > 0);
  const permitted = new Set(succeeding.map(({ sql }) => commandOf(sql)));
  const users = new Set(["ada", ...stated.flatMap(({ user }) => user ?? [])]);
  const denied = [undefined, ...users].flatMap((user) =>
    never
      .filter(({ sql }) => !permitted.has(commandOf(sql)))
      .map((probe) => ({ ...probe, user, role: user ? ("user" as const) : ("anonymous" as const) })),
  );
  // Without values, an insert may fail for another reason than its policy: one that succeeds tells more.
  const tried = never.filter(({ sql }) => commandOf(sql) !== "insert" || !permitted.has("insert"));
  // An insert of a selection inserts no row, instead of failing, if the role cannot see what it selects.
  const attempts = [
    ...succeeding.filter(({ sql }) => !/^insert .*\) select\b/s.test(sql)),
    ...[...users].flatMap((user) => tried.map(({ sql }) => ({ user, sql, given: undefined }))),
  ];
  const byOtherRoles = OTHER_ROLES.flatMap((role) =>
    attempts.map(({ user, sql, given }) => ({ role, user, sql, given, expected: nothing(sql) })),
  );
  const byAnonymous = attempts.flatMap(({ user, sql, given }) => {
    const same = stated.filter(
      (probe) => probe.role === "anonymous" && probe.sql === sql && probe.given === given,
    );
    const expected =
      same.find((probe) => probe.user === user) ?? same.find((probe) => probe.user === undefined);
    return { role: "anonymous" as const, user, sql, given, expected: expected?.expected ?? nothing(sql) };
  });
  return [...stated, ...denied, ...byOtherRoles, ...byAnonymous];
}

function sessionOf(actor: string): { role: Role; user: string | undefined } {
  if (actor === "visitor") return { role: "anonymous", user: undefined };
  if (actor === "userless") return { role: "user", user: undefined };
  const [user, role = "user"] = actor.split(" as ") as [string, Role?];
  return { role, user: user === "visitor" ? undefined : user };
}
