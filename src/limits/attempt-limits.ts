import { clientKey } from "../request/client-key.ts";
import type { RequestContext } from "../request/context.ts";
import type { CallPrivateFunction } from "../request/service-caller.ts";
import { PlinthError } from "../support/errors.ts";

/** Rows of security.rate_limit_rules that the API uses, besides login_per_address. */
type AttemptRule =
  | "register_per_address"
  | "password_change_per_account"
  | "password_reset_per_address"
  | "room_password_per_account"
  | "room_password_per_room";

/** A row with the columns of `ATTEMPT`. */
export interface Attempt {
  readonly allowed: boolean;
  readonly seconds: number;
}

/** Columns of a statement that counts an attempt together with other work; `l` is a row of private.consume_rate_limit_rule. */
export const ATTEMPT = "l.allowed, greatest(1, ceil(extract(epoch from l.retry_after)))::integer as seconds";

/** @throws PlinthError RATE_LIMITED with the seconds to wait as hint */
export function assertAllowed(attempt: Attempt | undefined): void {
  if (!attempt?.allowed)
    throw new PlinthError("RATE_LIMITED", "Too many attempts; try again later.", {
      hint: `Try again in ${attempt?.seconds ?? 60} seconds.`,
    });
}

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
    const [attempt] = await callPrivateFunction<Attempt>(
      request,
      `select ${ATTEMPT} from private.consume_rate_limit_rule($1, $2) l`,
      [rule, key],
    );
    assertAllowed(attempt);
  }
  return {
    perAddress: (rule, request) => count(rule, clientKey(request.clientIp), request),
    perAccount: (rule, account, request) => count(rule, account, request),
  };
}
