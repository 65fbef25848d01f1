import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import type { Client } from "graphql-ws";
import { pino } from "pino";
import { makeSchema } from "postgraphile";
import {
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  getVariableValues,
  isLeafType,
  isObjectType,
  isRequiredArgument,
  Kind,
  type OperationDefinitionNode,
  parse,
  validate,
} from "postgraphile/graphql";
import { loadConfig } from "../../src/config/config.ts";
import { loadSecrets } from "../../src/database/secrets.ts";
import { loadDemoData } from "../../src/demo/demo-data.ts";
import { assertCost } from "../../src/graphql/limits/query-cost.ts";
import { makePreset } from "../../src/graphql/preset.ts";
import { createPool } from "../../src/request/pool.ts";
import { assertStorable } from "../../src/request/storable.ts";
import { parseExactJson } from "../../src/support/exact-json.ts";
import { connect } from "../live/support.ts";
import { type Api, type SignedIn, send, signIn, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { everyProbe, type Probe } from "../support/input-probes.ts";

const SETTINGS = {
  PLINTH_LIMIT_ROOT_FIELDS: "100",
  PLINTH_LIMIT_FIELDS: "1000",
  PLINTH_LIMIT_COST: "10000000",
  PLINTH_LIMIT_DEPTH: "20",
  // No probe and no socket ends because the machine is slow.
  PLINTH_STATEMENT_TIMEOUT_MS: "600000",
  PLINTH_POOL_CONNECTION_TIMEOUT_MS: "600000",
  PLINTH_ACCESS_TOKEN_SECONDS: "86400",
  PLINTH_BODY_LIMIT_BYTES: "10000000",
};
const config = loadConfig(SETTINGS);
/** Number of returned errors per code. */
const counts = new Map<string, number>();
/** Probes sent as one operation. */
const BATCH = 25;
const AT_ONCE = 4;

let db: TestDatabase;
let api: Api;
let folder: string;
let schema: GraphQLSchema;
let ids: ReadonlyMap<string, string>;
let grace: SignedIn;
let password: string;

beforeAll(async () => {
  jest.spyOn(console, "error").mockImplementation(() => {});
  db = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "plinth-inputs-"));
  await withClient(db.url("owner"), (client) => loadDemoData(client, folder));
  password = loadSecrets(folder).demo.grace!;
  api = await startApi(db, SETTINGS);
  grace = await signIn(api, "grace", password);
  schema = await buildSchema();
  ids = await someIds();
});
afterAll(async () => {
  await api.close();
  await db.drop();
  await rm(folder, { recursive: true, force: true });
});

async function buildSchema(): Promise<GraphQLSchema> {
  const pool = createPool({
    url: db.url("authenticator"),
    applicationName: "plinth-inputs",
    max: 1,
    settings: config.pool,
    onError: () => {},
  });
  try {
    return (
      await makeSchema(
        makePreset({
          pool,
          config: { ...config, rolePrefix: db.rolePrefix },
          logger: pino({ level: "silent" }),
        }),
      )
    ).schema;
  } finally {
    await pool.end();
  }
}

/** An id of a row of every table that has one, by the singular of the table's name. */
async function someIds(): Promise<Map<string, string>> {
  return withClient(db.adminUrl, async (client) => {
    const { rows: tables } = await client.query<{ schema: string; name: string; isOwned: boolean }>(
      `select n.nspname as schema, c.relname as name,
              exists (select from pg_attribute o where o.attrelid = c.oid and o.attname = 'user_id') as "isOwned"
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       join pg_attribute a on a.attrelid = c.oid and a.attname = 'id' and a.atttypid = 'uuid'::regtype
       where c.relkind in ('r', 'p') and not c.relispartition and n.nspname <> 'private'`,
    );
    const found = new Map<string, string>();
    for (const { schema, name, isOwned } of tables) {
      const order = isOwned ? "user_id = $1 desc" : "id = $1";
      const { rows } = await client.query<{ id: string }>(
        `select id from ${client.escapeIdentifier(schema)}.${client.escapeIdentifier(name)} order by ${order} limit 1`,
        [grace.userId],
      );
      if (rows[0]) found.set(name.replace(/ies$/, "y").replace(/s$/, ""), rows[0].id);
    }
    return found;
  });
}

const NOWHERE = "01900000-0000-7000-8000-000000000000";

