import { unstorable } from "../../import.ts";
import { type ChatReading, type ImportedMessage, titleOf } from "../imported-chat.ts";
import { isoOf } from "./chat-time.ts";
import { orderNodes, type Placed, type TreeNode, timesOf } from "./chat-tree.ts";

const MAX_ID_CHARACTERS = 200;
const MAX_NODE_CHARACTERS = 40;

/** A message without its place, which the tree of its chat gives it. */
export type Draft = Omit<ImportedMessage, "key" | "parent" | "createdAt">;

/** The messages of one node, each after the one before it; none if the node has no text. */
export interface NodeReading {
  readonly messages?: readonly Draft[];
  /** Texts that are not imported, each with the reason. */
  readonly omissions?: readonly string[];
  /** The reason that the database cannot store a message. */
  readonly problem?: string;
}

export interface SourceNode extends TreeNode {
  read(): NodeReading;
}

/** A chat of another product, in the terms that all of them share. */
export interface SourceChat {
  readonly product: "chatgpt" | "claude" | "librechat" | "openwebui";
  /** The product's id of the chat, unchecked. */
  readonly id: unknown;
  readonly title: unknown;
  readonly createdAt?: number | undefined;
  readonly updatedAt?: number | undefined;
  readonly isArchived: boolean;
  /** Node that was shown last, unchecked; by default the newest. */
  readonly head?: unknown;
  /** Or the reason that they cannot be read. */
  readonly nodes: ReadonlyMap<string, SourceNode> | string;
}

/**
 * Turns a chat of another product into one of Plinth. Nodes without text are skipped, and their children are attached to their
 * parents. The last activity is the export's, or the time of its newest message if that is missing.
 */
export function assembleChat(name: string, source: SourceChat): ChatReading {
  const { id, nodes } = source;
  if (typeof id !== "string" || !id || id.length > MAX_ID_CHARACTERS || unstorable(id))
    return { name, problem: "has no usable id" };
  if (typeof nodes === "string") return { name, problem: nodes };
  for (const node of nodes.keys())
    if (node.length > MAX_NODE_CHARACTERS || unstorable(node))
      return { name, problem: "has a node whose id cannot be stored" };
  const { title, problem, omission } = titleOf(source.title);
  if (problem) return { name, problem };

  const times = timesOf(nodes);
  const began = source.createdAt ?? times.first ?? source.updatedAt;
  const order = orderNodes(nodes, began);
  if (typeof order === "string") return { name, problem: order };
  const key = `${source.product}:${id}`;
  const read = readMessages(key, nodes, order);
  if (typeof read === "string") return { name, problem: read };

  const ended = source.updatedAt ?? times.last ?? began;
  return {
    name,
    omissions: [...(omission ? [omission] : []), ...read.omissions],
    chat: {
      key,
      title,
      createdAt: isoOf(began),
      updatedAt: isoOf(began !== undefined && ended !== undefined ? Math.max(began, ended) : ended),
      isArchived: source.isArchived,
      head: typeof source.head === "string" ? (read.kept.get(source.head) ?? null) : null,
      messages: read.messages,
    },
  };
}

interface Messages {
  readonly messages: ImportedMessage[];
  readonly omissions: string[];
  /** Key of the last kept message at or above each node. */
  readonly kept: ReadonlyMap<string, string | null>;
}

function readMessages(
  chatKey: string,
  nodes: ReadonlyMap<string, SourceNode>,
  order: readonly Placed[],
): Messages | string {
  const messages: ImportedMessage[] = [];
  const omissions: string[] = [];
  const kept = new Map<string, string | null>();
  for (const { node, parent, time } of order) {
    let above = parent === null ? null : kept.get(parent)!;
    const read = nodes.get(node)!.read();
    if (read.problem) return `node ${node} ${read.problem}`;
    for (const omission of read.omissions ?? []) omissions.push(`node ${node}: ${omission}`);
    for (const [index, draft] of (read.messages ?? []).entries()) {
      const key = index === 0 ? `${chatKey}:${node}` : `${chatKey}:${node}#${index + 1}`;
      messages.push({ ...draft, key, parent: above, createdAt: isoOf(time) });
      above = key;
    }
    kept.set(node, above);
  }
  return { messages, omissions, kept };
}
