import { type Revocation, revokes } from "../../accounts/revocation/revocation-list.ts";
import type { Claims } from "../../auth/api-token.ts";

/** Close codes of our own, next to those of the graphql-transport-ws protocol (4400 to 4499). */
const TOKEN_EXPIRED = { code: 4401, reason: "The access token has expired." } as const;
export const TOKEN_INVALID = { code: 4401, reason: "The access token is not valid." } as const;
/** "Try Again Later" in the registry of RFC 6455; clients reconnect after it, but not after 4401 or 1011. */
export const TRY_AGAIN = { code: 1013, reason: "The token cannot be checked at the moment." } as const;
export const TOKEN_REVOKED = { code: 4403, reason: "The access token has been revoked." } as const;

interface OpenSocket {
  readonly claims: Claims;
  readonly close: (code: number, reason: string) => void;
}

/** The WebSockets opened with a token; they close when the token becomes invalid. */
export class OpenSockets {
  readonly #bySubject = new Map<string, Set<OpenSocket>>();

  /**
   * Watches a socket until it has closed.
   * @returns a function to call when the socket has closed
   */
  add(claims: Claims, close: OpenSocket["close"]): () => void {
    const socket: OpenSocket = { claims, close };
    const subjects = [claims.userId, claims.sessionId, claims.tokenId].filter((id) => id !== null);
    for (const subject of subjects) {
      const sockets = this.#bySubject.get(subject) ?? new Set();
      this.#bySubject.set(subject, sockets.add(socket));
    }
    const cancelExpiry = at(claims.expiresAt, () => close(TOKEN_EXPIRED.code, TOKEN_EXPIRED.reason));
    return () => {
      cancelExpiry();
      for (const subject of subjects) {
        const sockets = this.#bySubject.get(subject);
        sockets?.delete(socket);
        if (sockets?.size === 0) this.#bySubject.delete(subject);
      }
    };
  }

  /** Closes the sockets of a revoked token. */
  revoke(revocation: Revocation): void {
    for (const socket of [...(this.#bySubject.get(revocation.subjectId) ?? [])])
      if (revokes(revocation, socket.claims)) socket.close(TOKEN_REVOKED.code, TOKEN_REVOKED.reason);
  }
}

/** The longest delay of a timer, about 25 days; a longer one fires immediately. API tokens live longer. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Calls back at a time, however distant. @returns a function that cancels the call */
function at(time: Date, callback: () => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = () => {
    const left = time.getTime() - Date.now();
    timer = setTimeout(
      left > MAX_TIMER_MS ? wait : callback,
      Math.min(Math.max(0, left), MAX_TIMER_MS),
    ).unref();
  };
  wait();
  return () => clearTimeout(timer);
}
