import type { Piece } from "../../../src/answerer/in-batches.ts";

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
  readonly name?: string;
}

export interface Model {
  /** Base URL, ending in `/v1`. */
  readonly url: string;
  readonly name: string;
  readonly apiKey?: string | undefined;
}

/** Tokens used by an answer, as counted by the model. */
export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedInputTokens: number;
  readonly reasoningTokens: number;
}

/**
 * Yields the pieces of a model's answer as they arrive.
 * @param onUsage called with the usage of the answer, if the model reports it
 * @throws Error if the model rejects the request or its answer ends early
 */
export async function* streamCompletion(
  model: Model,
  messages: readonly ChatMessage[],
  onUsage: (usage: Usage) => void = () => {},
): AsyncGenerator<Piece> {
  const response = await fetch(`${model.url}/chat/completions`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(model.apiKey && { authorization: `Bearer ${model.apiKey}` }),
    },
    body: JSON.stringify({
      model: model.name,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  if (!response.ok || !response.body) throw new Error(`The model returned status ${response.status}.`);
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      // Other lines are comments or fields that the format does not use.
      if (!line.startsWith("data:")) continue;
      const data = line.slice("data:".length).trim();
      if (data === "[DONE]") return;
      const { choices, usage } = JSON.parse(data);
      if (usage) onUsage(usageOf(usage));
      const content: unknown = choices?.[0]?.delta?.content;
      if (typeof content === "string" && content !== "") yield { content, thinking: "" };
    }
  }
  throw new Error("The model's answer ended early.");
}

/** In both formats, cached tokens are part of the input and reasoning tokens part of the output. */
function usageOf(usage: {
  prompt_tokens?: number;
  completion_tokens?: number;
  prompt_tokens_details?: { cached_tokens?: number } | null;
  completion_tokens_details?: { reasoning_tokens?: number } | null;
}): Usage {
  return {
    inputTokens: usage.prompt_tokens ?? 0,
    outputTokens: usage.completion_tokens ?? 0,
    cachedInputTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
    reasoningTokens: usage.completion_tokens_details?.reasoning_tokens ?? 0,
  };
}
