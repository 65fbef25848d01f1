import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LOGIN_ROLES } from "../../src/config/roles.ts";
import { type CreateOptions, createPlinth, type Plinth } from "../../src/index.ts";
import { MASTER_KEYS, SIGNING_KEYS } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

/** A migrated database, and Plinth as an application starts it on that: with its jobs and its answerer. */
export interface PagesServer {
  readonly db: TestDatabase;
  start(options: CreateOptions): Promise<Plinth>;
}

export async function openPagesServer(parts: AsyncDisposableStack): Promise<PagesServer> {
  const db = await createTestDatabase();
  parts.defer(() => db.drop());
  const dataDirectory = await mkdtemp(join(tmpdir(), "plinth-browser-"));
  parts.defer(() => rm(dataDirectory, { recursive: true, force: true }));
  return {
    db,
    start: ({ settings, ...options }) =>
      createPlinth({
        settings: {
          databaseUrls: Object.fromEntries(LOGIN_ROLES.map((role) => [role, db.url(role)])),
          rolePrefix: db.rolePrefix,
          dataDirectory,
          auth: { jwtKeys: SIGNING_KEYS, masterKeys: MASTER_KEYS },
          logLevel: "silent",
          ...settings,
        },
        ...options,
      }),
  };
}
