import pg from "pg";
import { ROLES, type Role, roleName } from "../../../src/config/roles.ts";
import { type Actor, readActors, type SqlActor, sqlActors } from "../contract/actors.ts";
import { attemptAll, prepareAttempts } from "../contract/attempt.ts";
import type { TestDatabase } from "../test-database.ts";
import type { Mutant } from "./mutant.ts";

// Mutants of grants are noticed by attempts of the role concerned, made as those of the access contract, which holds the
// outcomes without a mutant.

export interface GrantMutant extends Mutant {
  /** An attempt whose outcome has to differ. */
  readonly observation: Observation;
}
export interface Observation {
  /** Equal for equal attempts. */
  readonly key: string;
  run(): Promise<string>;
}

export type Grantee = Exclude<Role, "owner"> | "public";
export const GRANTEES: readonly Grantee[] = [...ROLES.filter((role) => role !== "owner"), "public"];

/** The role that notices a grant: of a grant to everyone, the role that has no other. */
export const observerOf = (grantee: Grantee): Role => (grantee === "public" ? "authenticator" : grantee);

/** What the mutants of one database need. */
export interface Surroundings {
  readonly client: pg.ClientBase;
  /** One actor for each role. */
  actorOf(role: Role): readonly [Actor, SqlActor];
  /** The name of a grantee in SQL. */
  sqlOf(grantee: Role | "public"): string;
  /** The name of a grantee in the catalogue. */
  nameOf(grantee: Role | "public"): string;
  /** Tries a statement as a role. */
  observe(role: Role, statement: string, before?: string): Observation;
}

/** @param client a session of the administrator */
export async function openSurroundings(client: pg.ClientBase, db: TestDatabase): Promise<Surroundings> {
  await prepareAttempts(client);
  const actors = [...(await sqlActors(client, db, await readActors(client)))];
  const actorOf = (wanted: Role) => actors.find(([{ role }]) => role === wanted)!;
  const nameOf = (grantee: Role | "public") =>
    grantee === "public" ? grantee : roleName(db.rolePrefix, grantee);
  return {
    client,
    actorOf,
    nameOf,
    sqlOf: (grantee) => (grantee === "public" ? grantee : pg.escapeIdentifier(nameOf(grantee))),
    observe: (role, statement, before) => ({
      key: `${role}: ${before ?? ""}; ${statement}`,
      async run() {
        if (before) await client.query(`savepoint before; ${before}`);
        const [result] = await attemptAll(client, [{ actor: actorOf(role)[1], statements: [statement] }]);
        if (before) await client.query("rollback to savepoint before; release savepoint before");
        return result!.state === null ? "succeeds" : `${result!.state} ${result!.message}`;
      },
    }),
  };
}

/** An entry of an access control list. */
export interface Held {
  readonly object: string;
  readonly grantee: string;
  readonly privilege: string;
  /** Of a grant on columns. */
  readonly columns?: readonly string[] | null;
}

/** The columns of a query that reads `Held` from `aclexplode(…) a`. */
export const HELD = `coalesce(pg_get_userbyid(nullif(a.grantee, 0)), 'public') as grantee, lower(a.privilege_type) as privilege`;

/** Answers on what a grantee holds a privilege: on all of the object, or on which columns. */
export type Holding = (object: string, grantee: Grantee, privilege: string) => "all" | readonly string[];

export function holdingsOf(held: readonly Held[], { nameOf }: Surroundings): Holding {
  const key = (...parts: string[]) => parts.join("\n");
  const found = Map.groupBy(held, (each) => key(each.object, each.grantee, each.privilege));
  return (object, grantee, privilege) => {
    const entries = found.get(key(object, nameOf(grantee), privilege)) ?? [];
    return entries.some(({ columns }) => !columns) ? "all" : entries.flatMap(({ columns }) => columns ?? []);
  };
}
