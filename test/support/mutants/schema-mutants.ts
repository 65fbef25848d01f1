import { SCHEMAS } from "../../../src/database/schemas.ts";
import {
  GRANTEES,
  type Grantee,
  type GrantMutant,
  observerOf,
  type RoleAttempt,
  type Surroundings,
} from "./grants.ts";

/** The schemas whose objects each role may name. */
export const USAGE: Readonly<Record<Grantee, readonly string[]>> = {
  anonymous: ["plinth", "identity", "access", "billing", "llm", "rooms", "learning", "security"],
  user: ["plinth", "identity", "access", "billing", "llm", "rooms", "learning", "security"],
  service: ["plinth", "access", "security", "private"],
  worker: ["access", "private"],
  analyst: ["analytics"],
  authenticator: [],
  public: [],
};

/** Resolves a name, which needs nothing but USAGE. */
export const usageAttempt = (schema: string, grantee: Grantee): RoleAttempt => ({
  role: observerOf(grantee),
  statement: `select '${schema}.none'::regclass`,
});

/** USAGE of every schema. */
export function usageMutants(around: Surroundings): GrantMutant[] {
  return GRANTEES.flatMap((grantee) =>
    SCHEMAS.map((schema): GrantMutant => {
      const isHeld = USAGE[grantee].includes(schema);
      const to = around.sqlOf(grantee);
      return {
        kind: "usage of a schema",
        object: schema,
        name: `${schema}: usage ${isHeld ? "revoked from" : "granted to"} ${grantee}`,
        sql: isHeld
          ? `revoke usage on schema ${schema} from ${to}`
          : `grant usage on schema ${schema} to ${to}`,
        attempt: usageAttempt(schema, grantee),
      };
    }),
  );
}

/** CREATE of every schema and of the database, and TEMPORARY. CONNECT needs a login: see roles.test.ts. */
export async function creationMutants({ client, sqlOf }: Surroundings): Promise<GrantMutant[]> {
  const { rows } = await client.query<{ name: string }>("select quote_ident(current_database()) as name");
  const database = `database ${rows[0]!.name}`;
  const rights = [
    ...SCHEMAS.map((schema) => ({
      object: schema,
      privilege: "create",
      on: `schema ${schema}`,
      statement: `create function ${schema}.of_mutant() returns integer language sql return 1`,
    })),
    { object: "the database", privilege: "create", on: database, statement: "create schema of_mutant" },
    {
      object: "the database",
      privilege: "temporary",
      on: database,
      statement: "create temporary table of_mutant ()",
    },
  ];
  return GRANTEES.flatMap((grantee) =>
    rights.map(
      ({ object, privilege, on, statement }): GrantMutant => ({
        kind: "right to create",
        object,
        name: `${object}: ${privilege} granted to ${grantee}`,
        sql: `grant ${privilege} on ${on} to ${sqlOf(grantee)}`,
        attempt: { role: observerOf(grantee), statement },
      }),
    ),
  );
}

/** Attempts on new objects, by the privilege that they need. */
const ON_NEW_OBJECTS: readonly (readonly [
  privilege: string,
  kind: string,
  statement: (schema: string) => string,
])[] = [
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
          attempt: {
            role: observerOf(grantee),
            statement: statement(schema),
            given: createObjects(schema, owner),
          },
        };
      }),
    ),
  );
}

const createObjects = (schema: string, owner: string) => `
  set local role ${owner};
  create table ${schema}.of_mutant (a serial);
  create function ${schema}.of_mutant() returns integer language sql return 1;
  set local role none`;
