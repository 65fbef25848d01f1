import type { Domains } from "./domains.ts";
import type { Reference, Relation, RelationName, SchemaModel } from "./model.ts";
import { shortType } from "./short-type.ts";

/** A fixed-width font has the same width everywhere, so text always fits its box. */
const FONT = 'fontname="Courier"';
const BOLD_FONT = 'fontname="Courier-Bold"';
const OUTSIDE = "#8c959f";

/** Returns the graph of one domain in Graphviz's language, with all columns and with the names of tables in other domains. */
export function domainGraph(model: SchemaModel, domain: string): string {
  const colourOf = coloursOf(model.domains);
  const own = model.relations.filter(({ schema }) => schema === domain);
  const references = model.references.filter(({ from }) => from.schema === domain);
  const outside = new Map(
    references.filter(({ to }) => to.schema !== domain).map(({ to }) => [idOf(to), to] as const),
  );
  return graph(`The ${domain} domain`, "layout=dot, rankdir=LR, ranksep=0.9, nodesep=0.18", [
    ...own.map((relation) => tableNode(relation, colourOf(relation), keyColumnsOf(relation, references))),
    ...[...outside.values()].map((relation) => outsideNode(relation, colourOf(relation))),
    ...references.map((reference) => edge(reference, colourOf(reference.to))),
  ]);
}

/**
 * Returns the graph of all domains, with the names of tables in a box per domain. Its labels are plain: the parser of HTML labels
 * takes a random salt, and this layout would differ with it.
 */
export function wholeGraph({ domains, relations, references }: SchemaModel): string {
  const colourOf = coloursOf(domains);
  const clusters = [...domains].flatMap(([schema, colour]) => {
    const own = relations.filter((relation) => relation.schema === schema);
    if (own.length === 0) return [];
    return [
      `subgraph ${quoted(`cluster_${schema}`)} {`,
      `label=${quoted(schema)}; ${BOLD_FONT}; fontsize=20; fontcolor="${colour}"; color="${colour}"; style="rounded"; penwidth=1.5; margin=14;`,
      ...own.map((relation) => smallNode(relation, colour)),
      "}",
    ];
  });
  // A spring layout arranges a hundred tables in a square; a layered one would make a long band. Without a seed, it begins in one of
  // several places, and one picture of eight differs.
  return graph("All domains", "layout=fdp, start=1, splines=true, K=0.5", [
    ...clusters,
    ...references.map((reference) => edge(reference, colourOf(reference.from))),
  ]);
}

function graph(title: string, layout: string, body: readonly string[]): string {
  return [
    "digraph {",
    `graph [${layout}, pad=0.3, bgcolor="white", label=${quoted(title)}, labelloc=t, fontsize=20, ${BOLD_FONT}];`,
    `node [shape=plain, ${FONT}, fontsize=11];`,
    "edge [arrowsize=0.6, penwidth=1.1];",
    ...body,
    "}",
  ].join("\n");
}

function tableNode(relation: Relation, colour: string, keyColumns: ReadonlySet<string>): string {
  const rows = relation.columns.map(({ name, type, isRequired, comment }) => {
    const marks = [relation.primaryKey.includes(name) ? "PK" : "", keyColumns.has(name) ? "FK" : ""];
    const label = isRequired ? `<b>${escaped(name)}</b>` : escaped(name);
    return (
      `<tr><td port="${escaped(name)}" align="left" title="${escaped(comment)}" href="#${escaped(name)}">${label}</td>` +
      `<td align="left"><font color="#57606a">${escaped(shortType(type))}</font></td>` +
      `<td align="left"><font color="${colour}">${marks.filter(Boolean).join(" ") || " "}</font></td></tr>`
    );
  });
  const kind = relation.kind === "view" ? " (view)" : "";
  return (
    `${quotedId(relation)} [label=<<table border="1" cellborder="0" cellspacing="0" cellpadding="3" color="${colour}">` +
    `<tr><td colspan="3" bgcolor="${colour}" title="${escaped(relation.comment)}" href="#${escaped(relation.name)}"><font color="white"><b>${escaped(relation.name)}${kind}</b></font></td></tr>` +
    `${rows.join("")}</table>>];`
  );
}

function smallNode(relation: Relation, colour: string): string {
  const look =
    relation.kind === "view"
      ? `style="dashed", fontcolor="${colour}"`
      : `style="filled", fillcolor="${colour}", fontcolor="white"`;
  return `${quotedId(relation)} [shape=box, height=0.3, margin="0.1,0.05", label=${quoted(relation.name)}, tooltip=${quoted(relation.comment.replace(/\s+/g, " "))}, color="${colour}", ${look}];`;
}

function outsideNode(relation: RelationName, colour: string): string {
  return (
    `${quotedId(relation)} [label=<<table border="1" cellborder="0" cellspacing="0" cellpadding="5" color="${OUTSIDE}" style="rounded">` +
    `<tr><td><font color="${colour}">${escaped(idOf(relation))}</font></td></tr></table>>];`
  );
}

function edge({ from, to, columns, name }: Reference, colour: string): string {
  return `${quotedId(from)} -> ${quotedId(to)} [color="${colour}", tooltip=${quoted(`${name} (${columns.join(", ")})`)}];`;
}

function keyColumnsOf(relation: Relation, references: readonly Reference[]): ReadonlySet<string> {
  return new Set(
    references.filter(({ from }) => idOf(from) === idOf(relation)).flatMap(({ columns }) => columns),
  );
}

function coloursOf(domains: Domains): (relation: RelationName) => string {
  return ({ schema }) => domains.get(schema) ?? OUTSIDE;
}

function idOf({ schema, name }: RelationName): string {
  return `${schema}.${name}`;
}

function quotedId(relation: RelationName): string {
  return quoted(idOf(relation));
}

/** A string of Graphviz's language. */
export function quoted(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replace(/\s+/g, " ");
}
