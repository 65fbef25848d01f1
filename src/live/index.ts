import type { Pool } from "pg";
import type { Logger } from "pino";
import type { Notifier } from "../request/notifier.ts";
import { Hub } from "./hub.ts";
import { createLiveListener } from "./live-listener.ts";
import { LiveSubscription } from "./live-subscription.ts";
import { SharedReads } from "./shared-reads.ts";
import { SubscriptionLimits } from "./subscription-limits.ts";
import { type Asker, type GroupMember, TurnGroups } from "./turn-groups.ts";

/** Subscriptions one socket may have open; a client needs one a room and a few more. */
export const MAX_SUBSCRIPTIONS_PER_SOCKET = 100;
/** Subscriptions one account may have open at this server, on all its devices. */
const MAX_PER_USER = 500;
/** How often everything open is read again while no notification says what has news. */
const POLL_INTERVAL_MS = 3_000;

export interface OpenSubscription {
  readonly subscription: LiveSubscription;
  readonly member: GroupMember;
}

/** Everything behind subscriptions that this process has once. */
export interface Live {
  /**
   * @param onEnd told once, however the subscription ends
   * @returns undefined when the socket or its account has too many open
   */
  open(
    socket: object,
    userId: string | undefined,
    asker: Asker,
    onEnd: (subscription: LiveSubscription) => void,
  ): OpenSubscription | undefined;
  /** Whether news is heard of; otherwise it is looked for every few seconds. */
  isListening(): boolean;
  close(): Promise<void>;
}

/**
 * Listens for news until `close()`, and looks for it every few seconds while notifications do not arrive. While the database is
 * away, subscriptions wait and then go on where they were.
 * @param options.url of a role that may connect; it needs no rights
 * @param options.pool connections as the authenticator role
 */
export async function startLive(options: {
  url: string;
  notifier: Notifier;
  pool: Pool;
  logger: Logger;
}): Promise<Live> {
  const { url, notifier, pool, logger } = options;
  const hub = new Hub();
  const listener = createLiveListener({ url, notifier, logger, hub });
  const limits = new SubscriptionLimits({ perSocket: MAX_SUBSCRIPTIONS_PER_SOCKET, perUser: MAX_PER_USER });
  const reads = new SharedReads(pool);
  const groups = new TurnGroups(reads);
  await listener.start();
  const polling = setInterval(() => {
    if (!listener.isListening) hub.announceGap();
  }, POLL_INTERVAL_MS).unref();
  return {
    open(socket, userId, asker, onEnd) {
      const giveBack = limits.take(socket, userId);
      if (!giveBack) return undefined;
      const member = groups.join(asker);
      const subscription = new LiveSubscription({
        hub,
        member,
        onEnd() {
          giveBack();
          onEnd(subscription);
        },
      });
      return { subscription, member };
    },
    isListening: () => listener.isListening,
    async close() {
      clearInterval(polling);
      reads.close();
      await listener.close();
    },
  };
}
