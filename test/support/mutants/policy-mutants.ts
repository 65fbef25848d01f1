import pg from "pg";
import { ROLES, type Role, roleName } from "../../../src/config/roles.ts";
import { SCHEMAS } from "../../../src/database/schemas.ts";
import { withoutEachPart } from "./condition-parts.ts";
import type { Mutant } from "./mutant.ts";

const COMMANDS = ["SELECT", "INSERT", "UPDATE", "DELETE"] as const;
type Command = (typeof COMMANDS)[number];

/** A row of pg_policies. */
export interface Policy {
  readonly table: string;
  readonly name: string;
  readonly command: Command | "ALL";
  readonly permissive: boolean;
  /** Names of database roles; "public" for every role. */
  readonly roles: readonly string[];
  readonly using: string | null;
  readonly check: string | null;
}

export async function readPolicies(client: pg.ClientBase): Promise<Policy[]> {
  const { rows } = await client.query<Policy>(
    `select schemaname || '.' || tablename as table, policyname as name, cmd as command,
       permissive = 'PERMISSIVE' as permissive, roles::text[] as roles, qual as using, with_check as check
     from pg_policies where schemaname = any ($1) order by 1, 2`,
    [SCHEMAS],
  );
  return rows;
}

/** Every way to break a policy. */
export function policyMutants(policy: Policy, rolePrefix: string): Mutant[] {
  const { table, name, command, permissive } = policy;
  const on = `${pg.escapeIdentifier(name)} on ${table}`;
  const mutants: Mutant[] = [];
  const add = (kind: string, what: string, sql: string | string[], role?: Role) =>
    mutants.push({
      kind,
      object: table,
      name: `${table} ${name}: ${what}`,
      sql: [sql].flat().join("; "),
      role,
    });

  add("policy dropped", "dropped", `drop policy ${on}`);
  for (const clause of ["using", "check"] as const) {
    const keyword = clause === "using" ? "using" : "with check";
    const applies = clause === "using" ? command !== "INSERT" : command !== "SELECT" && command !== "DELETE";
    if (!applies) continue;
    // An update without a check of its own repeats the condition of using.
    const condition = policy[clause] ?? policy.using ?? "true";
    const become = (kind: string, what: string, becomes: string) =>
      add(kind, `${keyword} ${what}`, `alter policy ${on} ${keyword} (${becomes})`);
    if (condition !== "true") become("condition weakened to true", "true", "true");
    become("condition inverted", "inverted", `not (${condition})`);
    for (const { removed, condition: rest } of withoutEachPart(condition))
      become("part of a condition removed", `without ${removed}`, rest);
  }
  const grantTo = (roles: readonly string[]) => `alter policy ${on} to ${quoted(roles)}`;
  for (const role of ROLES) {
    const name = roleName(rolePrefix, role);
    const others = policy.roles.filter((other) => other !== name);
    if (role === "owner") add("policy for one more role", "also to public", grantTo(["public"]), "analyst");
    else if (others.length === policy.roles.length)
      add("policy for one more role", `also to ${role}`, grantTo([...others, name]), role);
    else if (others.length > 0) add("policy for one role less", `not to ${role}`, grantTo(others), role);
  }
  const anew = (changes: Partial<Policy>) => [`drop policy ${on}`, createPolicy({ ...policy, ...changes })];
  if (command !== "ALL") {
    const condition = policy.using ?? policy.check;
    add(
      "policy for every command",
      "for all",
      anew({ command: "ALL", using: condition, check: policy.check ?? condition }),
    );
  } else
    for (const without of COMMANDS)
      add("policy for one command less", `not for ${without.toLowerCase()}`, [
        `drop policy ${on}`,
        ...COMMANDS.filter((kept) => kept !== without).map((kept) =>
          createPolicy({ ...policy, name: `${name}_${kept}`, command: kept }),
        ),
      ]);
  add(
    "permissive and restrictive swapped",
    permissive ? "restrictive" : "permissive",
    anew({ permissive: !permissive }),
  );
  return mutants;
}

const quoted = (roles: readonly string[]) =>
  roles.map((role) => (role === "public" ? role : pg.escapeIdentifier(role))).join(", ");

function createPolicy({ table, name, command, permissive, roles, using, check }: Policy): string {
  const condition = using !== null && command !== "INSERT" ? `using (${using})` : "";
  const checked =
    command !== "SELECT" && command !== "DELETE" && check !== null ? `with check (${check})` : "";
  return `create policy ${pg.escapeIdentifier(name)} on ${table} as ${permissive ? "permissive" : "restrictive"}
    for ${command} to ${quoted(roles)} ${condition} ${checked}`;
}

/** Row security off, for every table with row security: partitions and private tables included. */
export async function rowSecurityMutants(client: pg.ClientBase): Promise<Mutant[]> {
  const { rows } = await client.query<{ table: string }>(
    `select format('%I.%I', nspname, relname) as table from pg_class join pg_namespace n on n.oid = relnamespace
     where relrowsecurity and nspname = any ($1) order by 1`,
    [SCHEMAS],
  );
  return rows.map(({ table }) => ({
    kind: "row security disabled",
    object: table,
    name: `${table}: row security disabled`,
    sql: `alter table ${table} disable row level security`,
  }));
}

/** Views that run with the rights of their owner instead of their reader's, and the reverse. */
export async function viewMutants(client: pg.ClientBase): Promise<Mutant[]> {
  const { rows } = await client.query<{ view: string; invoker: boolean }>(
    `select format('%I.%I', nspname, relname) as view,
       coalesce('security_invoker=true' = any (reloptions), false) as invoker
     from pg_class join pg_namespace n on n.oid = relnamespace
     where relkind = 'v' and nspname = any ($1) order by 1`,
    [SCHEMAS],
  );
  return rows.map(({ view, invoker }) => ({
    kind: "rights of a view swapped",
    object: view,
    name: `${view}: runs with the rights of its ${invoker ? "owner" : "reader"}`,
    sql: `alter view ${view} set (security_invoker = ${!invoker})`,
  }));
}
