import type { Relation, RelationName, SchemaModel } from "./model.ts";
import { shortType } from "./short-type.ts";

/**
 * Returns one domain as a Mermaid entity relationship diagram (mermaid.js.org/syntax/entityRelationshipDiagram), which GitHub and
 * many editors draw. Tables of other domains appear by name if a foreign key references them.
 */
export function toMermaid({ relations, references }: SchemaModel, domain: string): string {
  const own = relations.filter(({ schema }) => schema === domain);
  const keyColumns = new Set(
    references.flatMap(({ from, columns }) => columns.map((column) => `${nameOf(from)}.${column}`)),
  );
  const lines = references
    .filter(({ from }) => from.schema === domain)
    .map(
      ({ from, columns, to, isUnique }) =>
        `  ${quoted(from)} ${isUnique ? "|o" : "}o"}--|| ${quoted(to)} : "${columns.join(", ")}"`,
    );
  return `${[
    `%% The ${domain} domain. Generated (plinth docs): do not edit it.`,
    "erDiagram",
    ...own.map((relation) => entityOf(relation, keyColumns)),
    ...lines,
  ].join("\n")}\n`;
}

function entityOf(relation: Relation, keyColumns: ReadonlySet<string>): string {
  const attributes = relation.columns.map(({ name, type, comment }) => {
    const keys = [
      ...(relation.primaryKey.includes(name) ? ["PK"] : []),
      ...(keyColumns.has(`${nameOf(relation)}.${name}`) ? ["FK"] : []),
    ].join(", ");
    // The grammar allows no spaces or commas in a type.
    const written = shortType(type).replace(/[^\w[\]()]+/g, "_");
    return `    ${[written, name.replace(/\W/g, "_"), keys].filter(Boolean).join(" ")} "${comment.replaceAll('"', "'").replace(/\s+/g, " ")}"`;
  });
  return [`  ${quoted(relation)} {`, ...attributes, "  }"].join("\n");
}

function nameOf({ schema, name }: RelationName): string {
  return `${schema}.${name}`;
}

function quoted(relation: RelationName): string {
  return `"${nameOf(relation).replaceAll('"', "'")}"`;
}
