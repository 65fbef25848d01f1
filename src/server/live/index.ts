import type { Pool } from "pg";
import type { Logger } from "pino";
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
  close(): Promise<void>;
}

/**
 * Listens for news until `close()`. While the database is away, subscriptions wait and then go on where they were.
 * @param options.url of a role that may connect; it needs no rights
 * @param options.pool connections as the authenticator role
 */
export async function startLive(options: { url: string; pool: Pool; logger: Logger }): Promise<Live> {
  const { url, pool, logger } = options;
  const hub = new Hub();
  const listener = createLiveListener({ url, logger, hub });
  const limits = new SubscriptionLimits({ perSocket: MAX_SUBSCRIPTIONS_PER_SOCKET, perUser: MAX_PER_USER });
  const reads = new SharedReads(pool);
  const groups = new TurnGroups(reads);
  await listener.start();
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
    async close() {
      reads.close();
      await listener.close();
    },
  };
}
