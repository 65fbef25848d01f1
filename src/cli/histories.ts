import { loadApplication } from "../application/load-application.ts";
import { type Config, loadConfig } from "../config/config.ts";
import { applicationHistory, type MigrationHistory, plinthHistory } from "../database/history.ts";

/** Returns the histories that this folder's commands act on: Plinth's and, if there is one, the application's. */
export async function historiesOf(
  config: Config,
): Promise<{ plinth: MigrationHistory; application: MigrationHistory | undefined }> {
  const { migrations } = await loadApplication(config);
  const application = migrations === undefined ? undefined : applicationHistory(migrations);
  return { plinth: plinthHistory, application };
}

/** Returns the history that this folder's author writes: the application's or, in a checkout of Plinth, Plinth's. */
export async function writtenHistory(): Promise<MigrationHistory> {
  const { plinth, application } = await historiesOf(loadConfig());
  return application ?? plinth;
}
