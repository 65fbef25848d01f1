import {
  type ArgumentNode,
  type DocumentNode,
  type FieldNode,
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isLeafType,
  isObjectType,
  Kind,
  OperationTypeNode,
  print,
  type SelectionNode,
  type SelectionSetNode,
  validate,
} from "postgraphile/graphql";
import { isConnection } from "./connections.ts";
import { randomArguments } from "./random-arguments.ts";
import { createFragments, namedType, nameNode } from "./random-fragments.ts";
import type { ValueSource } from "./random-values.ts";
import { createValueWriter } from "./variables.ts";

export interface Operation {
  readonly text: string;
  readonly document: DocumentNode;
  readonly variables: Readonly<Record<string, unknown>>;
}

export interface OperationOptions {
  /** Levels of objects below the root. */
  readonly depth: number;
  /** Fields of an operation, roughly. */
  readonly fields: number;
  readonly rootFields: number;
  /** Percentages. */
  readonly wrong: number;
  readonly variables: number;
}

export const DEFAULT_OPTIONS: OperationOptions = {
  depth: 6,
  fields: 15,
  rootFields: 3,
  wrong: 1,
  variables: 20,
};

/** Names that could collide with those of an implementation: SQL's, JavaScript's, and longer than PostgreSQL's identifiers. */
const ODD_ALIASES = [
  "__proto__",
  "constructor",
  "toString",
  "select",
  "data",
  "nodes",
  "id",
  "_",
  "t1",
  `long${"_".repeat(70)}a`,
  `long${"_".repeat(70)}b`,
];

/** Readings of the moment, which two requests never have alike. */
const OF_THE_MOMENT: ReadonlySet<string> = new Set(["Query.systemState"]);

/** Makes a valid query from the schema and from values of earlier answers. */
export function randomOperation(
  schema: GraphQLSchema,
  source: ValueSource,
  options: OperationOptions = DEFAULT_OPTIONS,
): Operation {
  for (;;) {
    const operation = draw(schema, source, options);
    // Fragments sometimes bring two different fields under one name together.
    if (validate(schema, operation.document).length === 0) return operation;
  }
}

