import { GraphQLError } from "postgraphile/graphql";
import { isBeyondDoubles, isRawNumber } from "../support/exact-json.ts";

interface Visited {
  readonly value: unknown;
  readonly key: string | number;
  readonly parent: Visited | undefined;
  readonly depth: number;
}

/** How deep a value may nest. What is stored is written out again, and every step of that takes a little more of the stack. */
export const MAX_DEPTH = 500;

/**
 * Refuses variables that would be stored as something else: half a character (a lone surrogate, which UTF-8 cannot hold) in a
 * text or a key, a number beyond the range of doubles, and what nests too deep to be read again. (In a document, the parser
 * and the scalars refuse them.)
 * @throws GraphQLError BAD_USER_INPUT with the place
 */
export function assertStorable(variables: Readonly<Record<string, unknown>>): void {
  // No recursion, since a request may nest deeper than the stack.
  const waiting: Visited[] = Object.entries(variables).map(([key, value]) => ({
    key,
    value,
    parent: undefined,
    depth: 1,
  }));
  for (let visited = waiting.pop(); visited; visited = waiting.pop()) {
    const { value } = visited;
    const depth = visited.depth + 1;
    if (typeof value === "string") {
      if (!value.isWellFormed()) throw refused(visited, "holds half a character (a lone surrogate)");
    } else if (typeof value !== "object" || value === null) continue;
    else if (isRawNumber(value)) {
      if (isBeyondDoubles(value)) throw refused(visited, "is a number out of range");
    } else if (depth > MAX_DEPTH) throw refused(rootOf(visited), "nests too deep");
    else if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++)
        waiting.push({ key: i, value: value[i], parent: visited, depth });
    } else
      for (const [key, member] of Object.entries(value)) {
        if (!key.isWellFormed())
          throw refused(visited, "has a name with half a character (a lone surrogate)");
        waiting.push({ key, value: member, parent: visited, depth });
      }
  }
}

function rootOf(visited: Visited): Visited {
  let root = visited;
  while (root.parent) root = root.parent;
  return root;
}

function refused(visited: Visited, problem: string): GraphQLError {
  const path: (string | number)[] = [];
  for (let part: Visited | undefined = visited; part; part = part.parent) path.unshift(part.key);
  return new GraphQLError(`\`$${path.join(".")}\` ${problem}.`, {
    extensions: { code: "BAD_USER_INPUT", field: path.slice(1).join(".") || path.join(".") },
  });
}
