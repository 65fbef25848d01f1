import { difference, Members, member, parseTree, type Tree } from "./exact-tree.ts";
import type { Operation } from "./random-operation.ts";

/** An answer as it came from a server. */
export interface RawAnswer {
  readonly status: number;
  readonly text: string;
}

export type Send = (operation: Pick<Operation, "text" | "variables">, user: string) => Promise<RawAnswer>;

/** Parts of errors that differ from request to request, or with the text of the same operation. */
const INDIVIDUAL = new Set(["errorId", "requestId", "correlationId", "locations"]);

/**
 * Sends an operation to both servers.
 * @returns the first difference between the answers: in status, in data with the order of keys and the text of numbers, or in
 * errors, whatever their order
 */
export async function compareAnswers(
  send: Readonly<Record<"a" | "b", Send>>,
  operation: Pick<Operation, "text" | "variables">,
  user: string,
): Promise<{ readonly difference: string | undefined; readonly a: RawAnswer; readonly b: RawAnswer }> {
  const [a, b] = await Promise.all([send.a(operation, user), send.b(operation, user)]);
  return { difference: differenceOf(a, b), a, b };
}

export function differenceOf(a: RawAnswer, b: RawAnswer): string | undefined {
  if (a.status !== b.status) return `status ${a.status} and ${b.status}`;
  return difference(comparable(parseTree(a.text)), comparable(parseTree(b.text)));
}

/** An answer without what differs from request to request, its errors sorted by path. */
function comparable(answer: Tree): Tree {
  if (!(answer instanceof Members)) return answer;
  return new Members(
    answer.entries.map(([key, value]) => [
      key,
      key === "errors" && Array.isArray(value) ? value.map(withoutIndividual).sort(byPath) : value,
    ]),
  );
}

function withoutIndividual(tree: Tree): Tree {
  if (!(tree instanceof Members)) return tree;
  return new Members(
    tree.entries
      .filter(([key]) => !INDIVIDUAL.has(key))
      .map(([key, value]) => [key, key === "extensions" ? withoutIndividual(value) : value]),
  );
}

const byPath = (a: Tree, b: Tree): number =>
  JSON.stringify(member(a, "path") ?? "").localeCompare(JSON.stringify(member(b, "path") ?? ""));
