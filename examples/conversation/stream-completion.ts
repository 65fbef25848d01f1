export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
  readonly name?: string;
}

export interface Model {
  /** Up to and with `/v1`. */
  readonly url: string;
  readonly name: string;
  readonly apiKey?: string | undefined;
}

/** What an answer used, as the model counted it. */
export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedInputTokens: number;
  readonly reasoningTokens: number;
}

/**
 * The pieces of a model's answer, as they come.
 * @param onUsage called with what the answer used, when the model says so
 * @throws Error when the model refuses, or when its answer breaks off before its end
 */
export async function* streamCompletion(
  model: Model,
  messages: readonly ChatMessage[],
  onUsage: (usage: Usage) => void = () => {},
): AsyncGenerator<string> {
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
  if (!response.ok || !response.body) throw new Error(`The model answered ${response.status}.`);
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      // Anything else is a comment or a field that the format does not use.
      if (!line.startsWith("data:")) continue;
      const data = line.slice("data:".length).trim();
      if (data === "[DONE]") return;
      const { choices, usage } = JSON.parse(data);
      if (usage) onUsage(usageOf(usage));
      const content: unknown = choices?.[0]?.delta?.content;
      if (typeof content === "string" && content !== "") yield content;
    }
  }
  throw new Error("The model's answer broke off.");
}

/** Cached tokens are part of the input, reasoning tokens of the output, here as there. */
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
