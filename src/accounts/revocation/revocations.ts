import type { Logger } from "pino";
import { type Claims, isApiToken } from "../../auth/api-token.ts";
import type { RequestContext } from "../../request/context.ts";
import type { Notifier } from "../../request/notifier.ts";
import type { CallPrivateFunction } from "../../request/service-caller.ts";
import { type Revocation, RevocationList } from "./revocation-list.ts";
import { RevocationListener } from "./revocation-listener.ts";

const PURGE_INTERVAL_MS = 60_000;

export interface Revocations {
  /**
   * Whether a verified token has been revoked: checked in memory while the listener works, otherwise in the database.
   * @throws the database's error when a query fails
   */
  isRevoked(claims: Claims, request: RequestContext): Promise<boolean>;
  isListening(): boolean;
  close(): Promise<void>;
}

/** Keeps the process's list of revoked tokens up to date and calls `onRevocation` at least once for each. */
export async function startRevocations(options: {
  serviceUrl: string;
  notifier: Notifier;
  callPrivateFunction: CallPrivateFunction;
  logger: Logger;
  onRevocation: (revocation: Revocation) => void;
}): Promise<Revocations> {
  const { serviceUrl, notifier, callPrivateFunction, logger, onRevocation } = options;
  const list = new RevocationList();
  const listener = new RevocationListener({
    url: serviceUrl,
    notifier,
    logger,
    onRevocation(revocation) {
      list.add(revocation);
      onRevocation(revocation);
    },
  });
  await listener.start();
  const purging = setInterval(() => list.purge(Date.now()), PURGE_INTERVAL_MS).unref();

  return {
    async isRevoked(claims, request) {
      if (list.isRevoked(claims)) return true;
      if (listener.isListening) return false;
      const { userId, sessionId, tokenId, tokenVersion } = claims;
      const [answer] = isApiToken(claims)
        ? await callPrivateFunction<{ live: boolean }>(
            request,
            "select private.is_api_token_live($1, $2, $3) as live",
            [userId, tokenId, tokenVersion],
          )
        : await callPrivateFunction<{ live: boolean }>(
            request,
            "select private.is_token_live($1, $2, $3, $4) as live",
            [userId, sessionId, tokenId, tokenVersion],
          );
      return answer?.live !== true;
    },
    isListening: () => listener.isListening,
    async close() {
      clearInterval(purging);
      await listener.close();
    },
  };
}
