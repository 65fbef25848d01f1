import { isObject } from "../../../support/is-object.ts";
import type { ChatReading } from "../imported-chat.ts";
import { assembleChat, type NodeReading, type SourceNode } from "./assemble-chat.ts";
import { timeOf } from "./chat-time.ts";
import { messagesOf } from "./message-parts.ts";
import { readOpenWebUiContent } from "./open-webui-content.ts";

/**
 * Reads one chat of Open WebUI's export: `{id, title, archived, created_at, updated_at, chat: {history: {currentId, messages:
 * {<id>: {parentId, role, content, model, timestamp, output, files, error, annotation}}}}}`. Times are seconds since 1970.
 */
export function readOpenWebUiChat(entry: Record<string, unknown>, place: string): ChatReading {
  const chat = isObject(entry.chat) ? entry.chat : entry;
  const history = isObject(chat.history) ? chat.history : {};
  const id = entry.id ?? chat.id;
  return assembleChat(typeof id === "string" ? `${place} ${id}` : place, {
    product: "openwebui",
    id,
    title: entry.title ?? chat.title,
    createdAt: timeOf(entry.created_at) ?? timeOf(chat.timestamp),
    updatedAt: timeOf(entry.updated_at),
    isArchived: entry.archived === true,
    head: history.currentId,
    nodes: isObject(history.messages) ? nodesOf(history.messages) : "has no messages in chat.history",
  });
}

function nodesOf(messages: Record<string, unknown>): Map<string, SourceNode> | string {
  const nodes = new Map<string, SourceNode>();
  for (const [id, message] of Object.entries(messages)) {
    if (!isObject(message)) return `message ${id} must be an object`;
    const parent = message.parentId ?? null;
    if (parent !== null && typeof parent !== "string") return `message ${id} has a parent that is not an id`;
    nodes.set(id, { parent, time: timeOf(message.timestamp), read: () => readMessage(message) });
  }
  return nodes;
}

function readMessage(message: Record<string, unknown>): NodeReading {
  const { role, model } = message;
  if (role === "system") return readSystemMessage(message);
  if (role !== "user" && role !== "assistant")
    return { omissions: [`has the unknown role ${JSON.stringify(role)} and was skipped`] };
  const files = Array.isArray(message.files) ? message.files.filter(isObject) : [];
  const names = files.flatMap(({ type, name }) => (type !== "image" && name ? [name] : []));
  return messagesOf(readOpenWebUiContent(message), {
    role,
    images: files.flatMap(({ type, url }) => (type === "image" && typeof url === "string" ? [url] : [])),
    metadata: {
      source: "openwebui",
      ...(role === "assistant" && typeof model === "string" ? { model } : {}),
      ...(names.length > 0 ? { files: names } : {}),
    },
    brokenOff: Boolean(message.error),
    feedback: feedbackOf(message.annotation),
  });
}

function readSystemMessage(message: Record<string, unknown>): NodeReading {
  const { messages = [], ...rest } = messagesOf(readOpenWebUiContent(message), {
    role: "user",
    metadata: { source: "openwebui" },
  });
  return { ...rest, messages: messages.map((draft) => ({ ...draft, role: "system" })) };
}

function feedbackOf(annotation: unknown): { rating: "up" | "down"; comment: string } | undefined {
  if (!isObject(annotation) || (annotation.rating !== 1 && annotation.rating !== -1)) return undefined;
  const comment = typeof annotation.comment === "string" ? annotation.comment.slice(0, 2000) : "";
  return { rating: annotation.rating === 1 ? "up" : "down", comment };
}
