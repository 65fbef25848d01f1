import { GraphQLError } from "graphql";
import { isBeyondDoubles, isRawNumber } from "../support/exact-json.ts";

interface Visited {
  readonly value: unknown;
  readonly key: string | number;
  readonly parent: Visited | undefined;
  readonly depth: number;
}

/** Maximum nesting depth of a value, because every step of returning a stored value needs a little more of the stack. */
export const MAX_DEPTH = 500;

/**
 * Rejects variables that would be stored as a different value: a lone surrogate (which UTF-8 cannot represent) in a string or
 * key, a number beyond the range of doubles, and values nested too deeply to be read again. (In a document, the parser and
 * the scalars reject them.)
 * @throws GraphQLError BAD_USER_INPUT with the path
 */
export function assertStorable(variables: Readonly<Record<string, unknown>>): void {
  // No recursion, because a request may be nested deeper than the stack.
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
      if (!value.isWellFormed()) throw refused(visited, "contains half a character (a lone surrogate)");
    } else if (typeof value !== "object" || value === null) continue;
    else if (isRawNumber(value)) {
      if (isBeyondDoubles(value)) throw refused(visited, "is a number out of range");
    } else if (depth > MAX_DEPTH) throw refused(rootOf(visited), "is nested too deeply");
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
