import { randomInt } from "node:crypto";
import { isFree } from "../../src/database/embedded/port.ts";

/*
 * Below the ports that embedded servers choose, and those from which the system takes ports for outgoing connections and for servers
 * without a port of their own. Each worker of Jest has a part of the range, so that none takes a port that another has chosen and not
 * opened yet, or that its server will open again.
 */
const FIRST = 10_000;
const PART = 1_000;
const PARTS = 10;
const first = FIRST + ((Number(process.env.JEST_WORKER_ID ?? 1) - 1) % PARTS) * PART;

let next = randomInt(PART);

/** Free ports for servers that start later, or start again. No other call in the test file returns the same. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let tried = 0; ports.length < count; tried++) {
    if (tried === PART) throw new Error("No port is free.");
    const port = first + (next++ % PART);
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}
