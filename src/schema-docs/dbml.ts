import type { Domains } from "./domains.ts";
import type { Column, Reference, Relation, RelationName, SchemaModel } from "./model.ts";
import { shortType } from "./short-type.ts";

/**
 * Returns the tables as DBML (dbml.dbdiagram.io/docs), which dbdiagram.io imports: grouped and colored by domain, with comments as
 * notes. Views are omitted, because DBML has none.
 */
export function toDbml({ project, domains, relations, references }: SchemaModel): string {
  const tables = relations.filter(({ kind }) => kind === "table");
  const groups = [...domains].flatMap(([schema, colour]) => {
    const members = tables.filter((table) => table.schema === schema);
    if (members.length === 0) return [];
    const lines = members.map((table) => `  ${nameOf(table)}`).join("\n");
    return [`TableGroup ${identifier(schema)} [color: ${colour}] {\n${lines}\n}`];
  });
  return `${[
    "// The tables by domain. Generated (plinth docs): import it at dbdiagram.io, do not edit it.",
    `Project ${identifier(project)} {\n  database_type: 'PostgreSQL'\n}`,
    ...tables.map((table) => tableOf(table, domains)),
    ...references.map(referenceOf),
    ...groups,
  ].join("\n\n")}\n`;
}

function tableOf(table: Relation, domains: Domains): string {
  const keys = [
    ...(table.primaryKey.length > 1 ? [`    (${list(table.primaryKey)}) [pk]`] : []),
    ...table.uniqueKeys.filter((key) => key.length > 1).map((key) => `    (${list(key)}) [unique]`),
  ];
  return [
    `Table ${nameOf(table)} [headercolor: ${domains.get(table.schema)}] {`,
    ...table.columns.map((column) => `  ${columnOf(column, table)}`),
    ...(keys.length > 0 ? ["  indexes {", ...keys, "  }"] : []),
    `  Note: ${text(table.comment)}`,
    "}",
  ].join("\n");
}

function columnOf(column: Column, table: Relation): string {
  const isOnly = (key: readonly string[]) => key.length === 1 && key[0] === column.name;
  const settings = [
    ...(isOnly(table.primaryKey) ? ["pk"] : []),
    ...(table.uniqueKeys.some(isOnly) ? ["unique"] : []),
    ...(column.isRequired ? ["not null"] : []),
    ...(column.default === null ? [] : [`default: \`${column.default.replaceAll("`", "'")}\``]),
    ...(column.comment ? [`note: ${text(column.comment)}`] : []),
  ];
  const type = shortType(column.type);
  const written = /^\w+$/.test(type) ? type : `"${type.replaceAll('"', "")}"`;
  return `${identifier(column.name)} ${written}${settings.length > 0 ? ` [${settings.join(", ")}]` : ""}`;
}

function referenceOf({ name, from, columns, to, toColumns, onDelete, isUnique }: Reference): string {
  const end = (relation: RelationName, keys: readonly string[]) =>
    `${nameOf(relation)}.${keys.length === 1 ? identifier(keys[0]!) : `(${list(keys)})`}`;
  return `Ref ${identifier(name)}: ${end(from, columns)} ${isUnique ? "-" : ">"} ${end(to, toColumns)} [delete: ${onDelete}]`;
}

function nameOf({ schema, name }: RelationName): string {
  return `${identifier(schema)}.${identifier(name)}`;
}

function list(columns: readonly string[]): string {
  return columns.map(identifier).join(", ");
}

function identifier(name: string): string {
  return /^[a-z_]\w*$/.test(name) ? name : `"${name.replaceAll('"', "'")}"`;
}

function text(comment: string): string {
  return `'${comment.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replace(/\s+/g, " ")}'`;
}
