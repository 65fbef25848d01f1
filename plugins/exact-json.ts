import "graphile-build-pg";
import { TYPES } from "@dataplan/pg";
import { GraphQLError, Kind, type ValueNode } from "graphql";
import { MAX_DEPTH } from "../src/request/storable.ts";
import { isExact, parseExactJson } from "../src/support/exact-json.ts";

/**
 * Keeps the numbers of JSON values exact in both directions: values from the database are not read as doubles, and neither
 * are variables, which the request parser reads the same way. In a document, a number that no double holds is rejected.
 */
export const ExactJsonPlugin: GraphileConfig.Plugin = {
  name: "PlinthExactJsonPlugin",
  version: "1.0.0",
  description: "Keeps the numbers of JSON values exact",
  schema: {
    hooks: {
      build(build) {
        // Changed in place, not copied: PostGraphile identifies the JSON types by these two objects.
        for (const codec of [TYPES.json, TYPES.jsonb])
          (codec as { fromPg: (text: string) => unknown }).fromPg = parseExactJson;
        return build;
      },
      GraphQLScalarType(config, build) {
        return config.name === build.inflection.builtin("JSON")
          ? { ...config, parseLiteral: (node, variables) => literalValue(node, variables ?? {}, []) as never }
          : config;
      },
    },
  },
};

/** Reads a JSON value in a document. */
function literalValue(
  node: ValueNode,
  variables: Readonly<Record<string, unknown>>,
  path: readonly (string | number)[],
): unknown {
  if (path.length > MAX_DEPTH) throw badValue(node, "The JSON value is nested too deeply.");
  switch (node.kind) {
    case Kind.STRING:
    case Kind.BOOLEAN:
      return node.value;
    case Kind.NULL:
      return null;
    case Kind.INT:
    case Kind.FLOAT: {
      // Grafast reads the numbers in a value as doubles, whatever this returns.
      if (!isExact(node.value))
        throw badValue(
          node,
          `${placeOf(path)} cannot be ${node.value} in a document; pass it in a variable.`,
        );
      return Number(node.value);
    }
    case Kind.LIST:
      return node.values.map((item, i) => literalValue(item, variables, [...path, i]));
    case Kind.OBJECT: {
      const value = Object.create(null);
      for (const { name, value: member } of node.fields)
        value[name.value] = literalValue(member, variables, [...path, name.value]);
      return value;
    }
    case Kind.VARIABLE:
      return variables[node.name.value];
    case Kind.ENUM:
      throw new GraphQLError(`${placeOf(path)} is ${node.value}, which is not JSON; put strings in quotes.`, {
        nodes: node,
      });
  }
}

function placeOf(path: readonly (string | number)[]): string {
  return path.length > 0 ? `\`${path.join(".")}\` in the JSON value` : "The JSON value";
}

function badValue(node: ValueNode, message: string): GraphQLError {
  return new GraphQLError(message, { nodes: node, extensions: { code: "BAD_USER_INPUT" } });
}