function fill(type: GraphQLNamedType, name: string): string {
  switch (type.name) {
    case "UUID": {
      const table = name.replace(/Id$/, "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      const [, id] =
        [...ids].find(([singular]) => singular === table || singular.endsWith(`_${table}`)) ?? [];
      return JSON.stringify(id ?? NOWHERE);
    }
    case "Int":
      return "1";
    case "Float":
      return "0.5";
    case "Boolean":
      return "true";
    case "BigInt":
    case "BigFloat":
      return '"1"';
    case "Datetime":
      return '"2024-05-06T07:08:09Z"';
    case "Date":
      return '"2024-05-06"';
    case "InternetAddress":
      return '"192.0.2.1"';
    case "CidrAddress":
      return '"192.0.2.0/24"';
    case "JSON":
      return "{ a: 1 }";
    case "Cursor":
      return JSON.stringify(Buffer.from('["natural",1]').toString("base64"));
    default:
      return '"word"';
  }
}

/** An operation of several probes, with the text of its variables. */
function operationOf(probes: readonly Probe[]): { query: string; variables: string } {
  const declared: string[] = [];
  const values: string[] = [];
  const fields = probes.map(({ text, variable }, i) => {
    if (variable) {
      declared.push(`$v${i}: ${variable.type}`);
      if (variable.json !== undefined) values.push(`"v${i}": ${variable.json}`);
    }
    return `p${i}: ${text.replace("$value", () => `$v${i}`)}`;
  });
  const head = `${probes[0]!.operation} ${declared.length > 0 ? `(${declared.join(", ")})` : ""}`;
  return { query: `${head} { ${fields.join("\n")} }`, variables: `{ ${values.join(", ")} }` };
}

/** True if it is rejected before anything runs, which would keep the other probes of its operation from being tried. */
function isRefusedEarly(probe: Probe): boolean {
  const { query, variables } = operationOf([probe]);
  try {
    const document = parse(query);
    if (validate(schema, document).length > 0) return true;
    const operation = document.definitions.find(
      (definition) => definition.kind === Kind.OPERATION_DEFINITION,
    ) as OperationDefinitionNode;
    const values = parseExactJson(variables) as Record<string, unknown>;
    assertStorable(values);
    if ("errors" in getVariableValues(schema, operation.variableDefinitions ?? [], values)) return true;
    assertCost({ schema, operation, fragments: new Map(), variables: values }, config.limits);
    return false;
  } catch {
    return true;
  }
}

/** Probes that are rejected early, one of each kind, and the rest. */
function sorted(probes: Iterable<Probe>): { early: Probe[]; late: Probe[] } {
  const early = new Map<string, Probe | undefined>();
  const late: Probe[] = [];
  for (const probe of probes) {
    if (!early.has(probe.kind)) early.set(probe.kind, isRefusedEarly(probe) ? probe : undefined);
    if (!early.get(probe.kind)) late.push(probe);
  }
  return { early: [...early.values()].filter((probe) => probe !== undefined), late };
}

interface Told {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions?: { readonly code?: string };
}

/** Codes of errors that the server causes. */
const OURS = new Set(["INTERNAL", "TIMEOUT", "UNAVAILABLE", undefined]);

/** A server without an optional part, such as a payment provider, may report UNAVAILABLE. */
function isOurs({ message, extensions }: Told): boolean {
  return (
    OURS.has(extensions?.code) &&
    !(extensions?.code === "UNAVAILABLE" && /this server|e-?mail/i.test(message))
  );
}

async function post(probes: readonly Probe[], mayRetry = true): Promise<string[]> {
  const { query, variables } = operationOf(probes);
  const body = `{ "query": ${JSON.stringify(query)}, "variables": ${variables} }`;
  const { status, json, text } = await send(api.url, {
    headers: { authorization: `Bearer ${grace.token}` },
    body,
  });
  if (
    mayRetry &&
    (status === 401 || json?.errors?.some((e: Told) => e.extensions?.code === "UNAUTHENTICATED"))
  ) {
    // A probe ended the session.
    grace = await signIn(api, "grace", password);
    return post(probes, false);
  }
  if (!json || (status !== 200 && status !== 400))
    return probes.map(({ place }) => `${place}: ${status} ${text.slice(0, 200)}`);
  const errors: Told[] = json.errors ?? [];
  for (const { extensions } of errors)
    counts.set(String(extensions?.code), (counts.get(String(extensions?.code)) ?? 0) + 1);
  // An operation that failed as a whole says nothing about each probe.
  if (probes.length > 1 && errors.some(({ path }) => path === undefined)) {
    const half = probes.length >> 1;
    return [...(await post(probes.slice(0, half))), ...(await post(probes.slice(half)))];
  }
  return errors.filter(isOurs).map(({ path, message, extensions }) => {
    const i = Number(String(path?.[0] ?? "p0").slice(1));
    return `${probes[i]!.place}: ${extensions?.code} ${message}`;
  });
}

async function subscribe(client: Client, probe: Probe): Promise<string[]> {
  const { query, variables } = operationOf([probe]);
  const errors = await new Promise<readonly Told[]>((resolve) => {
    const stop = client.subscribe(
      { query, variables: parseExactJson(variables) as Record<string, unknown> },
      {
        next: (answer) => {
          resolve((answer.errors as unknown as Told[]) ?? []);
          stop();
        },
        error: (error) => resolve(Array.isArray(error) ? error : [{ message: `socket: ${String(error)}` }]),
        complete: () => resolve([]),
      },
    );
  });
  return errors.filter(isOurs).map((error) => `${probe.place}: ${error.extensions?.code} ${error.message}`);
}

async function inTurn<T>(
  jobs: readonly T[],
  width: number,
  work: (job: T) => Promise<string[]>,
): Promise<string[]> {
  const waiting = [...jobs];
  const faults: string[] = [];
  const worker = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift())
      faults.push(...(await work(job)));
  };
  await Promise.all(Array.from({ length: width }, worker));
  return faults;
}

