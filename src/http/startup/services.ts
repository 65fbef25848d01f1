import { createConversationMemories } from "../../accounts/conversation-memory/conversation-memories.ts";
import { createUserKeys } from "../../accounts/conversation-memory/user-keys.ts";
import { startActivity } from "../../accounts/last-activity.ts";
import { createEmbedder } from "../../accounts/memories/embedder.ts";
import { createMemories } from "../../accounts/memories/memories.ts";
import { createModelKeys } from "../../accounts/model-keys.ts";
import { startRevocations } from "../../accounts/revocation/revocations.ts";
import { createRoomPasswords } from "../../accounts/room-passwords.ts";
import { createAttemptLimits } from "../../limits/attempt-limits.ts";
import { createLeaseTaker } from "../../limits/lease-taker.ts";
import { createTurnLimit, turnBytesPerWindow } from "../../limits/turn-limit.ts";
import { createCheckout } from "../../payments/checkout.ts";
import { createRateLimit } from "../steps/rate-limit.ts";
import { OpenSockets } from "../websocket/open-sockets.ts";
import type { Auth } from "./auth.ts";
import type { Connections } from "./connections.ts";
import type { ServerOptions } from "./options.ts";
import { createServerSignIn } from "./sign-in.ts";

export type Services = Awaited<ReturnType<typeof createServices>>;

/** Creates what the API calls outside SQL, and starts what runs between requests. */
export async function createServices(
  options: ServerOptions,
  auth: Auth,
  connections: Connections,
  stack: AsyncDisposableStack,
) {
  const { config, serviceUrl, logger } = options;
  const { callPrivateFunction, notifier } = connections;
  const openSockets = new OpenSockets();
  const revocations = await startRevocations({
    serviceUrl,
    notifier,
    callPrivateFunction,
    logger,
    onRevocation: (revocation) => openSockets.revoke(revocation),
  });
  stack.defer(() => revocations.close());
  const activity = startActivity({ callPrivateFunction, logger });
  stack.defer(() => activity.close());

  const attemptLimits = createAttemptLimits(callPrivateFunction);
  const signIn = createServerSignIn(options, auth, connections, attemptLimits);
  const userKeysFor = (purpose: Parameters<typeof createUserKeys>[0]["purpose"]) =>
    createUserKeys({ callPrivateFunction, sealer: auth.sealer, purpose });
  const conversationMemories = createConversationMemories({
    callPrivateFunction,
    userKeys: userKeysFor("conversation memory"),
  });
  const memories = createMemories({
    callPrivateFunction,
    userKeys: userKeysFor("memories"),
    embedder: createEmbedder(config.embeddings),
    logger,
  });
  const roomPasswords = createRoomPasswords({ callPrivateFunction, attemptLimits, hasher: auth.hasher });
  const modelKeys = createModelKeys({ callPrivateFunction, sealer: auth.sealer });
  const rateLimit = createServerRateLimit(options, connections);
  stack.defer(() => rateLimit.close());
  const checkout = await createCheckout({ settings: config.payments, callPrivateFunction });
  return {
    openSockets,
    revocations,
    activity,
    signIn,
    conversationMemories,
    memories,
    roomPasswords,
    modelKeys,
    rateLimit,
    checkout,
  };
}

function createServerRateLimit({ config, logger }: ServerOptions, { callPrivateFunction }: Connections) {
  const { rateLimit } = config.http;
  const { windowSeconds } = rateLimit;
  return createRateLimit({
    config: rateLimit,
    takeLease: createLeaseTaker(callPrivateFunction, rateLimit),
    turnLimit: createTurnLimit({
      windowSeconds,
      takeLease: createLeaseTaker(callPrivateFunction, {
        requests: turnBytesPerWindow(windowSeconds),
        windowSeconds,
      }),
      logger,
    }),
    logger,
  });
}
