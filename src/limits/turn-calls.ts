import { type FieldNode, Kind, type OperationDefinitionNode, parse } from "graphql";

/** The cost of an operation that only streams or ends answers. */
export interface TurnCalls {
  /** Number of mutations that append. */
  readonly appends: number;
  /** Number of mutations that end an answer. */
  readonly ends: number;
  /** Size of the whole request, mostly the text of the deltas. */
  readonly bytes: number;
}

const APPENDS = new Set(["appendDelta", "appendDeltas"]);
const ENDS = new Set(["finishTurn", "breakOffTurn", "cancelTurn"]);
/** Text belongs in the variables; a longer document counts as an ordinary request. */
const MAX_DOCUMENT_LENGTH = 4_000;
const MAX_TOKENS = 400;
/** `finishTurn { message { state } }`. Deeper selections read other tables, as `query { … }` in a payload does. */
const MAX_DEPTH = 3;

/** Whether a document may contain such calls. A cheap check that excludes most requests. */
export function mayHoldTurnCalls(query: string): boolean {
  return query.includes("Turn") || query.includes("appendDelta");
}

/**
 * Returns the calls in an operation, or undefined when it does, or may do, anything else.
 * @param bytes size of the request as received
 */
export function turnCallsOf(query: unknown, operationName: unknown, bytes: number): TurnCalls | undefined {
  if (typeof query !== "string" || query.length > MAX_DOCUMENT_LENGTH) return undefined;
  let operation: OperationDefinitionNode | undefined;
  try {
    const { definitions } = parse(query, { noLocation: true, maxTokens: MAX_TOKENS });
    // Fragments and further operations indicate an ordinary request.
    if (definitions.length !== 1 || definitions[0]!.kind !== Kind.OPERATION_DEFINITION) return undefined;
    operation = definitions[0];
  } catch {
    // Execution reports the error.
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
