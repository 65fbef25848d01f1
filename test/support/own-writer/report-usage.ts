import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Usage } from "./stream-completion.ts";

const RETRY_MS = 300;
/** For ten minutes at least: a database on a busy machine needs long to start again. */
const MAX_TRIES = 2_000;

/**
 * Reports the usage of an ended answer to the ledger, in place of the estimate. A user cannot report less than was streamed, so a
 * service reports it. The call is idempotent, so it is retried until it succeeds.
 * @param serviceUrl connection as the service role
 */
export async function reportUsage(serviceUrl: string, messageId: string, usage: Usage): Promise<void> {
  for (let tries = 1; ; tries++) {
    const client = new pg.Client({ connectionString: serviceUrl, application_name: "report-usage" });
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query("select from private.report_turn_usage($1, $2, $3, $4, $5)", [
        messageId,
        usage.inputTokens,
        usage.outputTokens,
        usage.cachedInputTokens,
        usage.reasoningTokens,
      ]);
      return;
    } catch (error) {
      const isRefused = /^PL/.test((error as { code?: string }).code ?? "");
      if (isRefused || tries >= MAX_TRIES) throw error;
    } finally {
      await client.end().catch(() => {});
    }
    await sleep(RETRY_MS);
  }
}
