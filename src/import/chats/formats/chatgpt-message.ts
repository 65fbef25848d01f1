import { isObject } from "../../../support/is-object.ts";
import { unstorable } from "../../import.ts";
import { isRole, messageProblem } from "../imported-chat.ts";
import type { NodeReading } from "./assemble-chat.ts";

interface Image {
  readonly asset_pointer: string;
  readonly width?: number;
  readonly height?: number;
}

interface Content {
  readonly text: string;
  readonly thinking?: string;
  /** ChatGPT's names of the images, which are separate files in the export. */
  readonly images?: readonly Image[];
  /** Unknown kinds of content with text. */
  readonly unknown: readonly string[];
}

/** Reads `{author: {role}, content: {content_type, …}, metadata}`. */
export function readChatGptMessage(raw: Record<string, unknown>): NodeReading {
  const content = isObject(raw.content) ? readContent(raw.content) : { text: "", unknown: [] };
  const { text, thinking, images, unknown } = content;
  const isEmpty = !text.trim() && !thinking?.trim() && !images?.length;
  if (isEmpty && unknown.length === 0) return {};

  const metadata = isObject(raw.metadata) ? raw.metadata : {};
  if (metadata.is_visually_hidden_from_conversation === true)
    return { omissions: ["is hidden in ChatGPT and was skipped"] };
  const role = isObject(raw.author) ? raw.author.role : undefined;
  if (!isRole(role)) return { omissions: [`${roleProblem(role)} and was skipped`] };
  const omissions = unknown.length
    ? [`contains content of the unknown kind ${unknown.join(", ")}, which was skipped`]
    : [];
  if (isEmpty) return { omissions };

  const isAssistant = role === "assistant";
  const words = isAssistant ? text : [text, thinking].filter(Boolean).join("\n");
  const thoughts = isAssistant ? (thinking ?? null) : null;
  const pointer = images?.map((image) => unstorable(image.asset_pointer)).find(Boolean);
  const problem = messageProblem(words, thoughts) ?? (pointer && `${pointer} in the name of an image`);
  if (problem) return { problem };
  const model = metadata.model_slug;
  return {
    omissions,
    messages: [
      {
        role,
        content: words,
        thinking: thoughts,
        images: images?.length ? images : null,
        metadata: {
          source: "chatgpt",
          ...(typeof model === "string" && !unstorable(model) ? { model } : {}),
        },
      },
    ],
  };
}

function roleProblem(role: unknown): string {
  return typeof role === "string"
    ? `has an author with the unknown role ${JSON.stringify(role)}`
    : "has no author";
}

function readContent(content: Record<string, unknown>): Content {
  const { content_type: type, parts, text, result, thoughts } = content;
  if (Array.isArray(parts)) return readParts(parts);
  if (type === "thoughts" && Array.isArray(thoughts)) {
    const words = thoughts
      .filter(isObject)
      .map(({ content: whole, summary }) => (isText(whole) ? whole : summary))
      .filter(isText);
    return { text: "", thinking: words.join("\n"), unknown: [] };
  }
  for (const words of [text, result, content.content]) if (isText(words)) return { text: words, unknown: [] };
  return { text: "", unknown: hasWords(content) ? [kindOf(content)] : [] };
}

function readParts(parts: readonly unknown[]): Content {
  const words: string[] = [];
  const images: Image[] = [];
  const unknown = new Set<string>();
  for (const part of parts) {
    if (typeof part === "string") words.push(part);
    if (!isObject(part)) continue;
    const { asset_pointer, width, height } = part;
    if (isText(part.text)) words.push(part.text);
    else if (typeof asset_pointer === "string" && isImage(part))
      images.push({
        asset_pointer,
        ...(typeof width === "number" && typeof height === "number" ? { width, height } : {}),
      });
    else if (hasWords(part)) unknown.add(kindOf(part));
  }
  return { text: words.join("\n"), images, unknown: [...unknown] };
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

/** Audio has pointers too. */
function isImage({ content_type: type }: Record<string, unknown>): boolean {
  return type === undefined || type === "image_asset_pointer";
}

function kindOf({ content_type: type }: Record<string, unknown>): string {
  return typeof type === "string" ? JSON.stringify(type.slice(0, 100)) : "(none)";
}

/** Keys whose texts describe the content but are not part of it. */
const DESCRIBING = new Set(["content_type", "language", "response_format_name"]);

function hasWords(value: unknown): boolean {
  const waiting = [value];
  for (const next of waiting) {
    if (typeof next === "string" && next.trim()) return true;
    if (Array.isArray(next)) waiting.push(...next);
    else if (isObject(next))
      for (const [key, inner] of Object.entries(next)) if (!DESCRIBING.has(key)) waiting.push(inner);
  }
  return false;
}
