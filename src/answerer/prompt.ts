import type { LanguageModelV4FunctionTool, LanguageModelV4Prompt } from "@ai-sdk/provider";

/** A message of an answer's context, as the database returns it. */
export interface ContextMessage {
  readonly role: string;
  readonly content: string;
  readonly tool_calls?: readonly ToolCall[] | null;
  readonly tool_call_id?: string | null;
  readonly images?: readonly { readonly url: string; readonly mimeType: string }[] | null;
}

/** A call of a tool, in the form that OpenAI's API has and `messages.tool_calls` stores. */
export interface ToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

/** A tool that a model may call, as requestAnswer takes it. */
export interface Tool {
  readonly function: { readonly name: string; readonly description?: string; readonly parameters: object };
}

type Message = LanguageModelV4Prompt[number];

/**
 * Turns stored messages into the model's input. A tool's message names its call in `extendedMetadata.toolCallId`; without it, the
 * results belong to the calls before them in their order. Providers reject a result without its call, so such messages are
 * left out.
 */
export function promptOf(context: readonly ContextMessage[]): LanguageModelV4Prompt {
  const prompt: LanguageModelV4Prompt = [];
  let open: ToolCall[] = [];
  for (const message of context) {
    if (message.role !== "tool") open = [...callsOf(message)];
    else {
      const call = open.find(({ id }) => id === message.tool_call_id) ?? open[0];
      if (!call) continue;
      open = open.filter((each) => each !== call);
      prompt.push(toolResult(call, message.content));
      continue;
    }
    const converted = convert(message);
    if (converted) prompt.push(converted);
  }
  return prompt;
}

function convert({ role, content, images, ...message }: ContextMessage): Message | undefined {
  const text = content ? [{ type: "text" as const, text: content }] : [];
  switch (role) {
    case "system":
      return { role, content };
    case "user":
      return {
        role,
        content: [
          ...text,
          ...(images ?? []).map(({ url, mimeType }) => ({
            type: "file" as const,
            mediaType: mimeType,
            data: { type: "url" as const, url: new URL(url) },
          })),
        ],
      };
    case "assistant": {
      const calls = callsOf({ role, content, ...message }).map((call) => ({
        type: "tool-call" as const,
        toolCallId: call.id,
        toolName: call.function.name,
        input: parsed(call.function.arguments),
      }));
      // An answer that was broken off before its first piece says nothing.
      return text.length + calls.length > 0 ? { role, content: [...text, ...calls] } : undefined;
    }
    default:
      return undefined;
  }
}

function toolResult(call: ToolCall, content: string): Message {
  const { id: toolCallId, function: called } = call;
  return {
    role: "tool",
    content: [
      { type: "tool-result", toolCallId, toolName: called.name, output: { type: "text", value: content } },
    ],
  };
}

/** Clients may store other forms of calls; those are not sent. */
function callsOf({ tool_calls }: ContextMessage): readonly ToolCall[] {
  return (tool_calls ?? []).filter(
    (call) => typeof call?.id === "string" && typeof call.function?.name === "string",
  );
}

/** Models may write invalid JSON, which is sent back as they wrote it. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export function toolsOf(tools: readonly Tool[] | null): LanguageModelV4FunctionTool[] {
  return (tools ?? []).map(({ function: { name, description, parameters } }) => ({
    type: "function",
    name,
    inputSchema: parameters,
    ...(description === undefined ? {} : { description }),
  }));
}
