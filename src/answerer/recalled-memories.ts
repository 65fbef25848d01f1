import type { Logger } from "pino";
import { createUserKeys } from "../accounts/conversation-memory/user-keys.ts";
import type { Embedder } from "../accounts/memories/embedder.ts";
import { createMemories } from "../accounts/memories/memories.ts";
import type { Sealer } from "../auth/sealing.ts";
import { contextWithoutRequest } from "../request/context.ts";
import type { CallPrivateFunction } from "../request/service-caller.ts";
import type { ContextMessage } from "./prompt.ts";

/** Most memories of a prompt, and their length in characters: they cost tokens that the answer has not reserved. */
const MAX_MEMORIES = 5;
const MAX_LENGTH = 2_000;

/** Adds to the context of a user's chat what its last question recalls. */
export type Recall = (
  userId: string,
  context: readonly ContextMessage[],
) => Promise<readonly ContextMessage[]>;

/**
 * Creates a recall from the users' long-term memories. A chat with a system prompt stays as it is: its application decides what the
 * model knows. If the memories cannot be read, the answer is written without them.
 */
export function createRecall(parts: {
  callPrivateFunction: CallPrivateFunction;
  sealer: Sealer;
  embedder: Embedder | undefined;
  logger: Logger;
}): Recall {
  const { logger } = parts;
  const memories = createMemories({ ...parts, userKeys: createUserKeys({ ...parts, purpose: "memories" }) });
  return async (userId, context) => {
    const question = context.findLast(({ role }) => role === "user")?.content;
    if (!question || context.some(({ role }) => role === "system")) return context;
    try {
      const recalled = await memories.recallForAnswer(
        { userId, query: question, first: MAX_MEMORIES },
        contextWithoutRequest(),
      );
      const texts = recalled.map(({ memory }) => `- ${memory.text}`);
      while (texts.join("\n").length > MAX_LENGTH) texts.pop();
      if (texts.length === 0) return context;
      return [{ role: "system", content: `Remembered about the user:\n${texts.join("\n")}` }, ...context];
    } catch (err) {
      logger.warn({ err }, "Memories cannot be recalled; the answer is written without them");
      return context;
    }
  };
}
