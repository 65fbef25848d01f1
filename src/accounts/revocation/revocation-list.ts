import type { Claims } from "../../auth/api-token.ts";

/** A row of private.token_blacklist: access and API tokens that are revoked although they have not expired. */
export interface Revocation {
  readonly kind: "token" | "session" | "user";
  readonly subjectId: string;
  /** For a user: tokens of a lower version are revoked; null means all. */
  readonly tokenVersion: number | null;
  readonly expiresAt: Date;
}

/** Revocations in memory, kept until no affected token can be valid. A lookup costs three map accesses. */
export class RevocationList {
  /** Expiry of each entry by token or session id, in ms since 1970. */
  readonly #ids = new Map<string, number>();
  readonly #users = new Map<string, { lowestLiveVersion: number; expiresAt: number }>();

  add({ kind, subjectId, tokenVersion, expiresAt }: Revocation): void {
    const expiry = expiresAt.getTime();
    if (kind !== "user") {
      this.#ids.set(subjectId, Math.max(expiry, this.#ids.get(subjectId) ?? 0));
      return;
    }
    // Versions only grow, so the highest one counts, in whatever order they arrive.
    const known = this.#users.get(subjectId);
    this.#users.set(subjectId, {
      lowestLiveVersion: Math.max(
        tokenVersion ?? Number.POSITIVE_INFINITY,
        known?.lowestLiveVersion ?? Number.NEGATIVE_INFINITY,
      ),
      expiresAt: Math.max(expiry, known?.expiresAt ?? 0),
    });
  }

  isRevoked({ userId, sessionId, tokenId, tokenVersion }: Claims): boolean {
    const user = this.#users.get(userId);
    return (
      (user !== undefined && tokenVersion < user.lowestLiveVersion) ||
      (sessionId !== null && this.#ids.has(sessionId)) ||
      this.#ids.has(tokenId)
    );
  }

  /** Removes expired entries. */
  purge(now: number): void {
    for (const [id, expiresAt] of this.#ids) if (expiresAt <= now) this.#ids.delete(id);
    for (const [id, { expiresAt }] of this.#users) if (expiresAt <= now) this.#users.delete(id);
  }

  get size(): number {
    return this.#ids.size + this.#users.size;
  }
}

/** Whether a revocation applies to a token. */
export function revokes(revocation: Revocation, claims: Claims): boolean {
  const list = new RevocationList();
  list.add(revocation);
  return list.isRevoked(claims);
}
