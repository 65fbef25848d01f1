import { createHash } from "node:crypto";

/** Escapes text for HTML, in elements and in quoted attributes. */
export const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => ESCAPES[character]!);

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

const STYLE = `
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-top: 1px solid; padding-top: 0.5rem; }
h2 small { font-weight: normal; font-size: 0.9rem; }
table { border-collapse: collapse; margin: 0.75rem 0; }
th, td { border: 1px solid color-mix(in srgb, currentColor 30%, transparent); padding: 0.25rem 0.5rem; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; white-space: pre-wrap; unicode-bidi: isolate; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
dt { font-weight: 600; }
dd { margin: 0 0 0.25rem 1rem; }
nav ul { columns: 18rem; }
.wide { overflow-x: auto; }
@media print {
  body { font-size: 10pt; max-width: none; margin: 0; }
  tr, dl > div { break-inside: avoid; }
  h2 { break-after: avoid; }
}
`;

/** Only the page's own style may load: no script, image, form or connection, whatever a value contains. */
export const PAGE_SECURITY_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** The beginning of a self-contained page, up to its heading. */
export function pageStart(title: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${PAGE_SECURITY_POLICY}">
<meta name="viewport" content="width=device-width">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
`;
}

export const PAGE_END = "</body>\n</html>\n";

/** `last_login_at` as a label: Last login at. */
export function label(name: string): string {
  const words = name.replaceAll("_", " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const TIME = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([+-]\d{2}(:?\d{2})?|Z)$/;
const READABLE = new Intl.DateTimeFormat("en-GB", {
  dateStyle: "long",
  timeStyle: "medium",
  timeZone: "UTC",
});

/** The HTML of a value of a row: times in words, in UTC. */
export function valueHtml(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value) && value.every((each) => typeof each !== "object"))
    return value.length === 0 ? "–" : escaped(value.join(", "));
  if (typeof value === "object") return escaped(JSON.stringify(value, null, 2));
  const text = String(value);
  const time = TIME.test(text) ? new Date(text) : undefined;
  return time && Number.isFinite(time.getTime())
    ? `<time datetime="${escaped(text)}">${READABLE.format(time)} UTC</time>`
    : escaped(text);
}
