import type pg from "pg";
import { DatabaseClient } from "../connection/client.ts";

/** Runs `use` on a new connection and closes it afterwards. */
export async function withConnection<T>(
  config: pg.ClientConfig,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new DatabaseClient(config);
  // If an idle connection breaks, the next query reports it. Without a listener, the event would end the process.
  client.on("error", () => {});
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end().catch(() => {});
  }
}
