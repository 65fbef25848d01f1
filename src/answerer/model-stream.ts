import type {
  LanguageModelV4FinishReason,
  LanguageModelV4StreamPart,
  LanguageModelV4Usage,
} from "@ai-sdk/provider";
import { importOptional } from "../support/optional-package.ts";
import { AnswerFailed } from "./failure.ts";
import type { Piece } from "./in-batches.ts";
import { type ContextMessage, promptOf, type Tool, type ToolCall, toolsOf } from "./prompt.ts";

/** A model and how to reach it. */
export interface Model {
  /** Base URL of an OpenAI-compatible API, such as https://api.example.com/v1. */
  readonly endpoint: string;
  readonly name: string;
  readonly key: string | undefined;
}

/** Tokens as the provider counted them. */
export interface Usage {
  readonly input: number;
  readonly output: number;
  readonly cached: number;
  readonly reasoning: number;
}

/** The end of an answer, known after its last piece. */
export interface Ending {
  finishReason: "stop" | "length" | "tool_calls" | "content_filter" | undefined;
  /** Undefined if the provider reports no usage. */
  usage: Usage | undefined;
  toolCalls: ToolCall[];
}

export interface ModelRequest {
  readonly model: Model;
  readonly context: readonly ContextMessage[];
  readonly tools: readonly Tool[] | null;
  readonly maxTokens: number;
  readonly signal: AbortSignal;
  readonly fetch: typeof globalThis.fetch;
}

/** The maximum of a stored delta is 65,536 bytes, and a character has up to three. */
const MAX_PIECE = 20_000;
/** Limits of the tool calls of an answer, as of its text. */
const MAX_CALL_BYTES = 500_000;
const MAX_CALLS = 128;

/**
 * Requests an answer and yields its pieces as they arrive.
 * @param ending filled while the pieces are read
 * @throws the provider's error; AnswerFailed if the answer ends without a reason
 */
export async function* streamModel(request: ModelRequest, ending: Ending): AsyncGenerator<Piece> {
  const { model, context, tools, maxTokens, signal, fetch } = request;
  const { createOpenAICompatible } = await loadProtocol();
  const provider = createOpenAICompatible({
    name: "model",
    baseURL: model.endpoint,
    includeUsage: true,
    fetch,
    ...(model.key === undefined ? {} : { apiKey: model.key }),
  });
  const { stream } = await provider.chatModel(model.name).doStream({
    prompt: promptOf(context),
    maxOutputTokens: maxTokens,
    abortSignal: signal,
    ...(tools ? { tools: toolsOf(tools) } : {}),
  });
  let callBytes = 0;
  for await (const part of stream) {
    if (part.type === "tool-input-delta") callBytes += Buffer.byteLength(part.delta);
    if (part.type === "tool-call") callBytes += Buffer.byteLength(part.toolName);
    if (callBytes > MAX_CALL_BYTES || ending.toolCalls.length > MAX_CALLS)
      throw new AnswerFailed(
        "model_failed",
        "The model called too many tools, or with too much input.",
        false,
      );
    const piece = pieceOf(part, ending);
    if (piece) yield* split(piece);
  }
  if (!ending.finishReason)
    throw new AnswerFailed("model_stream_broken", "The model's answer ended early.", true);
}

function pieceOf(part: LanguageModelV4StreamPart, ending: Ending): Piece | undefined {
  switch (part.type) {
    case "text-delta":
      return { content: storable(part.delta), thinking: "" };
    case "reasoning-delta":
      return { content: "", thinking: storable(part.delta) };
    case "tool-call":
      ending.toolCalls.push({
        id: part.toolCallId,
        type: "function",
        function: { name: storable(part.toolName), arguments: storable(part.input) },
      });
      return undefined;
    case "finish":
      ending.usage = usageOf(part.usage);
      ending.finishReason = reasonOf(part.finishReason, ending.toolCalls.length > 0);
      return undefined;
    case "error":
      throw new AnswerFailed("model_failed", "The model reported an error.", true);
    default:
      return undefined;
  }
}

/**
 * Loads the package of the protocol.
 * @throws PlinthError PACKAGE_MISSING
 */
export const loadProtocol = () =>
  importOptional("@ai-sdk/openai-compatible", () => import("@ai-sdk/openai-compatible"));

/** PostgreSQL stores no NUL. */
const storable = (text: string): string => text.replaceAll("\0", "");

function* split({ content, thinking }: Piece): Generator<Piece> {
  for (let at = 0; at < Math.max(content.length, thinking.length); at += MAX_PIECE)
    yield { content: content.slice(at, at + MAX_PIECE), thinking: thinking.slice(at, at + MAX_PIECE) };
}

function reasonOf({ unified, raw }: LanguageModelV4FinishReason, hasCalls: boolean): Ending["finishReason"] {
  switch (unified) {
    case "length":
      return "length";
    case "content-filter":
      return "content_filter";
    default:
      // Some servers report calls with the reason stop, or have names of their own for a complete answer.
      if (raw === undefined) return undefined;
      return hasCalls ? "tool_calls" : "stop";
  }
}

/** Some servers count reasoning apart from the output, which the ledger counts as a part of it. */
function usageOf({ inputTokens, outputTokens }: LanguageModelV4Usage): Usage | undefined {
  if (inputTokens.total === undefined || outputTokens.total === undefined) return undefined;
  const [input, reasoning] = [count(inputTokens.total), count(outputTokens.reasoning)];
  const output = count(outputTokens.total);
  return {
    input,
    output: reasoning > output ? output + reasoning : output,
    cached: Math.min(count(inputTokens.cacheRead), input),
    reasoning,
  };
}

function count(tokens: number | undefined): number {
  return Math.min(Math.max(0, Math.trunc(tokens ?? 0)), 1_000_000_000);
}
