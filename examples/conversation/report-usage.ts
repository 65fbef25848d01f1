import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Usage } from "./stream-completion.ts";

const RETRY_MS = 300;
const MAX_TRIES = 100;

/**
 * Tells the ledger what an ended answer used, in place of what was estimated. The user's own word counts for no less than was
 * streamed, so a service says it. Telling it again changes nothing, so it is tried until the database has heard it.
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
