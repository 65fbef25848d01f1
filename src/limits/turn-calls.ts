import { type FieldNode, Kind, type OperationDefinitionNode, parse } from "postgraphile/graphql";

/** What an operation that does nothing but stream an answer, or end it, is charged with. */
export interface TurnCalls {
  /** Mutations that append. */
  readonly appends: number;
  /** Mutations that end an answer. */
  readonly ends: number;
  /** Of the whole request; the text of the deltas is most of it. */
  readonly bytes: number;
}

const APPENDS = new Set(["appendDelta", "appendDeltas"]);
const ENDS = new Set(["finishTurn", "breakOffTurn", "cancelTurn"]);
/** The text belongs in the variables; a longer document is an ordinary request. */
const MAX_DOCUMENT_LENGTH = 4_000;
const MAX_TOKENS = 400;
/** `finishTurn { message { state } }`. Deeper selections read other tables, as `query { … }` in a payload does. */
const MAX_DEPTH = 3;

/** Whether a body can hold such calls. Most cannot, and looking costs them nothing worth mentioning. */
export function mayHoldTurnCalls(body: Buffer): boolean {
  return body.includes("Turn") || body.includes("appendDelta");
}

/**
 * The calls in an operation, or undefined when it is anything else, or may be.
 * @param bytes how long the request is as it came
 */
export function turnCallsOf(query: unknown, operationName: unknown, bytes: number): TurnCalls | undefined {
  if (typeof query !== "string" || query.length > MAX_DOCUMENT_LENGTH) return undefined;
  let operation: OperationDefinitionNode | undefined;
  try {
    const { definitions } = parse(query, { noLocation: true, maxTokens: MAX_TOKENS });
    // Fragments and further operations are for those who do more than this.
    if (definitions.length !== 1 || definitions[0]!.kind !== Kind.OPERATION_DEFINITION) return undefined;
    operation = definitions[0];
  } catch {
    // What is wrong with it is told where it is executed.
    return undefined;
  }
  if (operation.operation !== "mutation") return undefined;
  if (operationName != null && operationName !== operation.name?.value) return undefined;
  let appends = 0;
  let ends = 0;
  for (const field of operation.selectionSet.selections) {
    if (field.kind !== Kind.FIELD || !isShallow(field, 1)) return undefined;
    if (APPENDS.has(field.name.value)) appends += 1;
    else if (ENDS.has(field.name.value)) ends += 1;
    else return undefined;
  }
  return { appends, ends, bytes };
}

function isShallow({ name, selectionSet }: FieldNode, depth: number): boolean {
  if (depth > MAX_DEPTH || name.value === "query") return false;
  return (selectionSet?.selections ?? []).every(
    (selection) => selection.kind === Kind.FIELD && isShallow(selection, depth + 1),
  );
}
