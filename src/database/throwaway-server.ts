import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_ROLE_PREFIX } from "../config/roles.ts";
import { type EmbeddedServer, openEmbedded } from "./embedded/server.ts";

/** Opens an empty embedded server in a temporary folder, which `close` deletes. It needs and touches no other service. */
export async function openThrowawayServer(): Promise<EmbeddedServer> {
  const dataDirectory = await mkdtemp(join(tmpdir(), "plinth-throwaway-"));
  const remove = () => rm(dataDirectory, { recursive: true, force: true });
  try {
    const server = await openEmbedded(
      { dataDirectory, rolePrefix: DEFAULT_ROLE_PREFIX, embeddedPort: undefined },
      { purpose: "command", settings: { fsync: "off", autovacuum: "off" } },
    );
    return { ...server, close: () => server.close().finally(remove) };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Runs `use` on such a server. */
export async function withThrowawayServer<T>(use: (server: EmbeddedServer) => Promise<T>): Promise<T> {
  const server = await openThrowawayServer();
  try {
    return await use(server);
  } finally {
    await server.close();
  }
}
