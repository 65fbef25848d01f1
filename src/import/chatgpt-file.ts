import { isObject, unstorable } from "./import.ts";

/** A chat as private.import_chats takes it: parents stand before their children. */
export interface ImportedChat {
  /** `chatgpt:<conversation>`; the same conversation again is the same chat. */
  readonly key: string;
  readonly title: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly isArchived: boolean;
  /** Key of the last message of the path that was shown last. */
  readonly head: string | null;
  readonly messages: readonly ImportedMessage[];
}

export interface ImportedMessage {
  readonly key: string;
  readonly parent: string | null;
  readonly role: "user" | "assistant" | "system" | "tool";
  readonly content: string;
  readonly thinking: string | null;
  /** Where ChatGPT kept them: the export holds them as files beside it. */
  readonly images: readonly Image[] | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly createdAt: string;
}

interface Image {
  readonly asset_pointer: string;
  readonly width?: number;
  readonly height?: number;
}

export type ChatReading =
  | { readonly name: string; readonly chat: ImportedChat }
  | { readonly name: string; readonly problem: string };

interface Content {
  readonly text: string;
  readonly thinking?: string;
  readonly images?: readonly Image[];
}

const ROLES: readonly unknown[] = ["user", "assistant", "system", "tool"];
const TITLE_LENGTH = 255;

/**
 * Reads the conversations of ChatGPT's export (conversations.json): `[{id, title, create_time, update_time, is_archived,
 * current_node, mapping: {<node>: {message: {author: {role}, create_time, content: {content_type, parts}, metadata}, parent}}}]`,
 * times in seconds. The format is not documented by its maker; this is what its exports hold. Nodes without words for a
 * reader (roots, hidden prompts, empty ones) are left out, and what follows them follows what they followed.
 * @returns one reading a conversation, or a sentence about the file as a whole
 */
export function parseChatgptExport(text: string): ChatReading[] | string {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return "is not JSON";
  }
  if (!Array.isArray(json)) return "must hold a list of conversations";
  return json.map((entry, index) => {
    const id = isObject(entry) ? (entry.conversation_id ?? entry.id) : undefined;
    const name = typeof id === "string" ? `conversations[${index}] ${id}` : `conversations[${index}]`;
    if (!isObject(entry)) return { name, problem: "must be an object" };
    if (typeof id !== "string" || !id || id.length > 200 || unstorable(id))
      return { name, problem: "has no usable id" };
    const reading = readConversation(id, entry);
    return typeof reading === "string" ? { name, problem: reading } : { name, chat: reading };
  });
}

function readConversation(id: string, raw: Record<string, unknown>): ImportedChat | string {
  if (!isObject(raw.mapping)) return "has no mapping";
  const nodes = new Map(Object.entries(raw.mapping));
  const began = timeOf(raw.create_time) ?? timeOf(raw.update_time) ?? Date.now();
  const order = orderNodes(nodes, began);
  if (typeof order === "string") return order;

  const messages: ImportedMessage[] = [];
  /** The kept message at or above each node. */
  const kept = new Map<string, string | null>();
  for (const { node, parent, time } of order) {
    const above = parent === null ? null : kept.get(parent)!;
    const message = (nodes.get(node) as Record<string, unknown>).message;
    const read = isObject(message) ? readMessage(message) : undefined;
    if (typeof read === "string") return `${read} in node ${node}`;
    kept.set(node, read ? `chatgpt:${id}:${node}` : above);
    if (read)
      messages.push({
        ...read,
        key: `chatgpt:${id}:${node}`,
        parent: above,
        createdAt: new Date(time).toISOString(),
      });
  }
  const title = typeof raw.title === "string" ? raw.title.trim() : "";
  const problem = unstorable(title);
  if (problem) return `the title ${problem}`;
  return {
    key: `chatgpt:${id}`,
    title: [...(title || "Untitled")].slice(0, TITLE_LENGTH).join(""),
    createdAt: new Date(began).toISOString(),
    updatedAt: new Date(Math.max(timeOf(raw.update_time) ?? began, began)).toISOString(),
    isArchived: raw.is_archived === true,
    head: typeof raw.current_node === "string" ? (kept.get(raw.current_node) ?? null) : null,
    messages,
  };
}

