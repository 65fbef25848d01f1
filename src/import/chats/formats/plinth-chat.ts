import { isObject } from "../../../support/is-object.ts";
import { unstorableWithin } from "../../import.ts";
import { type ChatReading, type ImportedMessage, isRole, messageProblem, titleOf } from "../imported-chat.ts";
import { orderNodes, type TreeNode } from "./chat-tree.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Reads a chat as `plinth export chats --format json` and the field `exportJson` write it: `{format: "plinth-chat", version: 1,
 * id, title, isArchived, createdAt, updatedAt, activePath: [id], messages: [{id, parentId, role, content, …}]}`.
 */
export function readPlinthChat(raw: Readonly<Record<string, unknown>>): ChatReading {
  const { id } = raw;
  const name = typeof id === "string" ? id : "the chat";
  const problem = chatProblem(raw);
  if (problem) return { name, problem };
  const { title, problem: titleProblem } = titleOf(raw.title);
  if (titleProblem) return { name, problem: titleProblem };

  const messages = new Map<string, Record<string, unknown>>();
  const nodes = new Map<string, TreeNode>();
  for (const message of raw.messages as unknown[]) {
    const wrong = rawMessageProblem(message);
    if (wrong) return { name, problem: wrong };
    const one = message as Record<string, unknown>;
    const place = one.id as string;
    if (messages.has(place)) return { name, problem: `message ${place} appears twice` };
    messages.set(place, one);
    nodes.set(place, {
      parent: (one.parentId as string | undefined) ?? null,
      time: Date.parse(one.createdAt as string),
    });
  }
  const order = orderNodes(nodes, undefined);
  if (typeof order === "string") return { name, problem: order };
  const path = Array.isArray(raw.activePath) ? raw.activePath : [];
  const head: unknown = path.at(-1);
  const headId = typeof head === "string" && messages.has(head) ? head : null;
  return {
    name,
    chat: {
      key: `plinth:${id}`,
      id: id as string,
      title,
      createdAt: raw.createdAt as string,
      updatedAt: raw.updatedAt as string,
      isArchived: raw.isArchived === true,
      head: headId && keyOf(id, headId),
      headId,
      messages: order.map(({ node }) => toMessage(id, messages.get(node)!)),
    },
  };
}

function keyOf(chat: unknown, message: unknown): string {
  return `plinth:${chat}:${message}`;
}

function chatProblem(raw: Readonly<Record<string, unknown>>): string | undefined {
  if (raw.format !== "plinth-chat") return 'must have the format "plinth-chat"';
  if (raw.version !== 1) return `has the version ${JSON.stringify(raw.version)}; this Plinth reads version 1`;
  if (!isUuid(raw.id)) return "has no usable id";
  for (const key of ["createdAt", "updatedAt"]) if (!isTime(raw[key])) return `${key} must be a time`;
  return Array.isArray(raw.messages) ? undefined : "has no messages";
}

function rawMessageProblem(message: unknown): string | undefined {
  if (!isObject(message) || !isUuid(message.id)) return "has a message without a usable id";
  const { id, parentId, role, content = "", thinking, metadata } = message;
  const wrong =
    ((parentId ?? null) !== null && !isUuid(parentId) && "parentId must be the id of a message") ||
    (!isRole(role) && `has the unknown role ${JSON.stringify(role)}`) ||
    (typeof content !== "string" && "content must be text") ||
    ((thinking ?? null) !== null && typeof thinking !== "string" && "thinking must be text") ||
    ((metadata ?? null) !== null && !isObject(metadata) && "metadata must be an object") ||
    (["images", "toolCalls", "attachments"].find(
      (key) => (message[key] ?? null) && !Array.isArray(message[key]),
    ) &&
      "images, toolCalls and attachments must be lists") ||
    (!isTime(message.createdAt) && "createdAt must be a time") ||
    messageProblem(content as string, (thinking as string | null | undefined) ?? null) ||
    unstorableWithin(message);
  return wrong ? `message ${id} ${wrong}` : undefined;
}

function toMessage(chat: unknown, raw: Record<string, unknown>): ImportedMessage {
  const isStreaming = raw.state === "streaming";
  return {
    key: keyOf(chat, raw.id),
    id: raw.id as string,
    parent: raw.parentId ? keyOf(chat, raw.parentId) : null,
    parentId: (raw.parentId as string | undefined) ?? null,
    role: raw.role as ImportedMessage["role"],
    content: (raw.content as string | undefined) ?? "",
    thinking: (raw.thinking as string | undefined) ?? null,
    images: (raw.images as unknown[] | undefined) ?? null,
    toolCalls: (raw.toolCalls as unknown[] | undefined) ?? null,
    model: typeof raw.model === "string" ? raw.model : null,
    // The rest of an unfinished answer will not arrive here.
    state: isStreaming ? "broken_off" : ((raw.state as string | undefined) ?? "complete"),
    finishReason: isStreaming ? "expired" : ((raw.finishReason as string | undefined) ?? null),
    errorCode: (raw.errorCode as string | undefined) ?? null,
    errorMessage: (raw.errorMessage as string | undefined) ?? null,
    metadata: {
      ...(raw.metadata as object | undefined),
      // These tokens were spent elsewhere; in `tokens_used` they would be charged to the account again.
      ...(typeof raw.tokensUsed === "number" ? { tokensUsed: raw.tokensUsed } : {}),
    },
    createdAt: raw.createdAt as string,
    attachments: (raw.attachments as unknown[] | undefined) ?? [],
    feedback: raw.feedback ?? null,
  };
}

function isUuid(value: unknown): boolean {
  return typeof value === "string" && UUID.test(value);
}

function isTime(value: unknown): boolean {
  return typeof value === "string" && /^\d{4}-\d{2}-\d{2}T/.test(value) && !Number.isNaN(Date.parse(value));
}
