import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_ROLE_PREFIX } from "../config/roles.ts";
import { type EmbeddedServer, openEmbedded } from "../database/embedded/server.ts";

/** Runs `use` on an empty embedded server in a temporary folder. Needs and touches no other service. */
export async function withThrowawayServer<T>(use: (server: EmbeddedServer) => Promise<T>): Promise<T> {
  const dataDirectory = await mkdtemp(join(tmpdir(), "plinth-throwaway-"));
  try {
    const server = await openEmbedded(
      { dataDirectory, rolePrefix: DEFAULT_ROLE_PREFIX, embeddedPort: undefined },
      { purpose: "command", settings: { fsync: "off", autovacuum: "off" } },
    );
    try {
      return await use(server);
    } finally {
      await server.close();
    }
  } finally {
    await rm(dataDirectory, { recursive: true, force: true });
  }
}
