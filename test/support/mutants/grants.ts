import pg from "pg";
import { type SqlActor, sqlActors } from "../../../src/access-contract/actors.ts";
import { type Attempted, prepareAttempts } from "../../../src/access-contract/attempt.ts";
import type { Contract } from "../../../src/access-contract/contract.ts";
import { ROLES, type Role, roleName } from "../../../src/config/roles.ts";
import { readActors } from "../contract/actors.ts";
import type { TestDatabase } from "../test-database.ts";
import { type GrantInContract, isGranted } from "./contract-says.ts";
import type { Mutant } from "./mutant.ts";

// Mutants of grants are noticed by attempts of the role concerned, made as those of the access contract.

export interface GrantMutant extends Mutant {
  /** Its outcome has to differ. */
  readonly attempt: RoleAttempt;
  /** The same grant in the access contract, if it is there. */
  readonly inContract?: GrantInContract | undefined;
}
export interface RoleAttempt {
  readonly role: Role;
  readonly statement: string;
  /** Run first, as the administrator: with the mutant in place, and also without one. */
  readonly given?: string | undefined;
}

export type Grantee = Exclude<Role, "owner"> | "public";
export const GRANTEES: readonly Grantee[] = [...ROLES.filter((role) => role !== "owner"), "public"];

/** The role that notices a grant: of a grant to everyone, the role that has no other. */
export const observerOf = (grantee: Grantee): Role => (grantee === "public" ? "authenticator" : grantee);

/** Everything that the mutants of one database need. */
export interface Surroundings {
  readonly client: pg.ClientBase;
  /** The name of a grantee in SQL. */
  sqlOf(grantee: Role | "public"): string;
  /** The name of a grantee in the catalogue. */
  nameOf(grantee: Role | "public"): string;
  /** Outcomes of attempts, each with its mutant and rolled back. */
  outcomesOf(
    attempts: readonly { readonly attempt: RoleAttempt; readonly sql?: string }[],
  ): Promise<string[]>;
}

/** @param client a session of the administrator */
export async function openSurroundings(client: pg.ClientBase, db: TestDatabase): Promise<Surroundings> {
  await prepareAttempts(client);
  await client.query(ATTEMPT_WITH_MUTANT);
  const actors = await sqlActors(client, db, await readActors(client));
  const actorOf = new Map<Role, SqlActor>();
  for (const [{ role }, actor] of actors) if (!actorOf.has(role)) actorOf.set(role, actor);
  const nameOf = (grantee: Role | "public") =>
    grantee === "public" ? grantee : roleName(db.rolePrefix, grantee);
  return {
    client,
    nameOf,
    sqlOf: (grantee) => (grantee === "public" ? grantee : pg.escapeIdentifier(nameOf(grantee))),
    async outcomesOf(attempts) {
      const outcomes: string[] = [];
      for (let start = 0; start < attempts.length; start += BATCH) {
        const batch = attempts.slice(start, start + BATCH).map(({ attempt, sql }) => ({
          mutant: sql,
          given: attempt.given,
          attempt: { actor: actorOf.get(attempt.role), statements: [attempt.statement] },
        }));
        const { rows } = await client.query<{ result: Attempted }>(
          `select pg_temp.attempt_with_mutant(a.value) as result
           from jsonb_array_elements($1::jsonb) with ordinality a order by a.ordinality`,
          [JSON.stringify(batch)],
        );
        outcomes.push(...rows.map(({ result }) => outcomeOf(result)));
      }
      return outcomes;
    },
  };
}

const BATCH = 500;

const outcomeOf = ({ state, message }: Attempted) => (state === null ? "succeeds" : `${state} ${message}`);

/** The error undoes the mutant. */
const ATTEMPT_WITH_MUTANT = `
create function pg_temp.attempt_with_mutant(work jsonb) returns jsonb language plpgsql as $function$
declare
  result jsonb;
begin
  begin
    if work ->> 'mutant' is not null then execute work ->> 'mutant'; end if;
    if work ->> 'given' is not null then execute work ->> 'given'; end if;
    result := pg_temp.contract_attempt(work -> 'attempt');
    raise exception using errcode = 'PLEND';
  exception when sqlstate 'PLEND' then
    return result;
  end;
end
$function$`;

/** A function that another one called is denied by another name. */
const denialOf = (fn: string) => `42501 permission denied for function ${/([^.]+)\(/.exec(fn)![1]}`;

/** The grants whose attempt, without a mutant, answers otherwise than the access contract says. */
export async function contradictionsOf(
  { outcomesOf }: Surroundings,
  mutants: readonly GrantMutant[],
  contract: Contract,
): Promise<string[]> {
  const known = mutants.flatMap(({ attempt, inContract }) => (inContract ? [{ attempt, inContract }] : []));
  const outcomes = await outcomesOf(known);
  return known.flatMap(({ inContract }, n) => {
    const isDenied =
      inContract.operation === "call"
        ? outcomes[n] === denialOf(inContract.object)
        : /^42501 /.test(outcomes[n]!);
    return isDenied === isGranted(contract, inContract)
      ? [`${inContract.role}: ${inContract.operation} ${inContract.object}`]
      : [];
  });
}

/** The names of the mutants whose attempt has another outcome than without them. */
export async function detectedMutants(
  { outcomesOf }: Surroundings,
  mutants: readonly GrantMutant[],
): Promise<ReadonlySet<string>> {
  const keyOf = ({ attempt }: GrantMutant) => JSON.stringify(attempt);
  const attempts = new Map(mutants.map((mutant) => [keyOf(mutant), { attempt: mutant.attempt }]));
  const outcomes = await outcomesOf([...attempts.values()]);
  const before = new Map([...attempts.keys()].map((key, n) => [key, outcomes[n]!]));
  const after = await outcomesOf(mutants);
  return new Set(
    mutants.filter((mutant, n) => after[n] !== before.get(keyOf(mutant))).map(({ name }) => name),
  );
}

/** An entry of an access control list. */
export interface Held {
  readonly object: string;
  readonly grantee: string;
  readonly privilege: string;
  /** Of a grant on columns. */
  readonly columns?: readonly string[] | null;
}

/** Columns of a query that reads entries of `aclexplode(…) a`. */
export const HELD = `coalesce(pg_get_userbyid(nullif(a.grantee, 0)), 'public') as grantee, lower(a.privilege_type) as privilege`;

/** Answers on what a grantee holds a privilege: on all of the object, or on which columns. */
type Holding = (object: string, grantee: Grantee, privilege: string) => "all" | readonly string[];

export function holdingsOf(held: readonly Held[], { nameOf }: Surroundings): Holding {
  const key = (...parts: string[]) => parts.join("\n");
  const found = Map.groupBy(held, (each) => key(each.object, each.grantee, each.privilege));
  return (object, grantee, privilege) => {
    const entries = found.get(key(object, nameOf(grantee), privilege)) ?? [];
    return entries.some(({ columns }) => !columns) ? "all" : entries.flatMap(({ columns }) => columns ?? []);
  };
}
