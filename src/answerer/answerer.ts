import type { Logger } from "pino";
import type { Embedder } from "../accounts/memories/embedder.ts";
import { parseMasterKeys } from "../auth/master-keys.ts";
import { createSealer, type Sealer } from "../auth/sealing.ts";
import type { Config } from "../config/config.ts";
import { createMetrics, type Metrics } from "../observability/metrics.ts";
import { watchPool } from "../observability/pool-metrics.ts";
import { findTracer } from "../observability/tracing.ts";
import { ListenConnection } from "../request/listen-connection.ts";
import { createNotifier } from "../request/notifier.ts";
import { createPool } from "../request/pool.ts";
import { assertStatementsStayPrepared } from "../request/prepared-statement-check.ts";
import { createPrivateFunctionCaller } from "../request/service-caller.ts";
import { quietly } from "../support/quiet-log.ts";
import type { AnswerStore, ModelClaim } from "./answer-store.ts";
import type { BackOff } from "./back-off.ts";
import { breakOffLostAnswers, type ChatClaim, chatAnswer, claimChatAnswers } from "./chat-answers.ts";
import type { EndpointRules } from "./endpoint-rules.ts";
import { AnswerFailed } from "./failure.ts";
import { createGuardedFetch, type Timeouts } from "./guarded-fetch.ts";
import { callOnce, insist } from "./insist.ts";
import { loadProtocol, type Model } from "./model-stream.ts";
import { createRecall } from "./recalled-memories.ts";
import { claimRoomAnswers, type RoomClaim, roomAnswer } from "./room-answers.ts";
import { type RunningAnswer, type WriterParts, writeAnswer } from "./write-answer.ts";

export interface AnswererOptions {
  readonly serviceUrl: string;
  /** `version:base64url[,version:base64url…]`; unseals the keys of the providers. */
  readonly masterKeys: string;
  readonly pool: Config["pool"];
  /** Maximum number of answers that this process writes at the same time. */
  readonly concurrency: number;
  readonly providerRules: EndpointRules;
  /** Finds memories by their meaning; by default, they are found by their words. */
  readonly embedder?: Embedder | undefined;
  /** Rules for users' own endpoints; by default, only public addresses over https. */
  readonly ownRules?: EndpointRules;
  readonly timeouts?: Partial<Timeouts>;
  readonly backOff?: BackOff;
  readonly pollMs?: number;
  /** Time for running answers to finish when the answerer stops. */
  readonly drainMs?: number;
  readonly logger: Logger;
  readonly metrics?: Metrics;
}

export interface Answerer {
  /** Number of answers that are being written. */
  readonly running: number;
  /** Waits a few seconds for running answers; those without a piece are returned, the others broken off. */
  close(): Promise<void>;
}

const TIMEOUTS: Timeouts = { connectMs: 10_000, idleMs: 120_000, wholeMs: 1_800_000 };
const POLL_MS = 2_000;
const ROOM_POLLS = 5;
const DRAIN_MS = 5_000;
const MAX_CLAIMS = 50;
/** Its statements are short, and pipelined connections carry several at once. */
const MAX_CONNECTIONS = 4;
const ONLY_PUBLIC: EndpointRules = { privateNetworks: [], trustedUrls: [] };

/**
 * Writes the answers that users request, in any number of processes: each claims turns, calls the models and stores the answers. It
 * keeps nothing itself, so it may be killed at any time.
 */
