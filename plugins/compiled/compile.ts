import { hash } from "node:crypto";
import { OperationTypeNode } from "graphql";
import { sql } from "pg-sql2";
import type { Compile, CompiledStatement } from "../../src/graphql/compiled-statement.ts";
import { NotCompilable } from "./field-source.ts";
import { concatenated, inlineConstants } from "./json-text.ts";
import { type Compilation, objectJson } from "./object.ts";
import { fieldJson } from "./row.ts";
import { BoundVariable, Variables } from "./variables.ts";

/**
 * Compiles a query for given variables to one statement, which returns the JSON text of the response's `data`. It
 * sees one snapshot.
 * @throws GraphQLError, SafeError for wrong arguments
 */
export const compileOperation = ({
  schema,
  operation,
  fragments,
  variables: values,
  pageSize,
}: Parameters<Compile>[0] & { pageSize: number }): ReturnType<Compile> => {
  const root = schema.getQueryType();
  if (operation.operation !== OperationTypeNode.QUERY || !root) return "Only queries are compiled.";
  const variables = new Variables(values);
  const compilation: Compilation = { schema, fragments, variables, pageSize };
  try {
    const json = objectJson(compilation, root, [operation.selectionSet], (selected) =>
      fieldJson(compilation, selected, root, undefined),
    );
    const variablesRead = variables.readIn([operation, ...fragments.values()]);
    return statementOf(inlineConstants(sql.compile(sql`select ${concatenated(json)}`)), variablesRead);
  } catch (error) {
    if (error instanceof NotCompilable) return error.message;
    throw error;
  }
};

function statementOf(
  { text, values }: ReturnType<typeof inlineConstants>,
  variablesRead: ReadonlySet<string>,
): CompiledStatement {
  return {
    text,
    name: hash("sha1", text),
    variablesRead,
    valuesFor: (variables) =>
      values.map((value: unknown) => (value instanceof BoundVariable ? value.valueOf(variables) : value)),
  };
}
