import { SCHEMAS } from "../../../src/database/schemas.ts";
import { GRANTEES, type Grantee, type GrantMutant, type Observation, observerOf, type Surroundings } from "./grants.ts";

/** The schemas whose objects each role may name. */
export const USAGE: Readonly<Record<Grantee, readonly string[]>> = {
  anonymous: ["plinth", "identity", "access", "billing", "llm", "rooms", "learning", "security"],
  user: ["plinth", "identity", "access", "billing", "llm", "rooms", "learning", "security"],
  service: ["plinth", "security", "private"],
  worker: ["private"],
  analyst: ["analytics"],
  authenticator: [],
  public: [],
};

/** Resolves a name, which needs nothing but USAGE. */
export const observeUsage = (around: Surroundings, schema: string, grantee: Grantee): Observation =>
  around.observe(observerOf(grantee), `select '${schema}.none'::regclass`);

/** USAGE and CREATE of every schema, CREATE and TEMPORARY of the database. CONNECT needs a login: see roles.test.ts. */
export async function schemaMutants(around: Surroundings): Promise<GrantMutant[]> {
  const { rows } = await around.client.query<{ database: string }>(
    "select quote_ident(current_database()) as database",
  );
  return GRANTEES.flatMap((grantee) => [
    ...SCHEMAS.map((schema): GrantMutant => {
      const isHeld = USAGE[grantee].includes(schema);
      return {
        kind: "usage of a schema",
        object: schema,
        name: `${schema}: usage ${isHeld ? "revoked from" : "granted to"} ${grantee}`,
        sql: isHeld
          ? `revoke usage on schema ${schema} from ${around.sqlOf(grantee)}`
          : `grant usage on schema ${schema} to ${around.sqlOf(grantee)}`,
        observation: observeUsage(around, schema, grantee),
      };
    }),
    ...creationMutants(around, grantee, rows[0]!.database),
  ]);
}

function creationMutants(around: Surroundings, grantee: Grantee, database: string): GrantMutant[] {
  const mutant = (object: string, privilege: string, on: string, statement: string): GrantMutant => ({
    kind: "right to create",
    object,
    name: `${object}: ${privilege} granted to ${grantee}`,
    sql: `grant ${privilege} on ${on} to ${around.sqlOf(grantee)}`,
    observation: around.observe(observerOf(grantee), statement),
  });
  return [
    ...SCHEMAS.map((schema) =>
      mutant(
        schema,
        "create",
        `schema ${schema}`,
        `create function ${schema}.of_mutant() returns integer language sql return 1`,
      ),
    ),
    mutant("the database", "create", `database ${database}`, "create schema of_mutant"),
    mutant("the database", "temporary", `database ${database}`, "create temporary table of_mutant ()"),
  ];
}

/** Attempts on new objects, by the privilege that they need. */
const ON_NEW_OBJECTS: readonly (readonly [privilege: string, kind: string, statement: (schema: string) => string])[] = [
  ["select", "tables", (schema) => `select from ${schema}.of_mutant`],
  ["insert", "tables", (schema) => `insert into ${schema}.of_mutant default values`],
  ["update", "tables", (schema) => `update ${schema}.of_mutant set a = 1`],
  ["delete", "tables", (schema) => `delete from ${schema}.of_mutant`],
  ["truncate", "tables", (schema) => `truncate ${schema}.of_mutant`],
  ["usage", "sequences", (schema) => `select nextval('${schema}.of_mutant_a_seq')`],
  ["execute", "functions", (schema) => `select ${schema}.of_mutant() from (select 1 offset 0) a`],
];

/** Default privileges of objects that later migrations create, in one schema and in all. The caller has USAGE of all. */
export function defaultPrivilegeMutants(around: Surroundings): GrantMutant[] {
  const owner = around.sqlOf("owner");
  return [undefined, ...SCHEMAS].flatMap((only) =>
    ON_NEW_OBJECTS.flatMap(([privilege, kind, statement]) =>
      GRANTEES.map((grantee): GrantMutant => {
        const schema = only ?? "plinth";
        return {
          kind: "default privilege",
          object: schema,
          name: `new ${kind} in ${only ?? "all schemas"}: ${privilege} granted to ${grantee}`,
          sql: `alter default privileges for role ${owner} ${only ? `in schema ${only}` : ""}
            grant ${privilege} on ${kind} to ${around.sqlOf(grantee)}`,
          observation: around.observe(
            observerOf(grantee),
            statement(schema),
            `set local role ${owner};
             create table ${schema}.of_mutant (a serial);
             create function ${schema}.of_mutant() returns integer language sql return 1;
             set local role none`,
          ),
        };
      }),
    ),
  );
}
