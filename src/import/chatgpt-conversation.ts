import { isObject } from "../support/is-object.ts";
import { orderNodes, type Placed, type TreeNode, timesOf } from "./chat-tree.ts";
import { type ChatGptMessage, readChatGptMessage } from "./chatgpt-message.ts";
import { unstorable } from "./import.ts";
import { type ChatReading, type ImportedMessage, titleOf } from "./imported-chat.ts";

const MAX_ID_CHARACTERS = 200;
const MAX_NODE_CHARACTERS = 40;

/**
 * Reads one conversation of ChatGPT's export (conversations.json): `{id, title, create_time, update_time, is_archived,
 * current_node, mapping: {<node>: {message: {author: {role}, create_time, content: {content_type, parts}, metadata}, parent,
 * children}}}`. Times are seconds since 1970; milliseconds and ISO 8601 are accepted too. OpenAI does not document the format;
 * this description comes from real exports. Nodes without text (roots, empty ones) are skipped, and their children are attached
 * to their parents. Each omitted text is reported.
 */
export function readConversation(entry: unknown, index: number): ChatReading {
  const id = isObject(entry) ? (entry.conversation_id ?? entry.id) : undefined;
  const name = typeof id === "string" ? `conversations[${index}] ${id}` : `conversations[${index}]`;
  if (!isObject(entry)) return { name, problem: "must be an object" };
  if (typeof id !== "string" || !id || id.length > MAX_ID_CHARACTERS || unstorable(id))
    return { name, problem: "has no usable id" };
  if (!isObject(entry.mapping)) return { name, problem: "has no mapping" };
  const { title, problem, omission } = titleOf(entry.title);
  if (problem) return { name, problem };

  const nodes = treeOf(entry.mapping);
  if (typeof nodes === "string") return { name, problem: nodes };
  const times = timesOf(nodes);
  const began = timeOf(entry.create_time) ?? times.first ?? timeOf(entry.update_time);
  const order = orderNodes(nodes, began);
  if (typeof order === "string") return { name, problem: order };
  const read = readMessages(id, entry.mapping, order);
  if (typeof read === "string") return { name, problem: read };

  const ended = timeOf(entry.update_time) ?? times.last ?? began;
  return {
    name,
    omissions: [...(omission ? [omission] : []), ...read.omissions],
    chat: {
      key: `chatgpt:${id}`,
      title,
      createdAt: isoOf(began),
      updatedAt: isoOf(began !== undefined && ended !== undefined ? Math.max(began, ended) : ended),
      isArchived: entry.is_archived === true,
      head: typeof entry.current_node === "string" ? (read.kept.get(entry.current_node) ?? null) : null,
      messages: read.messages,
    },
  };
}

/** Returns the nodes by name. If a node does not name its parent, the parent is the node that lists it as a child. */
function treeOf(mapping: Record<string, unknown>): Map<string, TreeNode> | string {
  const parents = new Map<string, string>();
  for (const [node, value] of Object.entries(mapping))
    if (isObject(value) && Array.isArray(value.children))
      for (const child of value.children)
        if (typeof child === "string" && !parents.has(child)) parents.set(child, node);

  const nodes = new Map<string, TreeNode>();
  for (const [node, value] of Object.entries(mapping)) {
    if (!isObject(value)) return `node ${node} must be an object`;
    if (node.length > MAX_NODE_CHARACTERS || unstorable(node)) return "has a node whose id cannot be stored";
    const parent = value.parent ?? parents.get(node) ?? null;
    if (parent !== null && typeof parent !== "string") return `node ${node} has a parent that is not an id`;
    const { message } = value;
    nodes.set(node, { parent, time: isObject(message) ? timeOf(message.create_time) : undefined });
  }
  return nodes;
}

interface Messages {
  readonly messages: ImportedMessage[];
  readonly omissions: string[];
  /** Key of the kept message at or above each node. */
  readonly kept: ReadonlyMap<string, string | null>;
}

function readMessages(
  id: string,
  mapping: Record<string, unknown>,
  order: readonly Placed[],
): Messages | string {
  const messages: ImportedMessage[] = [];
  const omissions: string[] = [];
  const kept = new Map<string, string | null>();
  for (const { node, parent, time } of order) {
    const above = parent === null ? null : kept.get(parent)!;
    const { message } = mapping[node] as Record<string, unknown>;
    const read: ChatGptMessage = isObject(message) ? readChatGptMessage(message) : {};
    if (read.problem) return `node ${node} ${read.problem}`;
    if (read.omission) omissions.push(`node ${node}: ${read.omission}`);
    const key = `chatgpt:${id}:${node}`;
    kept.set(node, read.message ? key : above);
    if (read.message) messages.push({ ...read.message, key, parent: above, createdAt: isoOf(time) });
  }
  return { messages, omissions, kept };
}

/** 1970 to 2100. */
const MAX_SECONDS = 4_102_444_800;

/** Converts a time in seconds or milliseconds since 1970, or in ISO 8601 (UTC if it has no zone), to milliseconds. */
function timeOf(value: unknown): number | undefined {
  if (typeof value === "string") {
    if (/^\d+(\.\d+)?$/.test(value)) return timeOf(Number(value));
    if (!/^\d{4}-\d{2}-\d{2}/.test(value)) return undefined;
    const hasZone = /([zZ]|[+-]\d{2}:?\d{2})$/.test(value.slice(10)) || value.length === 10;
    return within(Date.parse(hasZone ? value : `${value}Z`));
  }
  if (typeof value !== "number") return undefined;
  return within(value < MAX_SECONDS ? value * 1000 : value);
}

function within(milliseconds: number): number | undefined {
  return milliseconds > 0 && milliseconds < MAX_SECONDS * 1000 ? milliseconds : undefined;
}

function isoOf(time: number | undefined): string | null {
  return time === undefined ? null : new Date(time).toISOString();
}
