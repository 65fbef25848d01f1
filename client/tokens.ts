/** Provides the token of each request. */
export interface Tokens {
  /** @returns undefined for a visitor */
  token(): Promise<string | undefined>;
  /** @returns the successor of a rejected token; undefined if there is none */
  renew(rejected: string): Promise<string | undefined>;
}

/** An API token, which is not refreshed. */
export function fixedToken(token: string): Tokens {
  return { token: async () => token, renew: async () => undefined };
}
