/**
 * A document with the types of its result and variables, as made by `graphql` of plinth/client/graphql, or by
 * codegen's client preset with `documentMode: "string"`. At run time it is its text.
 */
export interface TypedDocument<Result, Variables> {
  toString(): string;
  __apiType?: (variables: Variables) => Result;
}

// biome-ignore lint/suspicious/noExplicitAny: a text says nothing about its result.
export type Untyped = any;

interface Operation {
  readonly kind: "query" | "mutation" | "subscription";
  /** Whether a second execution changes nothing: a query, or one mutation with an idempotency key. */
  readonly isRepeatable: boolean;
}

const STRINGS_AND_COMMENTS = /"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*/g;

/** Reads as much of a document as retries need. */
export function readOperation(text: string, variables: Readonly<Record<string, unknown>>): Operation {
  const code = text.replace(STRINGS_AND_COMMENTS, (part) => (part[0] === "#" ? "" : '"'));
  // Fragments may stand first, and only an operation can begin like this at the top.
  const kind = (/(?:^|\})\s*(query|mutation|subscription)\b/.exec(code)?.[1] ?? "query") as Operation["kind"];
  const isKeyed = () => countRootFields(code, kind) === 1 && hasKey(code, variables);
  return { kind, isRepeatable: kind === "query" || (kind === "mutation" && isKeyed()) };
}

/** Whether `idempotencyKey` has a value, in the text or in an input. */
function hasKey(code: string, variables: Readonly<Record<string, unknown>>): boolean {
  const [, value, name] = /\bidempotencyKey\s*:\s*("|\$(\w+))/.exec(code) ?? [];
  if (value) return name === undefined || variables[name] != null;
  return Object.values(variables).some(
    (input) => (input as { idempotencyKey?: unknown } | null | undefined)?.idempotencyKey != null,
  );
}

function countRootFields(code: string, kind: string): number {
  let depth = 0;
  let brackets = 0;
  let count = 0;
  const operation = code.slice(code.search(new RegExp(`\\b${kind}\\b`)));
  for (const [token] of operation.matchAll(/[{}()]|\.\.\.|@\w+|\w+\s*:?/g)) {
    if (token === "(") brackets++;
    else if (token === ")") brackets--;
    else if (brackets > 0) continue;
    else if (token === "{") depth++;
    else if (token === "}") {
      if (--depth === 0) break;
    } else if (depth === 1 && token === "...") return Number.POSITIVE_INFINITY;
    else if (depth === 1 && !token.startsWith("@") && !token.endsWith(":")) count++;
  }
  return count;
}
