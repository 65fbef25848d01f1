import type { PgResource } from "@dataplan/pg";
import { type GraphQLObjectType, getNamedType, isNonNullType, type SelectionSetNode } from "graphql";
import { type SQL, sql } from "pg-sql2";
import { connectionJson, where } from "./connection.ts";
import { type FieldSource, type JoinColumns, NotCompilable, sourceOf } from "./field-source.ts";
import { concatenated, type JsonText, nullable } from "./json-text.ts";
import { leafJson } from "./leaf.ts";
import { marked } from "./marked.ts";
import { nodeIdSql } from "./node-id.ts";
import { type Compilation, collectFields, objectJson, type Selected, selectionsOf } from "./object.ts";

type PgFunction = Extract<PgResource["from"], (...args: never[]) => SQL>;

/** Returns the JSON of the selected fields of a row. */
function rowJson(
  compilation: Compilation,
  type: GraphQLObjectType,
  selections: readonly SelectionSetNode[],
  alias: SQL,
): JsonText {
  return objectJson(compilation, type, selections, (selected) =>
    fieldJson(compilation, selected, type, alias),
  );
}

/** Returns the JSON of a field of a row, or of the root if there is no row. */
export function fieldJson(
  compilation: Compilation,
  selected: Selected,
  type: GraphQLObjectType,
  row: SQL | undefined,
): JsonText {
  const { field } = selected;
  const source = sourceOf(field);
  if (source.kind === "row") return foundRow(compilation, selected, source, row);
  if (source.kind === "connection")
    return connectionJson(compilation, selected, source, (alias) => joined(source.on, row, alias), rowJson);
  if (source.kind === "computed") {
    const { codec, from } = source.resource as PgResource & { from: PgFunction };
    const value = row ? from({ placeholder: row, position: 0 }) : from();
    return leafJson({ codec, type: field.type, value });
  }
  if (!row) throw new NotCompilable(`${field.name} needs a row.`);
  switch (source.kind) {
    case "column": {
      const { codec, column, isNeverNull } = source;
      const value = sql`${row}.${sql.identifier(column)}`;
      return leafJson({ codec, type: field.type, value, isNeverNull });
    }
    case "nodeId":
      return nodeIdSql(type.name, source.columns, row);
    default:
      throw new NotCompilable(`${field.name} is not a field of a row.`);
  }
}

/** The one row that a relation or a key leads to, or null. */
function foundRow(
  compilation: Compilation,
  selected: Selected,
  { resource, on, keys }: FieldSource & { kind: "row" },
  row: SQL | undefined,
): JsonText {
  const { field, nodes } = selected;
  if (isNonNullType(field.type)) throw new NotCompilable(`${field.name} must find a row.`);
  const alias = sql.identifier(Symbol(resource.name));
  const conditions = [
    ...joined(on, row, alias),
    ...keys.map(({ column, argument, codec }) => {
      const value = compilation.variables.bind(field, nodes[0], argument, codec);
      return sql`${alias}.${sql.identifier(column)} = ${value}`;
    }),
  ];
  const type = getNamedType(field.type) as GraphQLObjectType;
  const selections = selectionsOf(selected);
  if (!readsColumn(compilation, type, selections))
    // Then PostGraphile does not always look whether the row exists.
    throw new NotCompilable(`No columns of ${field.name}.`);
  const json = rowJson(compilation, type, selections, alias);
  let { from } = resource as { from: SQL | PgFunction };
  if (typeof from === "function") {
    from = from();
    // A function without a row returns a row of nulls.
    conditions.push(sql`not (${alias} is null)`);
  }
  const query = sql`select ${concatenated(marked(json, resource, alias))} from ${from} as ${alias}${where(conditions)} limit 1`;
  return nullable([sql.parens(query)]);
}

function readsColumn(
  compilation: Compilation,
  type: GraphQLObjectType,
  selections: readonly SelectionSetNode[],
): boolean {
  const members = [...collectFields(compilation, type, selections).values()];
  return members.some(
    (member) => typeof member === "object" && /^(column|nodeId)$/.test(sourceOf(member.field).kind),
  );
}

function joined(on: JoinColumns, row: SQL | undefined, alias: SQL): SQL[] {
  return on.map(([local, remote]) => {
    if (!row) throw new NotCompilable("A relation without a row.");
    return sql`${alias}.${sql.identifier(remote)} = ${row}.${sql.identifier(local)}`;
  });
}