interface Placed {
  readonly node: string;
  readonly parent: string | null;
  /** Milliseconds; never before the parent's. */
  readonly time: number;
}

/** Parents before children, otherwise by time, so that the newest message of a branch comes last. */
function orderNodes(nodes: ReadonlyMap<string, unknown>, began: number): Placed[] | string {
  const children = new Map<string | null, string[]>();
  for (const [node, value] of nodes) {
    if (!isObject(value)) return `node ${node} must be an object`;
    const parent = value.parent ?? null;
    if (parent !== null && (typeof parent !== "string" || !nodes.has(parent)))
      return `node ${node} follows a node that is not there`;
    if (node.length > 40 || unstorable(node)) return "has a node with an id that cannot be kept";
    const siblings = children.get(parent);
    if (siblings) siblings.push(node);
    else children.set(parent, [node]);
  }
  const placed: Placed[] = (children.get(null) ?? []).map((node) => place(node, null, began));
  for (const { node, time } of placed)
    for (const child of children.get(node) ?? []) placed.push(place(child, node, time));
  // Whoever goes in a circle was never reached.
  if (placed.length < nodes.size) return "its mapping goes in a circle";
  // Stable, so that a child at its parent's time stays behind it.
  return placed.sort((a, b) => a.time - b.time);

  function place(node: string, parent: string | null, earliest: number): Placed {
    const { message } = nodes.get(node) as Record<string, unknown>;
    const time = isObject(message) ? timeOf(message.create_time) : undefined;
    return { node, parent, time: Math.max(time ?? earliest, earliest) };
  }
}

/** Undefined for what nobody was shown; a sentence for what PostgreSQL cannot store. */
function readMessage(
  message: Record<string, unknown>,
): Omit<ImportedMessage, "key" | "parent" | "createdAt"> | string | undefined {
  const author = isObject(message.author) ? message.author.role : undefined;
  const metadata = isObject(message.metadata) ? message.metadata : {};
  if (!ROLES.includes(author) || metadata.is_visually_hidden_from_conversation === true) return undefined;
  const role = author as ImportedMessage["role"];
  const { text, thinking, images } = isObject(message.content) ? readContent(message.content) : { text: "" };
  if (!text.trim() && !thinking && !images?.length) return undefined;
  const problem =
    unstorable(text) ??
    unstorable(thinking ?? "") ??
    unstorable(images?.map((image) => image.asset_pointer).join() ?? "");
  if (problem) return `text that ${problem}`;
  const isAssistant = role === "assistant";
  return {
    role,
    content: isAssistant ? text : [text, thinking].filter(Boolean).join("\n"),
    thinking: isAssistant ? (thinking ?? null) : null,
    images: images?.length ? images : null,
    metadata: {
      source: "chatgpt",
      ...(typeof metadata.model_slug === "string" && !unstorable(metadata.model_slug)
        ? { model: metadata.model_slug }
        : {}),
    },
  };
}

function readContent(content: Record<string, unknown>): Content {
  const { content_type: type, parts, text, result, thoughts } = content;
  if (Array.isArray(parts)) {
    const objects = parts.filter(isObject);
    const words = parts
      .map((part) => (isObject(part) ? part.text : part))
      .filter((part) => typeof part === "string");
    const images = objects.flatMap(({ asset_pointer, width, height }): Image[] =>
      typeof asset_pointer === "string"
        ? [
            {
              asset_pointer,
              ...(typeof width === "number" && typeof height === "number" ? { width, height } : {}),
            },
          ]
        : [],
    );
    return { text: words.join("\n"), images };
  }
  if (type === "thoughts" && Array.isArray(thoughts))
    return {
      text: "",
      thinking: thoughts
        .filter(isObject)
        .map((thought) => thought.content)
        .filter((words) => typeof words === "string")
        .join("\n"),
    };
  for (const words of [text, result, content.content]) if (typeof words === "string") return { text: words };
  return { text: "" };
}

/** Seconds since 1970, from then until 2100, as milliseconds. */
function timeOf(value: unknown): number | undefined {
  return typeof value === "number" && value > 0 && value < 4_102_444_800 ? value * 1000 : undefined;
}
