import { DEFAULT_ROLE_PREFIX } from "../config/roles.ts";
import type { EmbeddedServer } from "../database/embedded/server.ts";
import { migrateDatabase } from "../database/migrate.ts";
import { withThrowawayServer } from "../database/throwaway-server.ts";
import { interruptible } from "./interrupt.ts";

/** Runs `use` on a temporary embedded server with all of Plinth's migrations applied. Ctrl-C stops it. */
export function withMigratedServer<T>(use: (server: EmbeddedServer) => Promise<T>): Promise<T> {
  const migrated = async (server: EmbeddedServer) => {
    await migrateDatabase({ ownerUrl: server.url("owner"), rolePrefix: DEFAULT_ROLE_PREFIX });
    return use(server);
  };
  return interruptible((_signal, orGiveUp) => withThrowawayServer((server) => orGiveUp(migrated(server))));
}