function batched(probes: readonly Probe[]): Probe[][] {
  const batches: Probe[][] = [];
  for (let i = 0; i < probes.length; i += BATCH) batches.push(probes.slice(i, i + BATCH));
  return batches;
}

const errorLogRows = () =>
  withClient(db.adminUrl, async (client) => {
    // The demo has errors of its own; those of servers have the role that reported them as their source.
    const { rows } = await client.query<{ n: string }>(
      "select count(*) as n from security.error_logs where source <> 'demo'",
    );
    return Number(rows[0]!.n);
  });

/** Every list of the API, with all fields of its rows. */
function* everyList(): Generator<Probe> {
  for (const field of Object.values(schema.getQueryType()!.getFields())) {
    const type = getNamedType(field.type);
    const nodes = isObjectType(type) ? type.getFields().nodes : undefined;
    if (!nodes || field.args.some(isRequiredArgument)) continue;
    const leaves = Object.values((getNamedType(nodes.type) as GraphQLObjectType).getFields?.() ?? {})
      .filter(({ type, args }) => isLeafType(getNamedType(type)) && args.length === 0)
      .map(({ name }) => name);
    const text = `${field.name} { nodes { __typename ${leaves.join(" ")} } }`;
    yield { place: field.name, operation: "query", text, kind: field.name };
  }
}

test("reports no internal error, no row in the error log and no lost connection for any odd input", async () => {
  const { early, late } = sorted(everyProbe(schema, fill));
  const of = (operation: Probe["operation"]) => late.filter((probe) => probe.operation === operation);
  const client = connect(api, grace);
  const faults = [
    ...(await inTurn(early, AT_ONCE, (probe) => post([probe]))),
    ...(await inTurn(batched(of("query")), AT_ONCE, post)),
    ...(await inTurn(of("subscription"), AT_ONCE, (probe) => subscribe(client, probe))),
    ...(await inTurn(batched(of("mutation")), 1, post)),
    // The values that they stored can be read.
    ...(await inTurn([...everyList()], AT_ONCE, (probe) => post([probe]))),
  ];
  await client.dispose();
  expect(faults.slice(0, 50)).toEqual([]);
  expect(await errorLogRows()).toBe(0);
  expect(jest.mocked(console.error).mock.calls).toEqual([]);
  expect(api.logLines.filter(({ level }) => Number(level) >= 50)).toEqual([]);
  // Most probes got as far as they should: neither the probing user nor a whole kind of values was rejected.
  const asked = early.length + late.length;
  expect(asked).toBeGreaterThan(10_000);
  for (const code of ["UNAUTHENTICATED", "FORBIDDEN", "RATE_LIMITED", "QUERY_TOO_COMPLEX"])
    expect([code, (counts.get(code) ?? 0) < asked / 20]).toEqual([code, true]);
}, 600_000);
