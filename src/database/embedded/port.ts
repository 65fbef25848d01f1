import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { PlinthError } from "../../support/errors.ts";

/**
 * A free port for the embedded server, from 20000 to 32767: below what Linux and macOS hand out to outgoing
 * connections, so that none of those sits on it when the server comes back after a reboot.
 */
export async function chooseFreePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = randomInt(20_000, 32_768);
    if (await isFree(port)) return port;
  }
  throw new PlinthError("NO_FREE_PORT", "No free port was found for the database.", {
    hint: "Name one with PLINTH_DATABASE_PORT.",
  });
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
