import { hash } from "node:crypto";
import type { Pool } from "pg";
import { contextSettings, type RequestContext } from "./context.ts";
import { claimSettings } from "./settings.ts";
import { runStatement } from "./transaction.ts";

/** Runs one statement, a call of a private function, as the service role and returns its rows. */
export type CallPrivateFunction = <TRow>(
  request: RequestContext,
  text: string,
  values: readonly unknown[],
) => Promise<readonly TRow[]>;

/**
 * Calls functions in `private` that only the service role may execute, each in its own transaction, which passes the
 * request's context to the audit rows.
 */
export function createPrivateFunctionCaller(
  pool: Pool,
  options: { statementTimeoutMs: number },
): CallPrivateFunction {
  return async (request, text, values) => {
    const settings = {
      ...contextSettings(request),
      ...claimSettings(request.claims),
      statement_timeout: String(options.statementTimeoutMs),
    };
    const { rows } = await runStatement<never>(pool, settings, { text, values, name: nameOf(text) });
    return rows;
  };
}

const names = new Map<string, string>();

/** Texts are constants of this program, so there are few. */
function nameOf(text: string): string {
  let name = names.get(text);
  if (!name) {
    name = hash("sha1", text);
    names.set(text, name);
  }
  return name;
}
