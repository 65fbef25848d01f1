import type { ConnectedModel } from "../answerer/connect-model.ts";
import type { Config } from "../config/config.ts";
import { withConnection } from "../database/connection.ts";
import type { Database } from "../database/database.ts";
import { masterKeysOf } from "./key-settings.ts";

/**
 * Sets up the model of PLINTH_LLM_URL, or else a local echo, which answers in the demo.
 * @param parts closes the echo
 */
export async function prepareModel(
  config: Config,
  database: Database,
  isEchoWanted: boolean,
  parts: AsyncDisposableStack,
): Promise<ConnectedModel | undefined> {
  const { url, key, name } = config.models;
  const { connectModel, DEMO_PROVIDER } = await import("../answerer/connect-model.ts");
  let model: ConnectedModel;
  if (url) model = { provider: "PLINTH_LLM_URL", url, key, name, displayName: name };
  else if (isEchoWanted) {
    const { startFakeModel } = await import("../answerer/fake-model.ts");
    const echo = await startFakeModel();
    parts.defer(() => echo.close());
    const provider = DEMO_PROVIDER;
    model = { provider, url: echo.url, key: undefined, name: "echo", displayName: "Local echo" };
  } else return undefined;
  const connection = { connectionString: database.url("owner"), application_name: "plinth model" };
  await withConnection(connection, (client) => connectModel(client, model, masterKeysOf(config, database)));
  return model;
}
