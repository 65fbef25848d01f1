import type { Pool } from "pg";
import type { Logger } from "pino";
import type { Notifier } from "../request/notifier.ts";
import { BatchGroups, type GroupMember, type Subscriber } from "./batch-groups.ts";
import { Hub, type Listener } from "./hub.ts";
import { createLiveListener } from "./live-listener.ts";
import { LiveSubscription } from "./live-subscription.ts";
import { SharedReads } from "./shared-reads.ts";
import { SubscriptionLimits } from "./subscription-limits.ts";

/** Maximum open subscriptions per socket; a client needs one per room and a few more. */
export const MAX_SUBSCRIPTIONS_PER_SOCKET = 100;
/** Maximum open subscriptions per account at this server, across all its devices. */
const MAX_PER_USER = 500;
/** Interval at which all open subscriptions are read while notifications do not arrive. */
const POLL_INTERVAL_MS = 3_000;

export interface OpenSubscription {
  readonly subscription: LiveSubscription;
  readonly member: GroupMember;
}

/** Everything behind subscriptions that exists once per process. */
export interface Live {
  /**
   * @param onEnd called once, however the subscription ends
   * @returns undefined when the socket or its account has too many open subscriptions
   */
  open(
    socket: object,
    userId: string | undefined,
    subscriber: Subscriber,
    onEnd: (subscription: LiveSubscription) => void,
  ): OpenSubscription | undefined;
  /**
   * Listens for news of a topic that is no subscription's.
   * @returns a function that stops
   */
  listen(topic: string, listener: Listener): () => void;
  /** Whether notifications arrive; otherwise the server polls every few seconds. */
  isListening(): boolean;
  /** Number of open subscriptions. */
  openSubscriptions(): number;
  close(): Promise<void>;
}

/**
 * Listens for news until `close()`, and polls every few seconds while notifications do not arrive. While the database is
 * unavailable, subscriptions wait; then they resume at their cursor.
 * @param options.url of a role that may connect; it needs no privileges
 * @param options.pool connections as the authenticator role
 * @param options.isSharing whether subscribers who see the same rows share one execution
 */
export async function startLive(options: {
  url: string;
  notifier: Notifier;
  pool: Pool;
  logger: Logger;
  isSharing: boolean;
}): Promise<Live> {
  const { url, notifier, pool, logger, isSharing } = options;
  const hub = new Hub();
  const listener = createLiveListener({ url, notifier, logger, hub });
  const limits = new SubscriptionLimits({ perSocket: MAX_SUBSCRIPTIONS_PER_SOCKET, perUser: MAX_PER_USER });
  const reads = new SharedReads(pool);
  const groups = new BatchGroups(reads, { isSharing });
  await listener.start();
  let openSubscriptions = 0;
  const polling = setInterval(() => {
    if (!listener.isListening) hub.announceGap();
  }, POLL_INTERVAL_MS).unref();
  return {
    open(socket, userId, subscriber, onEnd) {
      const release = limits.take(socket, userId);
      if (!release) return undefined;
      openSubscriptions += 1;
      const member = groups.join(subscriber);
      const subscription = new LiveSubscription({
        hub,
        member,
        onEnd() {
          openSubscriptions -= 1;
          release();
          onEnd(subscription);
        },
      });
      return { subscription, member };
    },
    listen: (topic, other) => hub.add(topic, other),
    isListening: () => listener.isListening,
    openSubscriptions: () => openSubscriptions,
    async close() {
      clearInterval(polling);
      reads.close();
      await listener.close();
    },
  };
}
