import { createHash } from "node:crypto";
import pg from "pg";
import { type ChatMessage, type Model, streamCompletion, type Usage } from "./stream-completion.ts";

/** The audience has changed, or another worker has answered: read the context again. */
const CONFLICT = "PL409";
const RETRY_MS = 500;
/** Notifications can be lost silently, for example behind a pooler, so unanswered rooms are also polled at this interval. */
const LOOK_AGAIN_MS = 5_000;

interface ContextRow {
  readonly message_id: string;
  readonly sender_type: string;
  readonly sender_name: string | null;
  readonly content: string;
  readonly audience_version: string;
}

/**
 * Answers as the AI member of every room that has one. It is stateless: it reads unanswered rooms from the database at start, after a
 * reconnection, when a room has news and every few seconds. So it can be killed at any time and run several times in parallel. Each
 * answer has an idempotency key derived from the message it answers, so it is posted only once.
 * @param options.serviceUrl connection as the service role
 */
export function startAiMember(options: { serviceUrl: string; model: Model; log?: (text: string) => void }): {
  close(): Promise<void>;
} {
  const { serviceUrl, model, log = () => {} } = options;
  let isClosed = false;
  let client: pg.Client | undefined;

  async function work(): Promise<void> {
    while (!isClosed) {
      try {
        await listenAndAnswer();
      } catch (error) {
        if (!isClosed) log(`retrying in a moment: ${(error as Error).message}`);
      }
      await client?.end().catch(() => {});
      if (!isClosed) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** Rejects when the connection is lost. */
  async function listenAndAnswer(): Promise<void> {
    const connection = new pg.Client({ connectionString: serviceUrl, application_name: "ai-member" });
    client = connection;
    const lost = Promise.withResolvers<never>();
    lost.promise.catch(() => {});
    connection.on("error", lost.reject);
    connection.on("end", () => lost.reject(new Error("The connection ended.")));
    /** Rooms with news; null means all rooms. */
    const news = new Set<string | null>([null]);
    let wake = () => {};
    connection.on("notification", ({ payload = "" }) => {
      const roomId = /^room:([0-9a-f-]{36}) /.exec(payload)?.[1];
      if (roomId) news.add(roomId);
      wake();
    });
    await connection.connect();
    // Listen before reading, so that no message is missed in between.
    await connection.query("listen plinth_live");
    while (!isClosed) {
      const [roomId] = news;
      if (roomId === undefined) {
        const timer = setTimeout(() => {
          news.add(null);
          wake();
        }, LOOK_AGAIN_MS);
        await Promise.race([new Promise<void>((resolve) => (wake = resolve)), lost.promise]).finally(() =>
          clearTimeout(timer),
        );
        continue;
      }
      news.delete(roomId);
      const { rows } = await connection.query<{ room_id: string; message_id: string }>(
        "select room_id, message_id from private.rooms_to_answer($1)",
        [roomId],
      );
      for (const row of rows) await answer(connection, row.room_id);
    }
  }

  /** @param spent usage of answers that could not be posted; it is billed with the one that is */
  async function answer(connection: pg.Client, roomId: string, spent: Usage = NOTHING): Promise<void> {
    const { rows } = await connection.query<ContextRow>(
      `select message_id, sender_type, sender_name, content, audience_version
       from private.room_context($1, 50)`,
      [roomId],
    );
    const last = rows.at(-1);
    if (!last) return;
    let text = "";
    let usage = spent;
    const onUsage = (used: Usage) => (usage = sum(usage, used));
    for await (const piece of streamCompletion(model, rows.map(asChatMessage), onUsage)) text += piece;
    try {
      await connection.query(
        `select from private.post_ai_message(
           $1, $2, reply_to_id => $3, audience_version => $4, idempotency_key => $5,
           input_tokens => $6, output_tokens => $7, cached_input_tokens => $8, reasoning_tokens => $9
         )`,
        [
          roomId,
          text,
          last.message_id,
          last.audience_version,
          keyOf(last.message_id),
          usage.inputTokens,
          usage.outputTokens,
          usage.cachedInputTokens,
          usage.reasoningTokens,
        ],
      );
      log(`answered in ${roomId}`);
    } catch (error) {
      if ((error as { code?: string }).code !== CONFLICT) throw error;
      await answer(connection, roomId, usage);
    }
  }

  const working = work();
  return {
    async close() {
      isClosed = true;
      await client?.end().catch(() => {});
      await working;
    },
  };
}

function asChatMessage({ sender_type, sender_name, content }: ContextRow): ChatMessage {
  return sender_type === "ai"
    ? { role: "assistant", content }
    : { role: "user", content: `${sender_name ?? "somebody"}: ${content}` };
}

const NOTHING: Usage = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, reasoningTokens: 0 };

function sum(a: Usage, b: Usage): Usage {
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    cachedInputTokens: a.cachedInputTokens + b.cachedInputTokens,
    reasoningTokens: a.reasoningTokens + b.reasoningTokens,
  };
}

/** A UUID derived from the message's id. */
function keyOf(messageId: string): string {
  const hex = createHash("sha256").update(`answer to ${messageId}`).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
