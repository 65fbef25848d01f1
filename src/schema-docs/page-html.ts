import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { PACKAGE_ROOT } from "../support/paths.ts";
import { idOf } from "./identifiers.ts";
import type { PageData } from "./page-data.ts";
import { drawSchemas, drawTables } from "./page-graphs.ts";

/** Its files are JavaScript, so that they are the same in a checkout and in an installed package. */
const FOLDER = join(PACKAGE_ROOT, "src", "schema-docs", "page");

/** Returns the page: its data, its pictures, its style and its scripts in one file that loads nothing. */
export async function schemaPage(data: PageData): Promise<string> {
  const style = await readFile(join(FOLDER, "page.css"), "utf8");
  const script = await joinScripts("main.js");
  const pictures = [["schemas", await drawSchemas(data)]];
  for (const { name } of data.schemas) pictures.push([idOf(name), await drawTables(data, name)]);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy(style, script)}">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${escaped(data.title)} schema</title>
<style>${style}</style>
</head>
<body>
<noscript><p>This page needs JavaScript. README.md beside it has the same tables.</p></noscript>
${pictures
  .filter(([, svg]) => svg)
  .map(([name, svg]) => `<template id="picture-${name}">${svg}</template>`)
  .join("\n")}
<script type="application/json" id="data">${jsonOf(data)}</script>
<script type="module">${script}</script>
</body>
</html>
`;
}

/** A line for each table and function, so that a change of the schema changes few lines. `<` would end the script. */
function jsonOf(data: PageData): string {
  const parts = Object.entries(data).map(([key, value]) => {
    const text = Array.isArray(value)
      ? `[\n${value.map((each) => JSON.stringify(each)).join(",\n")}\n]`
      : JSON.stringify(value);
    return `${JSON.stringify(key)}:${text}`;
  });
  return `{${parts.join(",\n")}}`.replaceAll("<", "\\u003c");
}

/** Only the page's own style and script run; it has no requests, forms, frames or texts that become markup. */
function contentPolicy(style: string, script: string): string {
  const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  return [
    "default-src 'none'",
    `script-src ${hash(script)}`,
    `style-src ${hash(style)}`,
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join(";");
}

/** Joins a script with those that it imports, each before the first that needs it: an inline script cannot import another. */
async function joinScripts(file: string, seen = new Set<string>()): Promise<string> {
  if (seen.has(file)) return "";
  seen.add(file);
  const text = await readFile(join(FOLDER, file), "utf8");
  let before = "";
  for (const [, path] of text.matchAll(/^import [^;]*? from "([^"]+)";$/gm))
    before += await joinScripts(basename(path!), seen);
  const own = text
    .replace(/^import [^;]*? from "[^"]+";\n/gm, "")
    .replace(/^export (?=const|function|async)/gm, "")
    .replace(/^ *\/\*\*[\s\S]*?\*\/\n/gm, "")
    .trim();
  return `${before}// ${file}\n${own}\n`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
