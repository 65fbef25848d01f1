import { BlockList, isIP, isIPv6 } from "node:net";
import {
  type ApiTokenClaims,
  type ApiTokenScope,
  hashApiToken,
  invalidApiToken,
} from "../../auth/api-token.ts";
import { clientKey } from "../../request/client-key.ts";
import type { RequestContext } from "../../request/context.ts";
import type { CallPrivateFunction } from "../../request/service-caller.ts";
import { PlinthError } from "../../support/errors.ts";
import { ExpiringCache } from "./expiring-cache.ts";

/** Time a token, known or unknown, is cached without a query. Revocations take effect immediately. */
const TTL_MS = 60_000;
const MAX_ENTRIES = 10_000;
/** Unknown tokens per client and TTL before further ones are rejected without a query, so that guessing costs no queries. */
const MAX_MISSES = 20;

interface FoundToken {
  readonly token_id: string;
  readonly user_id: string;
  readonly token_version: number;
  readonly scopes: ApiTokenScope[];
  readonly expires_at: Date;
  /** CIDR blocks; null allows any address. */
  readonly allowed_networks: readonly string[] | null;
}

interface KnownToken {
  readonly claims: ApiTokenClaims;
  readonly networks: BlockList | null;
}

/**
 * Returns the claims of an API token. A malformed token is rejected without a query; an active one costs a query a minute.
 * The caller checks the list of revocations.
 * @throws PlinthError UNAUTHENTICATED, RATE_LIMITED; or the database's error when a query fails
 */
export type FindApiToken = (token: string, request: RequestContext) => Promise<ApiTokenClaims>;

export function createApiTokenFinder(callPrivateFunction: CallPrivateFunction): FindApiToken {
  /** Tokens by hash; null for unknown ones. An unknown random token never becomes valid later. */
  const known = new ExpiringCache<KnownToken | null>({ ttlMs: TTL_MS, maxEntries: MAX_ENTRIES });
  const misses = new ExpiringCache<{ count: number }>({ ttlMs: TTL_MS, maxEntries: MAX_ENTRIES });
  /** Pending queries, shared by concurrent requests. */
  const asking = new Map<string, Promise<KnownToken | null>>();

  async function ask(hash: Buffer, key: string, request: RequestContext): Promise<KnownToken | null> {
    const [row] = await callPrivateFunction<FoundToken>(
      request,
      `select token_id, user_id, token_version, scopes, expires_at, allowed_networks
       from private.find_api_token($1)`,
      [hash],
    );
    const found = row ? shape(row) : null;
    known.set(key, found);
    if (!found) countMiss(request);
    return found;
  }

  function countMiss({ clientIp }: RequestContext): void {
    const key = clientKey(clientIp);
    const counted = misses.get(key);
    if (counted) counted.count++;
    else misses.set(key, { count: 1 });
  }

  return async (token, request) => {
    const hash = hashApiToken(token);
    const key = hash.toString("base64");
    let found = known.get(key);
    if (found === undefined) {
      if ((misses.get(clientKey(request.clientIp))?.count ?? 0) >= MAX_MISSES)
        throw new PlinthError("RATE_LIMITED", "Too many invalid API tokens; try again later.");
      let answer = asking.get(key);
      if (!answer) {
        answer = ask(hash, key, request).finally(() => asking.delete(key));
        asking.set(key, answer);
      }
      found = await answer;
    }
    if (!found || found.claims.expiresAt.getTime() <= Date.now()) throw invalidApiToken();
    if (!isAllowedFrom(found.networks, request.clientIp)) throw invalidApiToken();
    return found.claims;
  };
}

function shape(row: FoundToken): KnownToken {
  const claims: ApiTokenClaims = {
    userId: row.user_id,
    sessionId: null,
    tokenId: row.token_id,
    tokenVersion: row.token_version,
    expiresAt: row.expires_at,
    scopes: row.scopes,
  };
  return { claims, networks: row.allowed_networks && blockListOf(row.allowed_networks) };
}

function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", bits] = network.split("/");
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    list.addSubnet(address, bits === undefined ? (family === "ipv6" ? 128 : 32) : Number(bits), family);
  }
  return list;
}

/** Same rule as private.network_is_allowed: a client without an address is in no network. */
function isAllowedFrom(networks: BlockList | null, clientIp: string | undefined): boolean {
  if (!networks) return true;
  return clientIp !== undefined && isIP(clientIp) > 0
    ? networks.check(clientIp, isIPv6(clientIp) ? "ipv6" : "ipv4")
    : false;
}
