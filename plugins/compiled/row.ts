import {
  type GraphQLObjectType,
  getNamedType,
  isNonNullType,
  type SelectionSetNode,
} from "postgraphile/graphql";
import { type SQL, sql } from "postgraphile/pg-sql2";
import { connectionJson, where } from "./connection.ts";
import { type FieldSource, type JoinColumns, NotCompilable, sourceOf } from "./field-source.ts";
import { concatenated, type JsonText, nullable } from "./json-text.ts";
import { leafJson } from "./leaf.ts";
import { nodeIdSql } from "./node-id.ts";
import { type Compilation, objectJson, type Selected, selectionsOf } from "./object.ts";

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
    return connectionJson(
      compilation,
      selected,
      source.resource,
      (alias) => joined(source.on, row, alias),
      (itemType, selections, alias) => rowJson(compilation, itemType, selections, alias),
    );
  if (!row) throw new NotCompilable(`${field.name} needs a row.`);
  switch (source.kind) {
    case "column": {
      const { codec, column, isNeverNull } = source;
      const value = sql`${row}.${sql.identifier(column)}`;
      return leafJson({ codec, type: field.type, value, isNeverNull });
    }
    case "computed": {
      const { codec, from } = source.resource;
      if (typeof from !== "function") throw new NotCompilable(`${field.name} is not a function.`);
      return leafJson({ codec, type: field.type, value: from({ placeholder: row, position: 0 }) });
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
  const json = rowJson(compilation, type, selectionsOf(selected), alias);
  const query = sql`select ${concatenated(json)} from ${resource.from as SQL} as ${alias}${where(conditions)} limit 1`;
  return nullable([sql.parens(query)]);
}

function joined(on: JoinColumns, row: SQL | undefined, alias: SQL): SQL[] {
  return on.map(([local, remote]) => {
    if (!row) throw new NotCompilable("A relation without a row.");
    return sql`${alias}.${sql.identifier(remote)} = ${row}.${sql.identifier(local)}`;
  });
}
