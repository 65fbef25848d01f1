import { isObject } from "../../../support/is-object.ts";
import type { ChatReading } from "../imported-chat.ts";
import { assembleChat, type SourceNode } from "./assemble-chat.ts";
import { timeOf } from "./chat-time.ts";
import { readChatGptMessage } from "./chatgpt-message.ts";

/**
 * Reads one conversation of ChatGPT's export (conversations.json): `{id, title, create_time, update_time, is_archived,
 * current_node, mapping: {<node>: {message: {author: {role}, create_time, content: {content_type, parts}, metadata}, parent,
 * children}}}`. Times are seconds since 1970; milliseconds and ISO 8601 are accepted too. OpenAI does not document the format;
 * this description comes from real exports.
 */
export function readChatGptConversation(entry: Record<string, unknown>, place: string): ChatReading {
  const id = entry.conversation_id ?? entry.id;
  return assembleChat(typeof id === "string" ? `${place} ${id}` : place, {
    product: "chatgpt",
    id,
    title: entry.title,
    createdAt: timeOf(entry.create_time),
    updatedAt: timeOf(entry.update_time),
    isArchived: entry.is_archived === true,
    head: entry.current_node,
    nodes: isObject(entry.mapping) ? treeOf(entry.mapping) : "has no mapping",
  });
}

/** Returns the nodes by name. If a node does not name its parent, the parent is the node that lists it as a child. */
function treeOf(mapping: Record<string, unknown>): Map<string, SourceNode> | string {
  const parents = new Map<string, string>();
  for (const [node, value] of Object.entries(mapping))
    if (isObject(value) && Array.isArray(value.children))
      for (const child of value.children)
        if (typeof child === "string" && !parents.has(child)) parents.set(child, node);

  const nodes = new Map<string, SourceNode>();
  for (const [node, value] of Object.entries(mapping)) {
    if (!isObject(value)) return `node ${node} must be an object`;
    const parent = value.parent ?? parents.get(node) ?? null;
    if (parent !== null && typeof parent !== "string") return `node ${node} has a parent that is not an id`;
    const { message } = value;
    nodes.set(node, {
      parent,
      time: isObject(message) ? timeOf(message.create_time) : undefined,
      read: () => (isObject(message) ? readChatGptMessage(message) : {}),
    });
  }
  return nodes;
}
