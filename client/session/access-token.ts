/** An access token, in memory only. */
export interface AccessToken {
  readonly token: string;
  readonly userId: string;
  /** From this time on (by this machine's clock) it is refreshed before it is used. */
  readonly staleAt: number;
}

/** The rest of a token's life must suffice for a request. */
const RESERVE_SECONDS = 30;

/** Reads a token that has just arrived. Its lifetime is the distance of two of the server's times, so clocks need not agree. */
export function readAccessToken(token: string): AccessToken {
  const payload = token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/");
  const { sub, iat, exp } = JSON.parse(atob(payload)) as { sub: string; iat: number; exp: number };
  const lifetime = exp - iat;
  const useful = Math.max(lifetime - RESERVE_SECONDS, lifetime / 2);
  return { token, userId: sub, staleAt: Date.now() + useful * 1_000 };
}

export function isFresh(access: AccessToken | undefined): access is AccessToken {
  return access !== undefined && Date.now() < access.staleAt;
}
