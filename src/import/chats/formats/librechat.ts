import { isObject } from "../../../support/is-object.ts";
import type { ChatReading } from "../imported-chat.ts";
import { assembleChat, type NodeReading, type SourceNode } from "./assemble-chat.ts";
import { timeOf } from "./chat-time.ts";
import { asText, messagesOf, type Part } from "./message-parts.ts";

/** The parent of a first message. */
const NO_PARENT = "00000000-0000-0000-0000-000000000000";

/**
 * Reads a conversation that LibreChat exported as JSON: `{conversationId, title, options: {model}, recursive, messages: […]}` or,
 * in older versions, `messagesTree`. A message is `{messageId, parentMessageId, isCreatedByUser, text, content: [{type, …}],
 * model, createdAt, unfinished, error}`; in a recursive export, its replies are in `children`. The conversation has no times of
 * its own, so they are those of its first and last message.
 */
export function readLibreChatConversation(entry: Record<string, unknown>, place: string): ChatReading {
  const { conversationId: id, options } = entry;
  const model = isObject(options) ? options.model : undefined;
  return assembleChat(typeof id === "string" ? `${place} ${id}` : place, {
    product: "librechat",
    id,
    title: entry.title,
    isArchived: entry.isArchived === true,
    nodes: nodesOf(entry.messagesTree ?? entry.messages, model),
  });
}

function nodesOf(messages: unknown, model: unknown): Map<string, SourceNode> | string {
  if (!Array.isArray(messages)) return "has no list messages";
  const nodes = new Map<string, SourceNode>();
  // A loop instead of a recursion, because a conversation may be deeper than the stack.
  const waiting = messages.map((message: unknown) => ({ message, above: undefined as string | undefined }));
  for (const { message, above } of waiting) {
    if (!isObject(message) || typeof message.messageId !== "string")
      return "has a message without a messageId";
    const { messageId, children, parentMessageId } = message;
    if (nodes.has(messageId)) return `message ${messageId} appears twice`;
    const parent = above ?? parentMessageId ?? null;
    if (parent !== null && typeof parent !== "string")
      return `message ${messageId} has a parent that is not an id`;
    nodes.set(messageId, {
      parent: parent === NO_PARENT ? null : parent,
      time: timeOf(message.createdAt),
      read: () => readMessage(message, model),
    });
    if (Array.isArray(children))
      for (const child of children) waiting.push({ message: child, above: messageId });
  }
  return nodes;
}

function readMessage(message: Record<string, unknown>, ofChat: unknown): NodeReading {
  const role = message.isCreatedByUser === true ? "user" : "assistant";
  const { content, files, tokenCount, text } = message;
  const omissions: string[] = [];
  const parts: Part[] = Array.isArray(content)
    ? content.filter(isObject).flatMap((part) => partsOf(part, omissions))
    : [];
  if (parts.length === 0 && typeof text === "string") parts.push({ kind: "text", text });
  const model = message.model ?? ofChat;
  const names = Array.isArray(files) ? files.filter(isObject).flatMap(({ filename }) => filename ?? []) : [];
  return messagesOf(parts, {
    role,
    metadata: {
      source: "librechat",
      ...(role === "assistant" && typeof model === "string" ? { model } : {}),
      ...(typeof tokenCount === "number" ? { tokensUsed: tokenCount } : {}),
      ...(names.length > 0 ? { files: names } : {}),
    },
    brokenOff: message.unfinished === true || message.error === true,
    feedback: feedbackOf(message.feedback),
    omissions,
  });
}

function partsOf(part: Record<string, unknown>, omissions: string[]): Part[] {
  switch (part.type) {
    case "text":
      return [{ kind: "text", text: unwrapped(part.text) }];
    case "think":
      return [{ kind: "thinking", text: unwrapped(part.think) }];
    case "tool_call":
      return isObject(part.tool_call) ? callOf(part.tool_call) : [];
    case "error":
      return [{ kind: "text", text: unwrapped(part.error) }];
    default:
      omissions.push(`contains content of the unknown kind ${JSON.stringify(part.type)}, which was skipped`);
      return [];
  }
}

/** Assistants of OpenAI keep the call one level deeper, in `function`. */
function callOf(call: Record<string, unknown>): Part[] {
  const { name, args, arguments: input, output } = isObject(call.function) ? call.function : call;
  const id = asText(call.id);
  const result: Part[] = (output ?? "") === "" ? [] : [{ kind: "result", callId: id, text: asText(output) }];
  return [{ kind: "call", id, name: asText(name), input: args ?? input }, ...result];
}

/** Some endpoints wrap texts as `{value}`. */
function unwrapped(text: unknown): string {
  return isObject(text) ? asText(text.value) : asText(text);
}

function feedbackOf(feedback: unknown): { rating: "up" | "down"; comment: string } | undefined {
  if (!isObject(feedback)) return undefined;
  const { rating, text } = feedback;
  if (rating !== "thumbsUp" && rating !== "thumbsDown") return undefined;
  const comment = typeof text === "string" ? text.slice(0, 2000) : "";
  return { rating: rating === "thumbsUp" ? "up" : "down", comment };
}
