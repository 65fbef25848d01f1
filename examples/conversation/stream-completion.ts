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

/**
 * The pieces of a model's answer, as they come.
 * @throws Error when the model refuses, or when its answer breaks off before its end
 */
export async function* streamCompletion(
  model: Model,
  messages: readonly ChatMessage[],
): AsyncGenerator<string> {
  const response = await fetch(`${model.url}/chat/completions`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(model.apiKey && { authorization: `Bearer ${model.apiKey}` }),
    },
    body: JSON.stringify({ model: model.name, messages, stream: true }),
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
      const content: unknown = JSON.parse(data).choices?.[0]?.delta?.content;
      if (typeof content === "string" && content !== "") yield content;
    }
  }
  throw new Error("The model's answer broke off.");
}
