import type { Client } from "./client.ts";
import { cpuOf, cpuOfChildren, cpuOfEndedChildren } from "./cpu.ts";
import type { SeededDatabase } from "./database.ts";
import { type Load, openLoad } from "./load.ts";
import type { Operation } from "./operations.ts";
import { runPgbench } from "./pgbench.ts";
import type { PgbenchScript } from "./pgbench-script.ts";
import type { Sample } from "./samples.ts";
import type { RunningServer } from "./servers/start.ts";

type Measurement = Omit<Sample, "operation" | "server" | "round">;

/**
 * Requests before the first measurement of a server: enough for the compiler of Node, for the caches of the server and for a
 * generic plan of each prepared statement on each connection.
 */
const WARM_UP = 600;

export interface Measure {
  /** Sends each server the same number of requests. */
  warmUp(server: RunningServer, operation: Operation): Promise<void>;
  server(server: RunningServer, operation: Operation): Promise<Measurement>;
  pgbench(script: PgbenchScript): Promise<Measurement>;
}

export function createMeasure(
  { database, postmaster }: SeededDatabase,
  client: Client,
  seconds: number,
): Measure {
  /** @param node milliseconds of CPU of the server, `own` of the client */
  async function withCpu(
    run: () => Load | Promise<Load>,
    node: () => number,
    own: () => number,
  ): Promise<Measurement> {
    const counters = [node, () => cpuOfChildren(postmaster), own];
    const before = counters.map((read) => read());
    const { requests, ...load } = await run();
    const [nodeMs, postgresMs, clientMs] = counters.map((read, i) => (read() - before[i]!) / requests);
    return { ...load, nodeMs: nodeMs!, postgresMs: postgresMs!, clientMs: clientMs! };
  }

  return {
    async warmUp(server, operation) {
      const load = await openLoad(server, operation, client);
      await load.run({ requests: WARM_UP });
      load.close();
    },
    async server(server, operation) {
      const load = await openLoad(server, operation, client);
      const measurement = await withCpu(
        () => load.run({ seconds }),
        () => cpuOf(server.pid),
        () => cpuOf(process.pid),
      );
      load.close();
      return measurement;
    },
    pgbench: (script) =>
      withCpu(
        () => runPgbench(database.url(script.role), script, seconds),
        () => Number.NaN,
        cpuOfEndedChildren,
      ),
  };
}
