import type { Application } from "../application/application.ts";
import { DEFAULT_ROLE_PREFIX } from "../config/roles.ts";
import type { EmbeddedServer } from "../database/embedded/server.ts";
import { migrateDatabase } from "../database/migrate.ts";
import { withThrowawayServer } from "../database/throwaway-server.ts";
import { interruptible } from "./interrupt.ts";

/**
 * Runs `use` on a temporary embedded server with all migrations applied, also those of an application. Ctrl-C stops it.
 */
export function withMigratedServer<T>(
  use: (server: EmbeddedServer) => Promise<T>,
  { migrations }: Pick<Application, "migrations"> = {},
): Promise<T> {
  const migrated = async (server: EmbeddedServer) => {
    await migrateDatabase({
      ownerUrl: server.url("owner"),
      rolePrefix: DEFAULT_ROLE_PREFIX,
      applicationMigrations: migrations,
    });
    return use(server);
  };
  return interruptible((_signal, orGiveUp) => withThrowawayServer((server) => orGiveUp(migrated(server))));
}
