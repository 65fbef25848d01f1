import type { AccessTokenClaims } from "../auth/access-token.ts";
import { type Revocation, revokes } from "./revocation-list.ts";

/** Close codes of our own, next to those of the graphql-transport-ws protocol (4400 to 4499). */
export const TOKEN_EXPIRED = { code: 4401, reason: "The access token has expired." } as const;
export const TOKEN_INVALID = { code: 4401, reason: "The access token is not valid." } as const;
export const TOKEN_REVOKED = { code: 4403, reason: "The access token has been revoked." } as const;

interface OpenSocket {
  readonly claims: AccessTokenClaims;
  readonly close: (code: number, reason: string) => void;
}

/** The WebSockets that were opened with an access token: they end with it. */
export class OpenSockets {
  readonly #bySubject = new Map<string, Set<OpenSocket>>();

  /**
   * Watches over a socket until it has closed.
   * @returns to be called when the socket has closed
   */
  add(claims: AccessTokenClaims, close: OpenSocket["close"]): () => void {
    const socket: OpenSocket = { claims, close };
    const subjects = [claims.userId, claims.sessionId, claims.tokenId];
    for (const subject of subjects) {
      const sockets = this.#bySubject.get(subject) ?? new Set();
      this.#bySubject.set(subject, sockets.add(socket));
    }
    const expiry = setTimeout(
      () => close(TOKEN_EXPIRED.code, TOKEN_EXPIRED.reason),
      Math.max(0, claims.expiresAt.getTime() - Date.now()),
    ).unref();
    return () => {
      clearTimeout(expiry);
      for (const subject of subjects) {
        const sockets = this.#bySubject.get(subject);
        sockets?.delete(socket);
        if (sockets?.size === 0) this.#bySubject.delete(subject);
      }
    };
  }

  /** Closes the sockets whose token is revoked. */
  revoke(revocation: Revocation): void {
    for (const socket of [...(this.#bySubject.get(revocation.subjectId) ?? [])])
      if (revokes(revocation, socket.claims)) socket.close(TOKEN_REVOKED.code, TOKEN_REVOKED.reason);
  }
}
