import { clientKey } from "../request/client-key.ts";
import type { RequestContext } from "../request/context.ts";
import type { CallPrivateFunction } from "../request/service-caller.ts";
import { PlinthError } from "../support/errors.ts";

/** Rows of security.rate_limit_rules that the API uses. */
type AttemptRule =
  | "login_per_address"
  | "register_per_address"
  | "password_change_per_account"
  | "password_reset_per_address"
  | "room_password_per_account"
  | "room_password_per_room";

/** Limits on guessable or costly operations, counted in the database across all servers. */
export interface AttemptLimits {
  /** Counts an attempt from the request's address. @throws PlinthError RATE_LIMITED with the seconds to wait as hint */
  perAddress(rule: AttemptRule, request: RequestContext): Promise<void>;
  /** Counts an attempt on an account. @throws PlinthError RATE_LIMITED with the seconds to wait as hint */
  perAccount(rule: AttemptRule, account: string, request: RequestContext): Promise<void>;
}

/**
 * Each attempt is counted in its own transaction before the work, so it counts even if the work is then rejected or rolled
 * back.
 */
export function createAttemptLimits(callPrivateFunction: CallPrivateFunction): AttemptLimits {
  async function count(rule: AttemptRule, key: string, request: RequestContext): Promise<void> {
    const [outcome] = await callPrivateFunction<{ allowed: boolean; seconds: number }>(
      request,
      `select allowed, greatest(1, ceil(extract(epoch from retry_after)))::integer as seconds
       from private.consume_rate_limit_rule($1, $2)`,
      [rule, key],
    );
    if (!outcome?.allowed)
      throw new PlinthError("RATE_LIMITED", "Too many attempts; try again later.", {
        hint: `Try again in ${outcome?.seconds ?? 60} seconds.`,
      });
  }
  return {
    perAddress: (rule, request) => count(rule, clientKey(request.clientIp), request),
    perAccount: (rule, account, request) => count(rule, account, request),
  };
}