function draw(schema: GraphQLSchema, source: ValueSource, options: OperationOptions): Operation {
  const { dice, coverage, known } = source;
  const writer = createValueWriter(dice, options.variables);
  const fragments = createFragments(dice, writer);
  let left = options.fields;
  const isWrong = () => dice.chance(options.wrong);

  function selectionSet(type: GraphQLObjectType, depth: number): SelectionSetNode {
    const reused = dice.chance(50) && fragments.reuse(type, depth);
    if (reused) return { kind: Kind.SELECTION_SET, selections: [reused] };
    const selections = fieldsOf(type, depth);
    return {
      kind: Kind.SELECTION_SET,
      selections: dice.chance(15) ? fragments.wrap(selections, type, depth) : selections,
    };
  }

  function fieldsOf(type: GraphQLObjectType, depth: number): SelectionNode[] {
    const isCurious = dice.chance(5);
    const candidates = Object.values(type.getFields()).filter(
      (field) =>
        !OF_THE_MOMENT.has(`${type.name}.${field.name}`) &&
        (isLeafType(getNamedType(field.type)) || (depth > 0 && left > 0)) &&
        (isCurious || !known.isBarren(`${type.name}.${field.name}`)),
    );
    const isRoot = type === schema.getQueryType();
    const count = isRoot ? 1 + dice.below(options.rootFields) : 1 + dice.below(isConnection(type) ? 3 : 5);
    const used = new Set<string>();
    const nodes: SelectionNode[] = [];
    if (dice.chance(12) || candidates.length === 0) nodes.push(field("__typename", undefined, []));
    for (let n = 0; n < count && candidates.length > 0; n++) {
      left--;
      const chosen =
        isConnection(type) && n === 0 && depth > 1
          ? type.getFields()[dice.pick(["nodes", "edges"])]!
          : coverage.rarest(dice, candidates, ({ name }) => `${type.name}.${name}`);
      nodes.push(...fieldNodes(type, chosen, depth, used));
    }
    return nodes;
  }

  /** One field, or the same one twice with different selections, which GraphQL merges. */
  function fieldNodes(
    type: GraphQLObjectType,
    definition: GraphQLField<unknown, unknown>,
    depth: number,
    used: Set<string>,
  ): SelectionNode[] {
    const { name } = definition;
    const isTaken = used.has(name);
    if (
      isTaken &&
      definition.args.length === 0 &&
      isLeafType(getNamedType(definition.type)) &&
      dice.chance(30)
    )
      return [field(name, undefined, [])];
    let alias = isTaken || dice.chance(15) ? aliasFor(name, used) : undefined;
    if (alias === name) alias = undefined;
    used.add(alias ?? name);
    const node =
      name === "node" && definition.args.some((argument) => argument.name === "nodeId")
        ? nodeField(alias, depth)
        : plainField(type, definition, alias, depth);
    if (!node.selectionSet || !dice.chance(6)) return [node];
    const fieldType = getNamedType(definition.type);
    if (!isObjectType(fieldType)) return [node];
    return [node, { ...node, selectionSet: selectionSet(fieldType, depth - 1) }];
  }

  function aliasFor(name: string, used: ReadonlySet<string>): string {
    for (let n = 2; ; n++) {
      const alias = dice.chance(25) ? dice.pick(ODD_ALIASES) : `${name}_${n}`;
      if (!used.has(alias)) return alias;
    }
  }

  function plainField(
    type: GraphQLObjectType,
    definition: GraphQLField<unknown, unknown>,
    alias: string | undefined,
    depth: number,
  ): FieldNode {
    const fieldType = getNamedType(definition.type);
    const args = randomArguments(source, writer, type.name, definition, isWrong());
    return field(
      definition.name,
      alias,
      args,
      isObjectType(fieldType) ? selectionSet(fieldType, depth - 1) : undefined,
    );
  }

  /** A row by its id, with its own type's fields. */
  function nodeField(alias: string | undefined, depth: number): FieldNode {
    const node = known.findNode(dice) ?? { nodeId: "query", typeName: "Query" };
    const type = schema.getType(dice.chance(90) ? node.typeName : "User") as GraphQLObjectType;
    const id = {
      kind: Kind.ARGUMENT as const,
      name: nameNode("nodeId"),
      value: writer.write(node.nodeId, idType),
    };
    coverage.use("Query.node(nodeId)");
    const selections: SelectionNode[] = [
      {
        kind: Kind.INLINE_FRAGMENT,
        typeCondition: namedType(type.name),
        selectionSet: selectionSet(type, depth - 1),
      },
    ];
    if (dice.chance(50)) selections.unshift(field(dice.pick(["nodeId", "__typename"]), undefined, []));
    return field("node", alias, [id], { kind: Kind.SELECTION_SET, selections });
  }
  const idType = schema.getQueryType()!.getFields().node!.args[0]!.type;

  function field(
    name: string,
    alias: string | undefined,
    args: readonly ArgumentNode[],
    selectionSet?: SelectionSetNode,
  ): FieldNode {
    return {
      kind: Kind.FIELD,
      name: nameNode(name),
      ...(alias && { alias: nameNode(alias) }),
      arguments: [...args],
      directives: fragments.directives(),
      ...(selectionSet && { selectionSet }),
    };
  }

  const root = selectionSet(schema.getQueryType()!, options.depth);
  const document: DocumentNode = {
    kind: Kind.DOCUMENT,
    definitions: [
      {
        kind: Kind.OPERATION_DEFINITION,
        operation: OperationTypeNode.QUERY,
        ...(dice.chance(50) && { name: nameNode("Walk") }),
        variableDefinitions: writer.definitions,
        selectionSet: root,
      },
      ...fragments.definitions,
    ],
  };
  return { text: print(document), document, variables: writer.values };
}
