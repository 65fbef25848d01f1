import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { PlinthError } from "../../support/errors.ts";

/**
 * Chooses a free port for the embedded server from 20000 to 32767. Linux and macOS use higher ports for outgoing connections, so
 * none of these blocks the port when the server starts again after a reboot.
 */
export async function chooseFreePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = randomInt(20_000, 32_768);
    if (await isFree(port)) return port;
  }
  throw new PlinthError("NO_FREE_PORT", "No free port was found for the database.", {
    hint: "Set PLINTH_DATABASE_PORT to a free port.",
  });
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