export async function startAnswerer(options: AnswererOptions): Promise<Answerer> {
  const { serviceUrl, concurrency, logger, pollMs = POLL_MS, drainMs = DRAIN_MS } = options;
  const { metrics = createMetrics() } = options;
  findTracer();
  const timeouts = { ...TIMEOUTS, ...options.timeouts };
  const onError = (err: Error) => logger.warn({ err }, "database connection lost");
  await loadProtocol();
  await using stack = new AsyncDisposableStack();
  const pool = createPool({
    url: serviceUrl,
    applicationName: "plinth-answerer",
    max: MAX_CONNECTIONS,
    settings: options.pool,
    onError,
  });
  stack.defer(() => pool.end());
  stack.defer(watchPool(metrics, "answerer", pool));
  if (options.pool.preparedStatements) await assertStatementsStayPrepared(serviceUrl);
  const notifier = createNotifier({ url: serviceUrl, onError });
  stack.defer(() => notifier.close());
  const providers = createGuardedFetch({ rules: options.providerRules, timeouts });
  stack.defer(() => providers.close());
  const own = createGuardedFetch({ rules: options.ownRules ?? ONLY_PUBLIC, timeouts });
  stack.defer(() => own.close());

  const callPrivateFunction = createPrivateFunctionCaller(pool, options.pool);
  const [once, insistent] = [callOnce(callPrivateFunction), insist(callPrivateFunction)];
  const sealer = createSealer(parseMasterKeys(options.masterKeys));
  const recall = createRecall({ callPrivateFunction, sealer, embedder: options.embedder, logger });
  const running = new Map<string, RunningAnswer>();
  /** Rooms with news; null means all rooms. */
  const rooms = new Set<string | null>([null]);
  let isClosing = false;
  const warn = quietly((err: Error, repeats: number) =>
    logger.warn({ err, repeats }, "Requested answers cannot be claimed; retrying"),
  );
  const shared = {
    wholeMs: timeouts.wholeMs,
    backOff: options.backOff,
    logger,
    onEnd: metrics.countAnswer,
  };

  function writeInChat(claim: ChatClaim): void {
    const { is_own, user_id, provider_id } = claim;
    write(chatAnswer(claim, insistent, recall), {
      ...shared,
      fetch: (is_own ? own : providers).fetch,
      findModel: () => modelOf(claim, sealer, is_own ? user_id : provider_id!, is_own),
    });
  }
  function writeInRoom(claim: RoomClaim): void {
    write(roomAnswer(claim, insistent), {
      ...shared,
      fetch: providers.fetch,
      findModel: () => modelOf(claim, sealer, claim.provider_id!, false),
    });
  }
  function write(store: AnswerStore, parts: WriterParts): void {
    const answer = writeAnswer(store, parts);
    running.set(store.id, answer);
    void answer.done.finally(() => {
      if (running.get(store.id) === answer) running.delete(store.id);
      void claimMore();
    });
  }

  let claiming: Promise<void> | undefined;
  let wantsMore = false;
  /** Claims do not overlap; a call meanwhile causes another. */
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
      const claims = await claimChatAnswers(once, wanted);
      for (const claim of claims) writeInChat(claim);
      wantsMore ||= claims.length === wanted || (await claimInRooms());
    }
  }
  /** @returns whether more rooms may wait */
  async function claimInRooms(): Promise<boolean> {
    const wanted = Math.min(MAX_CLAIMS, concurrency - running.size);
    if (rooms.size === 0 || wanted === 0) return false;
    const ids = rooms.has(null) ? null : [...rooms].filter((id) => id !== null);
    rooms.clear();
    const claims = await claimRoomAnswers(once, ids, wanted).catch((error) => {
      rooms.add(null);
      throw error;
    });
    for (const claim of claims) writeInRoom(claim);
    if (claims.length === wanted) rooms.add(null);
    return claims.length === wanted;
  }

  const listener = new ListenConnection({
    url: serviceUrl,
    applicationName: "plinth-answerer",
    channel: "plinth_live",
    purpose: "requested answers",
    logger,
    notifier,
    onListening() {
      rooms.add(null);
      return claimMore();
    },
    onNotification(payload) {
      const [, roomId] = /^room:(\S+) /.exec(payload) ?? [];
      if (roomId) rooms.add(roomId);
      if (roomId || payload.startsWith("answers ")) void claimMore();
      const [, messageId, sequence] = /^turn:(\S+) (\d+)$/.exec(payload) ?? [];
      if (messageId) running.get(messageId)?.heard(Number(sequence));
    },
  });
  await listener.start();
  stack.defer(() => listener.close());
  const stopSampling = metrics.sample(() => {
    metrics.answersRunning.set(running.size);
    metrics.listeners.set({ purpose: "answers" }, Number(listener.isListening));
  });
  stack.defer(() => void stopSampling());
  // Notifications can be lost, and nothing announces the end of a killed server's lease.
  let polls = 0;
  const polling = setInterval(() => {
    // Looking at all rooms costs more than looking at the requested answers.
    if (++polls % ROOM_POLLS === 0) rooms.add(null);
    void claimMore();
    void breakOffLostAnswers(once).catch(warn);
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

/**
 * @param owner the user or the provider for whom the key was sealed
 * @throws AnswerFailed
 */
function modelOf(claim: ModelClaim, sealer: Sealer, owner: string, isKeyOptional: boolean): Model {
  const { endpoint, model, auth_type, sealed_key } = claim;
  if (!endpoint || !model) throw new AnswerFailed("endpoint_missing", "The model has no endpoint to call.");
  if (auth_type === "none" || (isKeyOptional && !sealed_key))
    return { endpoint, name: model, key: undefined };
  if (!sealed_key) throw new AnswerFailed("key_missing", "The model's provider has no key.");
  try {
    return { endpoint, name: model, key: sealer.unseal("model key", sealed_key, owner).toString() };
  } catch {
    throw new AnswerFailed("key_unreadable", "The key of the model cannot be opened.");
  }
}
