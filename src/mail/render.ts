import type { Content, Part } from "./template.ts";

/** A message in the forms that mail and SMS need. */
export interface RenderedMessage {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

/**
 * Turns a template's content into text and HTML. The HTML consists of escaped text and http(s) links. It loads no remote
 * resources, because a request for them would reveal when and where the mail is read.
 */
export function render({ subject, parts }: Content): RenderedMessage {
  return {
    // A line break would start another header.
    subject: subject.replace(/[\p{Cc}\u2028\u2029]+/gu, " ").trim(),
    text: `${parts.map(textPart).join("\n\n")}\n`,
    html: [
      "<!doctype html>",
      '<html><head><meta charset="utf-8"></head><body style="font-family: sans-serif; line-height: 1.5">',
      ...parts.map(htmlPart),
      "</body></html>",
      "",
    ].join("\n"),
  };
}

function textPart(part: Part): string {
  if (typeof part === "string") return oneLine(part);
  return "code" in part ? oneLine(part.code) : oneLine(part.link);
}

function htmlPart(part: Part): string {
  if (typeof part === "string") return `<p>${escapeHtml(oneLine(part))}</p>`;
  if ("code" in part) return `<p><code>${escapeHtml(oneLine(part.code))}</code></p>`;
  // An address with another scheme (javascript:) is shown but not linked.
  if (!/^https?:\/\//.test(part.link)) return `<p>${escapeHtml(oneLine(part.link))}</p>`;
  return `<p><a href="${escapeHtml(oneLine(part.link))}">${escapeHtml(oneLine(part.label))}</a></p>`;
}

/** A name with line breaks could pose as a paragraph of ours. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, " ").trim();
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}
