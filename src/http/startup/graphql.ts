import { postgraphile } from "postgraphile";
import { PlinthGrafserv } from "../../graphql/grafserv.ts";
import { makePreset } from "../../graphql/preset.ts";
import type { Connections } from "./connections.ts";
import type { ServerOptions } from "./options.ts";
import type { Services } from "./services.ts";

/** Builds the GraphQL schema from the database. */
export async function createGraphql(
  { config, logger }: ServerOptions,
  { apiPool, errorLog }: Connections,
  { signIn, memories, checkout, roomPasswords, rateLimit }: Services,
  stack: AsyncDisposableStack,
): Promise<PlinthGrafserv> {
  const pgl = postgraphile(
    makePreset({
      pool: apiPool,
      config,
      logger,
      signIn,
      memories,
      checkout,
      roomPasswords,
      onPlan: ({ clientIp }, fields) => rateLimit.chargePlanning(clientIp, fields),
      onUnforeseen: errorLog.record,
    }),
  );
  stack.defer(() => pgl.release());
  const serv = pgl.createServ((parts) => new PlinthGrafserv(parts));
  await pgl.getSchema();
  await serv.ready();
  return serv;
}
