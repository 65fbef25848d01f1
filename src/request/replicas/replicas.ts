import type { Logger } from "pino";
import type { Config } from "../../config/config.ts";
import { askTogether } from "../../support/ask-together.ts";
import { createPool } from "../pool.ts";
import { committedPosition, isNotReplayed, type Position } from "./positions.ts";
import { Replica, ReplicaLost, type ReplicaState } from "./replica.ts";
import { isOfReplica, needsPrimary, ReplicaReads } from "./replica-reads.ts";

export interface Replicas {
  /**
   * Reads from a replica that has everything that was committed before the call, or else from the primary. A read that fails on
   * the replica for a reason that the primary does not have runs again on the primary.
   * @param operation the same object for each execution of an operation, which is remembered if no replica can run it
   */
  read<T>(
    operation: object,
    onReplica: (reads: ReplicaReads) => Promise<T>,
    onPrimary: () => Promise<T>,
  ): Promise<T>;
  /** In the order of the setting. */
  states(): ReplicaState[];
  close(): Promise<void>;
}

/** The time to answer a question that costs the primary microseconds; without an answer, reads go to the primary. */
const QUESTION_TIMEOUT_MS = 2_000;

/**
 * Reads from standbys without ever showing less than the primary. Before each read, the primary is asked how far its log is
 * committed (concurrent reads share a question), and only a replica that has replayed all of that answers. So the rows, the
 * memberships and the permissions that a read sees are at least those at its beginning, whichever server wrote them.
 */
export function openReplicas(options: {
  config: Config["replicas"];
  pool: Config["pool"];
  primaryUrl: string;
  logger: Logger;
}): Replicas {
  const { config, primaryUrl, logger } = options;
  // Apart from the pool of the requests, whose long reads would delay the questions.
  const primary = createPool({
    url: primaryUrl,
    applicationName: "plinth-position",
    max: 2,
    settings: {
      ...options.pool,
      connectionTimeoutMs: QUESTION_TIMEOUT_MS,
      statementTimeoutMs: QUESTION_TIMEOUT_MS,
    },
    answerGraceMs: 0,
    onError: (error) => recheck(error),
  });
  const replicas = config.urls.map(
    (url) => new Replica({ url, primary, settings: options.pool, maxLagMs: config.maxLagMs, logger }),
  );
  const askPosition = askTogether(() => committedPosition(primary));
  const onlyOnPrimary = new WeakSet<object>();
  for (const replica of replicas) void replica.check();

  /** Another server may answer as the primary next. */
  function recheck(error: unknown): void {
    for (const replica of replicas) if (replica.state === "in use") replica.leave("unchecked", error);
  }

  async function choose(): Promise<{ replica: Replica; position: Position } | undefined> {
    const inUse = replicas.filter(({ state }) => state === "in use");
    if (inUse.length === 0) return undefined;
    const position = await askPosition().catch(recheck);
    if (position === undefined) return undefined;
    const ready = inUse.filter((replica) => replica.isReady(position));
    // Those that are not ready too, so that the next reads can use them.
    const reaching = inUse.filter((replica) => !ready.includes(replica)).map((each) => each.reach(position));
    const reached = Promise.any(reaching).catch(() => undefined);
    const replica =
      ready.length === 0
        ? await reached
        : ready.reduce((best, each) => (each.load < best.load ? each : best));
    return replica && { replica, position };
  }

  return {
    async read(operation, onReplica, onPrimary) {
      const chosen = onlyOnPrimary.has(operation) ? undefined : await choose();
      if (!chosen) return onPrimary();
      const { replica, position } = chosen;
      const reads = new ReplicaReads(replica.pool, position);
      try {
        const result = await replica.whileReachable(onReplica(reads));
        if (reads.failure === undefined) return result;
      } catch (error) {
        if (reads.failure === undefined && !(error instanceof ReplicaLost)) throw error;
      }
      const { failure } = reads;
      logger.debug({ replica: replica.name, err: failure }, "a read runs again on the primary");
      if (isNotReplayed(failure)) replica.leave("behind", failure);
      else if (needsPrimary(failure)) onlyOnPrimary.add(operation);
      else if (failure !== undefined && isOfReplica(failure)) replica.leave("unreachable", failure);
      return onPrimary();
    },
    states: () => replicas.map(({ state }) => state),
    async close() {
      await Promise.all([primary.end(), ...replicas.map((replica) => replica.close())]);
    },
  };
}
