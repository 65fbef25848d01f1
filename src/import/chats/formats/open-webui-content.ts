import { isObject } from "../../../support/is-object.ts";
import { asText, type Part } from "./message-parts.ts";

/** Thoughts and calls of tools are blocks of HTML within the text, with their values escaped in attributes. */
const DETAILS = /<details type="(reasoning|tool_calls)"([^>]*)>([\s\S]*?)<\/details>/g;

/**
 * Reads the parts of a message of Open WebUI: from `output`, which newer versions add to answers, unless it has a kind that is
 * unknown here; otherwise from `content`, which shows everything as text.
 */
export function readOpenWebUiContent({ content, output }: Record<string, unknown>): Part[] {
  const parts = Array.isArray(output) ? output.map(partOfOutput) : [];
  return parts.length > 0 && parts.every((part) => part !== undefined) ? parts : partsOfText(textOf(content));
}

function partOfOutput(item: unknown): Part | undefined {
  if (!isObject(item)) return undefined;
  switch (item.type) {
    case "message":
      return { kind: "text", text: textOf(item.content) };
    case "reasoning":
      return { kind: "thinking", text: textOf(item.content) || textOf(item.summary) };
    case "function_call":
      return { kind: "call", id: asText(item.call_id), name: asText(item.name), input: item.arguments };
    case "function_call_output":
      return { kind: "result", callId: asText(item.call_id), text: textOf(item.output) };
    default:
      return undefined;
  }
}

/** A text, or a list of objects with texts. */
function textOf(content: unknown): string {
  if (!Array.isArray(content)) return asText(content ?? "");
  return content
    .flatMap((part) => (isObject(part) && typeof part.text === "string" ? [part.text] : []))
    .join("\n\n");
}

function partsOfText(text: string): Part[] {
  const parts: Part[] = [];
  let end = 0;
  for (const match of text.matchAll(DETAILS)) {
    const [whole, type, attributes = "", inner = ""] = match;
    parts.push({ kind: "text", text: text.slice(end, match.index).trim() });
    parts.push(...(type === "reasoning" ? thoughtsOf(inner) : callOf(attributes)));
    end = match.index + whole.length;
  }
  return [...parts, { kind: "text", text: end === 0 ? text : text.slice(end).trim() }];
}

/** Each line of a thought is quoted: `> …`. */
function thoughtsOf(inner: string): Part[] {
  const text = unescapeHtml(inner.replace(/<summary>[\s\S]*?<\/summary>/, ""));
  return [{ kind: "thinking", text: text.trim().replace(/^> ?/gm, "") }];
}

function callOf(attributes: string): Part[] {
  const attribute = (name: string): string | undefined => {
    const value = new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1];
    return value === undefined ? undefined : unquoted(unescapeHtml(value));
  };
  const id = attribute("id") ?? "";
  const result = attribute("result");
  return [
    { kind: "call", id, name: attribute("name") ?? "", input: attribute("arguments") || "{}" },
    ...(result ? [{ kind: "result" as const, callId: id, text: result }] : []),
  ];
}

/** Attributes hold JSON, often a text that is JSON itself. */
function unquoted(value: string): string {
  try {
    const parsed: unknown = JSON.parse(value);
    return typeof parsed === "string" ? parsed : value;
  } catch {
    return value;
  }
}

const ENTITIES: Record<string, string> = {
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&#x27;": "'",
  "&#39;": "'",
  "&amp;": "&",
};

function unescapeHtml(text: string): string {
  return text.replace(/&(?:lt|gt|quot|amp|#x27|#39);/g, (entity) => ENTITIES[entity]!);
}
