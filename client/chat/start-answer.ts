import type { Send } from "../request.ts";
import { REQUEST_ANSWER } from "./documents.ts";

/** Where an answer goes, and which model writes it. */
export interface AnswerRequest {
  readonly chatId: string;
  /** The message to answer; by default the newest of the chat. */
  readonly parentId?: string;
  /** By default, the model of the user's own settings. */
  readonly modelId?: string;
  /** Tokens to reserve; the answer is not longer. */
  readonly maxTokens?: number;
  /** Functions that the model may call, in the form of OpenAI's API; the application runs them. */
  readonly tools?: readonly object[];
  /** Repeating a call with the same key starts nothing new. */
  readonly idempotencyKey?: string;
}

/** Requests an answer of the server. @returns its message's id */
export async function startAnswer(send: Send, request: AnswerRequest, signal?: AbortSignal): Promise<string> {
  const { maxTokens, ...input } = request;
  const { message } = await send<{ message: { id: string } }>(
    REQUEST_ANSWER,
    { input: { ...input, maxTokens: maxTokens?.toString() } },
    { signal },
  );
  return message.id;
}
