import type pg from "pg";
import type { GraphQLObjectType } from "postgraphile/graphql";
import { NO_ACCOUNT } from "../../../src/access-contract/actors.ts";
import type { Cell } from "../../../src/access-contract/cells.ts";
import { IDS } from "../access-probes/ids.ts";
import { type Api, startApi } from "../api.ts";
import { withClient } from "../client.ts";
import { type GeneratedField, readSurface } from "../generated-fields.ts";
import { openSocket } from "../socket.ts";
import type { TestDatabase } from "../test-database.ts";
import { type ApiActor, readActors } from "./actors.ts";
import { askerOf, callOf, selectionOf, tokenOf } from "./asking.ts";
import { withRolledBackPools } from "./rolled-back-pools.ts";
import { attemptRoot } from "./root-fields.ts";
import { KNOWN_FIRST, readSamples, type Samples } from "./samples.ts";
import { attemptTypes } from "./types.ts";

/** The limits of a single operation are not what is tried. */
const NO_LIMITS = {
  PLINTH_LIMIT_COST: "100000000",
  PLINTH_LIMIT_DEPTH: "30",
  PLINTH_LIMIT_ROOT_FIELDS: "100",
  PLINTH_LIMIT_FIELDS: "10000",
  PLINTH_LIMIT_PAGE_SIZE: "1000",
  PLINTH_RATE_LIMIT_REQUESTS: "10000000",
  PLINTH_STATEMENT_TIMEOUT_MS: "300000",
  // For the address of the seeded sessions.
  PLINTH_TRUSTED_PROXIES: "127.0.0.1",
};

/** Asks for every field as each role of the API, on a server whose database `seedContract` has filled. Nothing stays changed. */
export async function attemptGraphql(db: TestDatabase): Promise<readonly Cell[]> {
  const { schema, generated } = await readSurface(db);
  const { actors, samples, rowOf } = await withClient(db.url("owner"), async (client) => ({
    actors: (await readActors(client)).filter(isOfApi),
    samples: await readSamples(client),
    rowOf: await readRowsOfFields(client, generated),
  }));
  const api = await startApi(db, NO_LIMITS);
  try {
    const ask = askerOf(api, actors);
    const query = { keyword: "query", type: schema.getQueryType()! } as const;
    const mutation = { keyword: "mutation", type: schema.getMutationType()! } as const;
    return [
      ...(await attemptRoot(ask, actors, query, samples, rowOf)),
      ...(await attemptTypes(ask, actors, schema, samples, rowOf)),
      ...(await withRolledBackPools(() => attemptRoot(ask, actors, mutation, samples, rowOf))),
      ...(await attemptSubscriptions(api, actors, schema.getSubscriptionType()!, samples)),
    ];
  } finally {
    await api.close();
  }
}

/** A token without an account does not pass the server's front door, whatever it asks. */
const isOfApi = ({ role, name }: ApiActor) =>
  role === "anonymous" || (role === "user" && name !== NO_ACCOUNT);

/** The first row of each table, of Ada's if she has any, by the root fields that are generated from it. */
async function readRowsOfFields(
  client: pg.ClientBase,
  generated: readonly GeneratedField[],
): Promise<ReadonlyMap<string, Samples>> {
  const rowOf = new Map<string, Samples>();
  for (const { name, relation, columns } of generated) {
    const known = [...columns.values()].includes("id") ? `${KNOWN_FIRST},` : "";
    const { rows } = await client.query<{ row: Readonly<Record<string, unknown>> }>(
      `select to_jsonb(t) - 'place' as row from (select t.*, row_number() over () as place from ${relation} t) t
       order by strpos(t::text, '${IDS.ada}') > 0 desc, ${known} t.place limit 1`,
    );
    const values = [...columns].map(([field, column]) => [field, rows[0]?.row[column]] as const);
    rowOf.set(
      name,
      new Map(values.filter(([, value]) => value != null).map(([field, value]) => [field, String(value)])),
    );
  }
  return rowOf;
}

async function attemptSubscriptions(
  api: Pick<Api, "url">,
  actors: readonly ApiActor[],
  type: GraphQLObjectType,
  samples: Samples,
): Promise<readonly Cell[]> {
  const cells: Cell[] = [];
  for (const actor of actors) {
    const socket = await openSocket(api, tokenOf(actor));
    for (const field of Object.values(type.getFields())) {
      const { data, errors } = await socket.ask(
        `subscription { ${callOf(field, samples)}${selectionOf(field.type, samples)} }`,
      );
      cells.push({
        object: `subscription ${field.name}`,
        operation: "ask",
        role: actor.name,
        outcome: String(errors?.[0]?.extensions?.code ?? (data?.[field.name] == null ? "null" : "data")),
      });
    }
    await socket.dispose();
  }
  return cells;
}
