import { quoted } from "./graphviz.ts";
import { idOf, namesOfId } from "./identifiers.ts";
import type { PageData } from "./page-data.ts";
import { drawGraph } from "./svg.ts";

const OUTSIDE = "#57606a";

/** Draws the schemas, with arrows as wide as the foreign keys between them are many. */
export function drawSchemas({ schemas, relations }: PageData): Promise<string> {
  const counts = new Map<string, number>();
  for (const { schema, references = [] } of relations)
    for (const { to } of references) {
      const [target = ""] = namesOfId(to);
      const edge = `${quoted(idOf(schema))} -> ${quoted(idOf(target))}`;
      if (target !== schema) counts.set(edge, (counts.get(edge) ?? 0) + 1);
    }
  const ends = [...counts.keys()].join();
  const own = schemas.filter(({ name }) => ends.includes(quoted(idOf(name))));
  return draw("rankdir=LR, ranksep=0.8, nodesep=0.3", [
    ...own.map(({ name, color }) => {
      const count = relations.filter(({ schema }) => schema === name).length;
      return node(idOf(name), name, color, `${name}: ${count} tables and views`, 14);
    }),
    ...[...counts].map(([edge, count]) => `${edge} [penwidth=${Math.min(5, 0.8 + count / 5).toFixed(1)}];`),
  ]);
}

/** Draws the foreign keys of a schema's tables; an empty text if there are none. */
export async function drawTables({ schemas, relations }: PageData, schema: string): Promise<string> {
  const colorOf = (name = "") => schemas.find((each) => each.name === name)?.color ?? OUTSIDE;
  const edges = relations
    .filter((relation) => relation.schema === schema)
    .flatMap(({ name, references = [] }) => references.map(({ to }) => [idOf(schema, name), to] as const));
  if (edges.length === 0) return "";
  return draw("rankdir=LR, ranksep=0.7, nodesep=0.12", [
    ...[...new Set(edges.flat())].map((id) => {
      const [domain, name = ""] = namesOfId(id);
      return node(
        id,
        domain === schema ? name : `${domain}.${name}`,
        colorOf(domain),
        `${domain}.${name}`,
        11,
      );
    }),
    ...edges.map(([from, to]) => `${quoted(from)} -> ${quoted(to)};`),
  ]);
}

/** Colors of lines and texts come from the page's style, which knows whether it is dark. */
async function draw(layout: string, body: readonly string[]): Promise<string> {
  const svg = await drawGraph(
    [
      // Two keys between two tables are one line.
      "strict digraph {",
      `graph [${layout}, pad=0.1, bgcolor="transparent"];`,
      'node [shape=box, style="filled,rounded", penwidth=0, fontname="Courier", margin="0.12,0.05", height=0.3];',
      "edge [arrowsize=0.6];",
      ...body,
      "}",
    ].join("\n"),
  );
  return svg
    .replace(/^[\s\S]*?(?=<svg)/, "")
    .replace(/<!--[\s\S]*?-->\s*/g, "")
    .replace(/<title>[^<]*<\/title>\s*/g, "")
    .replace(/ xlink:title=/g, " aria-label=")
    .replace(/ xlink:href=/g, " href=")
    .replace(/ (xml:space|xmlns|xmlns:xlink|id|font-family|stroke|text-anchor)="[^"]*"/g, "")
    .replace(/ (fill="(white|black|none)"|stroke-width="0")/g, "")
    .replace(/<polygon points="[^"]*"\/>\s*(?=<g class="(node|edge))/, "")
    .replace(/\n/g, "")
    .trim();
}

function node(id: string, label: string, color: string, title: string, fontSize: number): string {
  return `${quoted(id)} [label=${quoted(label)}, fontsize=${fontSize}, fillcolor="${color}", URL=${quoted(`#${id}`)}, tooltip=${quoted(title)}];`;
}
