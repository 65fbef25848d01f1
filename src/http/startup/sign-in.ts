import { randomUUID } from "node:crypto";
import { createSignIn, type SignIn } from "../../accounts/sign-in/index.ts";
import { createEmailHasher } from "../../auth/email-hasher.ts";
import type { AttemptLimits } from "../../limits/attempt-limits.ts";
import { contextWithoutRequest } from "../../request/context.ts";
import type { Auth } from "./auth.ts";
import type { Connections } from "./connections.ts";
import type { ServerOptions } from "./options.ts";

/** The sign-in operations with the server's settings; errors that clients must not see go to the log and the error log. */
export function createServerSignIn(
  { config, canSendSms = false, logger }: ServerOptions,
  { accessTokens, sealer, providers, hasher }: Auth,
  { callPrivateFunction, errorLog }: Connections,
  attemptLimits: AttemptLimits,
): SignIn {
  const { app, auth } = config;
  return createSignIn({
    callPrivateFunction,
    attemptLimits,
    hasher,
    sealer,
    relyingParty: { name: app.name, id: app.rpId, origins: app.origins },
    emailHasher: createEmailHasher({
      sealer,
      query: (text, values) => callPrivateFunction(contextWithoutRequest(), text, values),
    }),
    privacyMode: auth.privacyMode,
    providers,
    accessTokens,
    passwordHistory: auth.passwordHistory,
    appName: app.name,
    canSendSms,
    reportError(error, { correlationId }, userId) {
      const errorId = randomUUID();
      logger.error({ err: error, errorId, correlationId }, "Sign-in to an account failed");
      errorLog.record({ errorId, error, correlationId, userId });
    },
  });
}
