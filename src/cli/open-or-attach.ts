import type { Application } from "../application/application.ts";
import type { Config } from "../config/config.ts";
import { assertHasDatabase, attachDatabase, type Database, openDatabase } from "../database/database.ts";
import { assertUpToDate } from "../start/up-to-date.ts";
import { PlinthError } from "../support/errors.ts";
import type { Service } from "./until-stopped.ts";

/**
 * Starts a part of Plinth on the database. Uses the embedded database of a running Plinth, or opens it, shares it with others
 * and stops it after the part.
 */
export async function openOrAttach<P extends { close(): Promise<void> }>(
  {
    config,
    application,
    log,
    signal,
  }: {
    readonly config: Config;
    readonly application: Application;
    readonly log: (line: string) => void;
    readonly signal?: AbortSignal;
  },
  startPart: (database: Database) => Promise<P>,
): Promise<Service & { readonly service: P }> {
  assertHasDatabase(config);
  await using parts = new AsyncDisposableStack();
  const database = await openDatabase(config, { log }).catch((error) => {
    if (error instanceof PlinthError && error.code === "DATA_LOCKED") return attachDatabase(config, { log });
    throw error;
  });
  parts.defer(() => database.close());
  await assertUpToDate(config, database, application, { log, signal });
  const service = await startPart(database);
  parts.defer(() => service.close());
  const running = parts.move();
  return { service, died: database.died, close: () => running.disposeAsync() };
}
