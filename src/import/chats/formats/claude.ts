import { isObject } from "../../../support/is-object.ts";
import { type ChatReading, fitsMessage } from "../imported-chat.ts";
import { assembleChat, type NodeReading, type SourceNode } from "./assemble-chat.ts";
import { timeOf } from "./chat-time.ts";
import { asText, messagesOf, type Part } from "./message-parts.ts";

/** The parent of a first message. */
const NO_PARENT = "00000000-0000-4000-8000-000000000000";

/**
 * Reads one conversation of claude.ai's export (conversations.json): `{uuid, name, created_at, updated_at, chat_messages: [{uuid,
 * parent_message_uuid, sender: "human" | "assistant", text, content: [{type, …}], created_at, attachments: [{file_name,
 * extracted_content}], files: [{file_name}]}]}`. Older exports name no parents: there, each message follows the one before it.
 */
export function readClaudeConversation(entry: Record<string, unknown>, place: string): ChatReading {
  return assembleChat(typeof entry.uuid === "string" ? `${place} ${entry.uuid}` : place, {
    product: "claude",
    id: entry.uuid,
    title: entry.name,
    createdAt: timeOf(entry.created_at),
    updatedAt: timeOf(entry.updated_at),
    isArchived: false,
    head: entry.current_leaf_message_uuid,
    nodes: Array.isArray(entry.chat_messages) ? nodesOf(entry.chat_messages) : "has no list chat_messages",
  });
}

function nodesOf(messages: readonly unknown[]): Map<string, SourceNode> | string {
  const nodes = new Map<string, SourceNode>();
  let previous: string | null = null;
  for (const message of messages) {
    if (!isObject(message) || typeof message.uuid !== "string") return "has a message without a uuid";
    const { uuid, parent_message_uuid: parent = previous } = message;
    if (nodes.has(uuid)) return `message ${uuid} appears twice`;
    if (parent !== null && typeof parent !== "string")
      return `message ${uuid} has a parent that is not an id`;
    nodes.set(uuid, {
      parent: parent === NO_PARENT ? null : parent,
      time: timeOf(message.created_at),
      read: () => readMessage(message),
    });
    previous = uuid;
  }
  return nodes;
}

function readMessage(message: Record<string, unknown>): NodeReading {
  const { sender } = message;
  if (sender !== "human" && sender !== "assistant")
    return { omissions: [`has the unknown sender ${JSON.stringify(sender)} and was skipped`] };
  const omissions: string[] = [];
  const blocks = objectsOf(message.content);
  const parts = blocks.flatMap((block) => partsOf(block, omissions));
  // Exports of before 2024 have no blocks. Today's `text` repeats the blocks, with a notice in place of those of tools.
  if (blocks.length === 0) parts.push({ kind: "text", text: asText(message.text ?? "") });
  parts.push(...attachmentsOf(message, omissions));
  const files = objectsOf(message.files).flatMap(({ file_name: name }) => (name ? [name] : []));
  return messagesOf(parts, {
    role: sender === "human" ? "user" : "assistant",
    metadata: { source: "claude", ...(files.length > 0 ? { files } : {}) },
    omissions,
  });
}

function partsOf(block: Record<string, unknown>, omissions: string[]): Part[] {
  switch (block.type) {
    case "text":
      return [{ kind: "text", text: asText(block.text ?? "") }];
    case "thinking":
      return [{ kind: "thinking", text: asText(block.thinking ?? "") }];
    case "tool_use":
      return [{ kind: "call", id: asText(block.id), name: asText(block.name), input: block.input }];
    case "tool_result":
      return [{ kind: "result", callId: asText(block.tool_use_id), text: resultOf(block.content) }];
    // A note of the application about the length of the conversation.
    case "token_budget":
      return [];
    default:
      omissions.push(`contains content of the unknown kind ${JSON.stringify(block.type)}, which was skipped`);
      return [];
  }
}

/** A result is a text, or a list of texts and other objects. */
function resultOf(content: unknown): string {
  if (!Array.isArray(content)) return asText(content ?? "");
  return content
    .map((item) => (isObject(item) && item.type === "text" ? asText(item.text) : asText(item)))
    .join("\n\n");
}

/** A long text that is pasted becomes an attachment without a name. */
function attachmentsOf(message: Record<string, unknown>, omissions: string[]): Part[] {
  return objectsOf(message.attachments).flatMap(({ file_name, extracted_content: text }): Part[] => {
    if (typeof text !== "string" || !text.trim()) return [];
    const name = typeof file_name === "string" && file_name ? file_name : undefined;
    if (!fitsMessage(asText(message.text ?? "") + text)) {
      omissions.push(
        `the attachment ${JSON.stringify(name ?? "")} is too long for a message and was skipped`,
      );
      return [];
    }
    return [{ kind: "text", text: name ? `${name}:\n\n${text}` : text }];
  });
}

function objectsOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}
