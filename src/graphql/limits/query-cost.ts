import {
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  GraphQLError,
  type GraphQLField,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  isCompositeType,
  isInterfaceType,
  isListType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  type ValueNode,
} from "graphql";

export interface CostLimits {
  /** Maximum number of field values in the response. */
  readonly cost: number;
  /** Maximum conditions of all filters and terms of all orders together. */
  readonly fields: number;
  /** The largest `first` or `last`, and the default page size. */
  readonly pageSize: number;
}

export interface CountedOperation {
  readonly schema: GraphQLSchema;
  readonly operation: OperationDefinitionNode;
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  readonly variables: Readonly<Record<string, unknown>>;
}

export interface OperationSize {
  readonly cost: number;
  /** Number of fields, counted at each spread of their fragment. */
  readonly fields: number;
}

/** Set on fields that return a page, see the page size plugin. */
export interface ConnectionExtensions {
  readonly plinthConnection?: boolean;
}

/**
 * Computes the maximum number of field values in the response: each field once for every object it can be on, with full
 * pages at every level. A totalCount costs as much as a page, because PostgreSQL has to count. Fields under @skip and
 * @include count as present; introspection is free, but its width is capped. Requires a valid document whose width was
 * checked.
 * @throws GraphQLError PAGE_TOO_LARGE or BAD_USER_INPUT for page arguments, QUERY_TOO_COMPLEX for the total
 */
export function assertCost(operation: CountedOperation, limits: CostLimits): OperationSize {
  const { schema, fragments } = operation;
  let cost = 0;
  let fields = 0;
  let conditions = 0;

  function add(amount: number): void {
    cost += amount;
    if (cost > limits.cost)
      throw new GraphQLError(
        `The response could contain more than ${limits.cost} values. Request smaller pages.`,
        {
          extensions: { code: "QUERY_TOO_COMPLEX", limit: limits.cost },
        },
      );
  }

  /**
   * @param copies maximum number of objects of this type in the response
   * @param page page size if this selection is a connection's, else 0
   */
  function visit(
    { selections }: SelectionSetNode,
    type: GraphQLCompositeType,
    copies: number,
    page: number,
  ): void {
    for (const selection of selections) {
      if (selection.kind === Kind.FRAGMENT_SPREAD) {
        const fragment = fragments.get(selection.name.value);
        if (fragment) visit(fragment.selectionSet, conditionType(fragment.typeCondition), copies, page);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        const { typeCondition } = selection;
        visit(selection.selectionSet, typeCondition ? conditionType(typeCondition) : type, copies, page);
      } else visitField(selection, type, copies, page);
    }
  }

  function conditionType(condition: { readonly name: { readonly value: string } }): GraphQLCompositeType {
    return schema.getType(condition.name.value) as GraphQLCompositeType;
  }

  function visitField(node: FieldNode, type: GraphQLCompositeType, copies: number, page: number): void {
    const name = node.name.value;
    fields++;
    if (name === "__schema" || name === "__type") return;
    const field =
      isObjectType(type) || isInterfaceType(type) ? type.getFields()[name] : undefined; /* else __typename */
    add(page && name === "totalCount" ? copies * limits.pageSize : copies);
    conditions += countConditions(argumentValue(node, "filter", operation), limits.fields);
    const orderBy = argumentValue(node, "orderBy", operation);
    if (Array.isArray(orderBy)) conditions += orderBy.length;
    if (conditions > limits.fields)
      throw new GraphQLError(`The filters and orders have more than ${limits.fields} parts.`, {
        nodes: node,
        extensions: { code: "QUERY_TOO_COMPLEX", limit: limits.fields },
      });
    if (!field || !node.selectionSet) return;

    const fieldType = getNamedType(field.type);
    if (!isCompositeType(fieldType)) return;
    if (isConnection(field)) {
      visit(node.selectionSet, fieldType, copies, Math.max(1, pageSize(node, operation, limits)));
      return;
    }
    const isList = isListType(getNullableType(field.type));
    visit(node.selectionSet, fieldType, isList ? copies * (page || limits.pageSize) : copies, 0);
  }

  const root = schema.getRootType(operation.operation.operation);
  if (root) visit(operation.operation.selectionSet, root, 1, 0);
  return { cost, fields };
}

function isConnection(field: GraphQLField<unknown, unknown>): boolean {
  return (field.extensions as ConnectionExtensions).plinthConnection === true;
}

/** Returns the page size that a connection field requests. */
function pageSize(node: FieldNode, operation: CountedOperation, limits: CostLimits): number {
  const [first, last, before, after] = ["first", "last", "before", "after"].map((name) =>
    argumentValue(node, name, operation),
  );
  const isForward = first != null || after != null;
  const isBackward = last != null || before != null;
  if (isForward && isBackward)
    throw new GraphQLError(
      "Page forwards with `first` and `after` or backwards with `last` and `before`, not both.",
      { nodes: node, extensions: { code: "BAD_USER_INPUT" } },
    );
  const size = first ?? last ?? limits.pageSize;
  // Validation rejects anything else.
  if (typeof size !== "number") return limits.pageSize;
  if (size < 0)
    throw new GraphQLError("A page cannot have fewer than 0 items.", {
      nodes: node,
      extensions: { code: "BAD_USER_INPUT", field: first == null ? "last" : "first" },
    });
  if (size > limits.pageSize)
    throw new GraphQLError(`A page may have at most ${limits.pageSize} items.`, {
      nodes: node,
      extensions: { code: "PAGE_TOO_LARGE", field: first == null ? "last" : "first", limit: limits.pageSize },
    });
  return size;
}

/**
 * Counts the conditions of a filter: the fields of its objects at every level; the values of a list belong to the condition
 * that contains them. Stops just above `limit`, and avoids recursion, because a request may be nested deeper than the stack.
 */
function countConditions(filter: unknown, limit: number): number {
  const waiting = [filter];
  let conditions = 0;
  while (waiting.length > 0 && conditions <= limit) {
    const value = waiting.pop();
    if (typeof value !== "object" || value === null) continue;
    const members = Object.values(value);
    if (!Array.isArray(value)) conditions += members.length;
    for (const member of members) waiting.push(member);
  }
  return conditions;
}

/** Returns an argument's runtime value; null and undefined mean not given. */
function argumentValue(node: FieldNode, name: string, operation: CountedOperation): unknown {
  const argument = node.arguments?.find((candidate) => candidate.name.value === name);
  return argument && literalValue(argument.value, operation);
}

/** Returns a literal with its variables replaced by the request's values or their defaults. */
function literalValue(value: ValueNode, operation: CountedOperation): unknown {
  switch (value.kind) {
    case Kind.VARIABLE: {
      const name = value.name.value;
      if (operation.variables[name] !== undefined) return operation.variables[name];
      const defaultValue = operation.operation.variableDefinitions?.find(
        (definition) => definition.variable.name.value === name,
      )?.defaultValue;
      return defaultValue && literalValue(defaultValue, operation);
    }
    case Kind.INT:
      return Number(value.value);
    case Kind.LIST:
      return value.values.map((item) => literalValue(item, operation));
    case Kind.OBJECT:
      return Object.fromEntries(
        value.fields.map((field) => [field.name.value, literalValue(field.value, operation)]),
      );
    case Kind.NULL:
      return null;
    default:
      return "value" in value ? value.value : undefined;
  }
}
