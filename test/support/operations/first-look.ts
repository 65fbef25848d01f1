import {
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isLeafType,
  isRequiredArgument,
  parse,
} from "postgraphile/graphql";
import { isConnection } from "./connections.ts";
import type { Operation } from "./random-operation.ts";

/** Lists in one operation. */
const BATCH = 6;

/** Operations that read the first rows of each list at the root: what a walk knows before its first step. */
export function firstLook(schema: GraphQLSchema): Operation[] {
  const lists = Object.values(schema.getQueryType()!.getFields()).filter(
    (field) => isConnection(getNamedType(field.type)) && !field.args.some(isRequiredArgument),
  );
  const operations: Operation[] = [];
  for (let start = 0; start < lists.length; start += BATCH) {
    const text = `{ ${lists
      .slice(start, start + BATCH)
      .map(wholeRows)
      .join("\n")} }`;
    operations.push({ text, document: parse(text), variables: {} });
  }
  return operations;
}

function wholeRows({ name, type }: GraphQLField<unknown, unknown>): string {
  const nodes = (getNamedType(type) as GraphQLObjectType).getFields().nodes!;
  const row = getNamedType(nodes.type) as GraphQLObjectType;
  if (isLeafType(row)) return `${name}(first: 20) { edges { cursor } nodes }`;
  const leaves = Object.values(row.getFields()).filter(
    (field) => isLeafType(getNamedType(field.type)) && !field.args.some(isRequiredArgument),
  );
  return `${name}(first: 20) { edges { cursor node { ${leaves.map((leaf) => leaf.name).join(" ")} } } }`;
}
