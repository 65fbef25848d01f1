import type pg from "pg";
import type { GraphQLObjectType } from "postgraphile/graphql";
import { IDS } from "../access-probes.ts";
import { type Api, startApi } from "../api.ts";
import { withClient } from "../client.ts";
import { type GeneratedField, readSurface } from "../generated-fields.ts";
import { openSocket } from "../socket.ts";
import type { TestDatabase } from "../test-database.ts";
import { type Actor, NO_ACCOUNT, readActors } from "./actors.ts";
import { askerOf, callOf, selectionOf, tokenOf } from "./asking.ts";
import type { Cell } from "./cells.ts";
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
  PLINTH_STATEMENT_TIMEOUT_MS: "60000",
};

/** Asks for every field as each role of the API, on a server whose database `seedContract` has filled. Nothing stays changed. */
export async function attemptGraphql(db: TestDatabase): Promise<readonly Cell[]> {
  const { schema, generated } = await readSurface(db);
  const { actors, samples, ids } = await withClient(db.url("owner"), async (client) => ({
    actors: (await readActors(client)).filter(isOfApi),
    samples: await readSamples(client),
    ids: await readIds(client, generated),
  }));
  const api = await startApi(db, NO_LIMITS);
  try {
    const ask = askerOf(api, actors);
    const query = { keyword: "query", type: schema.getQueryType()! } as const;
    const mutation = { keyword: "mutation", type: schema.getMutationType()! } as const;
    return [
      ...(await attemptRoot(ask, actors, query, samples, ids)),
      ...(await attemptTypes(ask, actors, schema, samples, ids)),
      ...(await withRolledBackPools(() => attemptRoot(ask, actors, mutation, samples, ids))),
      ...(await attemptSubscriptions(api, actors, schema.getSubscriptionType()!, samples)),
    ];
  } finally {
    await api.close();
  }
}

/** A token without an account does not pass the server's front door, whatever it asks. */
const isOfApi = ({ role, name }: Actor) => role === "anonymous" || (role === "user" && name !== NO_ACCOUNT);

/** The id of the first row of each table, of Ada's if she has any, by the root fields that are generated from it. */
async function readIds(
  client: pg.ClientBase,
  generated: readonly GeneratedField[],
): Promise<ReadonlyMap<string, string>> {
  const ids = new Map<string, string>();
  for (const { name, relation, columns } of generated) {
    if (![...columns.values()].includes("id")) continue;
    const { rows } = await client.query<{ id: string }>(
      `select t.id::text from (select t.id, t::text as row, row_number() over () as n from ${relation} t) t
       order by strpos(t.row, '${IDS.ada}') > 0 desc, ${KNOWN_FIRST}, t.n limit 1`,
    );
    if (rows[0]) ids.set(name, rows[0].id);
  }
  return ids;
}

async function attemptSubscriptions(
  api: Pick<Api, "url">,
  actors: readonly Actor[],
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
