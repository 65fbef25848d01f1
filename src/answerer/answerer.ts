import type { Logger } from "pino";
import { parseMasterKeys } from "../auth/master-keys.ts";
import { createSealer, type Sealer } from "../auth/sealing.ts";
import type { Config } from "../config/config.ts";
import { ListenConnection } from "../request/listen-connection.ts";
import { createNotifier } from "../request/notifier.ts";
import { createPool } from "../request/pool.ts";
import { createPrivateFunctionCaller } from "../request/service-caller.ts";
import { quietly } from "../support/quiet-log.ts";
import { answersInDatabase, type Claim } from "./answers-in-database.ts";
import type { BackOff } from "./back-off.ts";
import type { EndpointRules } from "./endpoint-rules.ts";
import { AnswerFailed } from "./failure.ts";
import { createGuardedFetch, type Timeouts } from "./guarded-fetch.ts";
import type { Model } from "./model-stream.ts";
import { type RunningAnswer, writeAnswer } from "./write-answer.ts";

export interface AnswererOptions {
  readonly serviceUrl: string;
  /** `version:base64url[,version:base64url…]`; unseals the keys of the providers. */
  readonly masterKeys: string;
  readonly pool: Config["pool"];
  /** Maximum number of answers that this process writes at the same time. */
  readonly concurrency: number;
  readonly providerRules: EndpointRules;
  /** Rules for users' own endpoints; by default, only public addresses over https. */
  readonly ownRules?: EndpointRules;
  readonly timeouts?: Partial<Timeouts>;
  readonly backOff?: BackOff;
  readonly pollMs?: number;
  /** Time for running answers to finish when the answerer stops. */
  readonly drainMs?: number;
  readonly logger: Logger;
}

export interface Answerer {
  /** Number of answers that are being written. */
  readonly running: number;
  /** Waits a few seconds for running answers; those without a piece are returned, the others broken off. */
  close(): Promise<void>;
}

const TIMEOUTS: Timeouts = { connectMs: 10_000, idleMs: 120_000, wholeMs: 1_800_000 };
const POLL_MS = 2_000;
const DRAIN_MS = 5_000;
const MAX_CLAIMS = 50;
/** Its statements are short, and pipelined connections carry several at once. */
const MAX_CONNECTIONS = 4;
const ONLY_PUBLIC: EndpointRules = { privateNetworks: [], trustedOrigins: [] };

/**
 * Writes the answers that users request, in any number of processes: each claims turns, calls the models and stores the answers. It
 * keeps nothing itself, so it may be killed at any time.
 */
export async function startAnswerer(options: AnswererOptions): Promise<Answerer> {
  const { serviceUrl, concurrency, logger, pollMs = POLL_MS, drainMs = DRAIN_MS } = options;
  const timeouts = { ...TIMEOUTS, ...options.timeouts };
  const onError = (err: Error) => logger.warn({ err }, "database connection lost");
  await using stack = new AsyncDisposableStack();
  const pool = createPool({
    url: serviceUrl,
    applicationName: "plinth-answerer",
    max: MAX_CONNECTIONS,
    settings: options.pool,
    onError,
  });
  stack.defer(() => pool.end());
  const notifier = createNotifier({ url: serviceUrl, onError });
  stack.defer(() => notifier.close());
  const providers = createGuardedFetch({ rules: options.providerRules, timeouts });
  stack.defer(() => providers.close());
  const own = createGuardedFetch({ rules: options.ownRules ?? ONLY_PUBLIC, timeouts });
  stack.defer(() => own.close());

  const answers = answersInDatabase(createPrivateFunctionCaller(pool, options.pool));
  const sealer = createSealer(parseMasterKeys(options.masterKeys));
  const running = new Map<string, RunningAnswer>();
  let isClosing = false;
  const warn = quietly((err: Error, repeats: number) =>
    logger.warn({ err, repeats }, "Requested answers cannot be claimed; retrying"),
  );

  function write(claim: Claim): void {
    const answer = writeAnswer(claim, {
      answers,
      fetchFor: ({ is_own }) => (is_own ? own : providers).fetch,
      modelOf: (each) => modelOf(each, sealer),
      wholeMs: timeouts.wholeMs,
      backOff: options.backOff,
      logger,
    });
    running.set(claim.message_id, answer);
    void answer.done.finally(() => {
      running.delete(claim.message_id);
      void claimMore();
    });
  }

  let claiming: Promise<void> | undefined;
  let wantsMore = false;
  /** One claim at a time; a call meanwhile causes another. */
  function claimMore(): Promise<void> {
    wantsMore = true;
    claiming ??= claimAll()
      .catch(warn)
      .finally(() => {
        claiming = undefined;
        if (wantsMore && !isClosing && running.size < concurrency) void claimMore();
      });
    return claiming;
  }
  async function claimAll(): Promise<void> {
    while (wantsMore && !isClosing && running.size < concurrency) {
      wantsMore = false;
      const wanted = Math.min(MAX_CLAIMS, concurrency - running.size);
      const claims = await answers.claim(wanted);
      for (const claim of claims) write(claim);
      wantsMore ||= claims.length === wanted;
    }
  }

  const listener = new ListenConnection({
    url: serviceUrl,
    applicationName: "plinth-answerer",
    channel: "plinth_live",
    purpose: "requested answers",
    logger,
    notifier,
    onListening: claimMore,
    onNotification(payload) {
      if (payload.startsWith("answers ")) void claimMore();
      const [, messageId, sequence] = /^turn:(\S+) (\d+)$/.exec(payload) ?? [];
      if (messageId) running.get(messageId)?.heard(Number(sequence));
    },
  });
  await listener.start();
  stack.defer(() => listener.close());
  // Notifications can be lost, and nothing announces the end of a killed server's lease.
  const polling = setInterval(() => {
    void claimMore();
    void answers.breakOffLost().catch(warn);
  }, pollMs);
  stack.defer(() => clearInterval(polling));

  const parts = stack.move();
  const stop = async (): Promise<void> => {
    isClosing = true;
    await claiming;
    const stopAll = setTimeout(() => {
      for (const answer of running.values()) answer.stop();
    }, drainMs);
    await Promise.all([...running.values()].map(({ done }) => done));
    clearTimeout(stopAll);
    await parts.disposeAsync();
  };
  let stopping: Promise<void> | undefined;
  return {
    get running() {
      return running.size;
    },
    close: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}

/** @throws AnswerFailed */
function modelOf(claim: Claim, sealer: Sealer): Model {
  const { endpoint, model, auth_type, sealed_key, is_own, user_id, provider_id } = claim;
  if (!endpoint || !model) throw new AnswerFailed("endpoint_missing", "The model has no endpoint to call.");
  if (auth_type === "none" || (is_own && !sealed_key)) return { endpoint, name: model, key: undefined };
  if (!sealed_key) throw new AnswerFailed("key_missing", "The model's provider has no key.");
  const owner = is_own ? user_id : provider_id!;
  try {
    return { endpoint, name: model, key: sealer.unseal("model key", sealed_key, owner).toString() };
  } catch {
    throw new AnswerFailed("key_unreadable", "The key of the model cannot be opened.");
  }
}
