import type { Send } from "../request.ts";
import { REQUEST_ANSWER } from "./documents.ts";

/** Where an answer goes, and which model writes it. */
export interface AnswerRequest {
  readonly chatId: string;
  /** The message to answer; by default the newest of the chat. */
  readonly parentId?: string;
  readonly modelId: string;
  /** Tokens to reserve; the answer is not longer. */
  readonly maxTokens?: number;
  /** Repeating a call with the same key starts nothing new. */
  readonly idempotencyKey?: string;
}

/** Starts an answer. @returns its message's id */
export async function startAnswer(send: Send, request: AnswerRequest, signal?: AbortSignal): Promise<string> {
  const { maxTokens, ...input } = request;
  const { message } = await send<{ message: { id: string } }>(
    REQUEST_ANSWER,
    { input: { ...input, maxTokens: maxTokens?.toString() } },
    { signal },
  );
  return message.id;
}
