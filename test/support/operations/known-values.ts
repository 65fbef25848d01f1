import {
  type GraphQLSchema,
  getArgumentValues,
  getNamedType,
  getOperationAST,
  getVariableValues,
  isLeafType,
} from "postgraphile/graphql";
import type { GraphqlError } from "../api.ts";
import { isConnection } from "./connections.ts";
import type { Dice } from "./dice.ts";
import type { Operation } from "./random-operation.ts";
import { fieldAt, walkAnswer } from "./walk-answer.ts";

const DENIALS = new Set(["UNAUTHENTICATED", "FORBIDDEN"]);

/** Columns can hold these numbers, but the API does not take them as input. */
const UNSENDABLE: ReadonlySet<unknown> = new Set(["NaN", "Infinity", "-Infinity"]);

/** Values kept for each place. */
const KEPT = 60;

/** A position in a list, with the order it belongs to. */
interface KnownCursor {
  readonly cursor: string;
  readonly orderBy: unknown;
}

interface KnownNode {
  readonly nodeId: string;
  readonly typeName: string;
}

/** Values that earlier answers contained, as material for arguments. */
export interface KnownValues {
  /** A value of this field of this type; else of a field with this name; else of this scalar. */
  find(dice: Dice, typeName: string, fieldName: string, scalar: string): unknown;
  /** @param list such as `User.chats` */
  findCursor(dice: Dice, list: string): KnownCursor | undefined;
  findNode(dice: Dice): KnownNode | undefined;
  /** Whether this field was denied to the user, or is a list of which the user sees no row. */
  isBarren(place: string): boolean;
  learn(
    { document, variables }: Pick<Operation, "document" | "variables">,
    answer: { readonly data?: unknown; readonly errors?: readonly GraphqlError[] },
  ): void;
}

export function createKnownValues(schema: GraphQLSchema): KnownValues {
  const values = new Map<string, Map<string, unknown>>();
  const denied = new Set<string>();
  const empty = new Set<string>();

  function note(place: string, value: unknown): void {
    const known = values.get(place) ?? new Map<string, unknown>();
    values.set(place, known);
    if (known.size < KEPT) known.set(JSON.stringify(value), value);
  }

  function choose(dice: Dice, place: string): unknown {
    const known = values.get(place);
    return known && dice.pick([...known.values()]);
  }

  function noteLeaf(typeName: string, name: string, scalar: string, value: unknown): void {
    if (scalar === "Cursor" || value === null || UNSENDABLE.has(value)) return;
    if (Array.isArray(value) && scalar !== "JSON")
      for (const item of value) noteLeaf(typeName, name, scalar, item);
    // Columns of one name may have different types: versions of prompts are Int, those of access rules BigInt.
    else for (const place of [`${typeName}.${name}`, `.${name}:${scalar}`, `:${scalar}`]) note(place, value);
    if (name === "nodeId" && typeName !== "Query" && typeName !== "Node")
      note("nodes", { nodeId: value, typeName });
  }

  return {
    find: (dice, typeName, fieldName, scalar) =>
      choose(dice, `${typeName}.${fieldName}`) ??
      choose(dice, `.${fieldName}:${scalar}`) ??
      choose(dice, `:${scalar}`),
    findCursor: (dice, list) => choose(dice, `cursors of ${list}`) as KnownCursor | undefined,
    findNode: (dice) => choose(dice, "nodes") as KnownNode | undefined,
    isBarren: (place) => denied.has(place) || empty.has(place),
    learn({ document, variables }, { data, errors = [] }) {
      for (const { extensions, path = [] } of errors)
        if (DENIALS.has(extensions.code)) denied.add(fieldAt(schema, document, path) ?? "");

      const definitions = getOperationAST(document)?.variableDefinitions ?? [];
      const { coerced } = getVariableValues(schema, definitions, variables);
      if (!coerced) return;
      walkAnswer(schema, document, data, ({ type, field, node, value }) => {
        const fieldType = getNamedType(field.type);
        if (isLeafType(fieldType)) noteLeaf(type.name, field.name, fieldType.name, value);
        else if (isConnection(fieldType)) {
          const isFromStart = (node.arguments ?? []).every((argument) => argument.name.value === "first");
          if (type === schema.getQueryType() && isFromStart && isEmptyPage(value))
            empty.add(`${type.name}.${field.name}`);
          const { orderBy } = getArgumentValues(field, node, coerced);
          for (const cursor of cursorsIn(value))
            note(`cursors of ${type.name}.${field.name}`, { cursor, orderBy });
        }
      });
    },
  };
}

/** Cursors of a page: the strings under `cursor`, `startCursor` and `endCursor` in its parts. */
const isEmptyPage = (page: unknown): boolean =>
  Object.values(page ?? {}).some((part) => Array.isArray(part) && part.length === 0);

function cursorsIn(page: unknown): string[] {
  return Object.values(page as object)
    .flat()
    .flatMap((part) =>
      ["cursor", "startCursor", "endCursor"]
        .map((name) => (part as Record<string, unknown> | null)?.[name])
        .filter((cursor) => typeof cursor === "string"),
    );
}
