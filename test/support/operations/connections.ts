import { type GraphQLNamedType, isObjectType } from "postgraphile/graphql";

/** Whether a type is a page of a list. */
export const isConnection = (type: GraphQLNamedType): boolean =>
  isObjectType(type) && type.name.endsWith("Connection") && "edges" in type.getFields();
