import {
  type DefinitionNode,
  type FragmentDefinitionNode,
  GraphQLError,
  Kind,
  type OperationDefinitionNode,
  parse,
  print,
  visit,
} from "graphql";
import type { Fault, Findings } from "./found-document.ts";

interface SourceFile {
  readonly path: string;
  readonly text: string;
}

interface Located<TNode> {
  readonly path: string;
  readonly node: TNode;
}

type Fragments = ReadonlyMap<string, Located<FragmentDefinitionNode>>;

/**
 * Returns a document for each operation in the files: the operation, then the fragments it uses in the order of their first use,
 * from any of the files. The text is in graphql-js's form, so that white space and comments do not change its hash.
 */
export function documentsInGraphqlFiles(files: readonly SourceFile[]): Findings {
  const faults: Fault[] = [];
  const operations: Located<OperationDefinitionNode>[] = [];
  const fragments = new Map<string, Located<FragmentDefinitionNode>>();

  function sort(path: string, definitions: readonly DefinitionNode[]): void {
    const own = definitions.filter((node) => node.kind === Kind.OPERATION_DEFINITION);
    if (own.length > 1 && own.some(({ name }) => !name))
      faults.push({ source: path, message: "Name each operation of a file that has several." });
    operations.push(...own.map((node) => ({ path, node })));
    for (const node of definitions) {
      if (node.kind === Kind.OPERATION_DEFINITION) continue;
      if (node.kind !== Kind.FRAGMENT_DEFINITION) {
        faults.push({ source: path, message: "A document consists of operations and fragments only." });
        return;
      }
      const known = fragments.get(node.name.value);
      if (known && print(known.node) !== print(node))
        faults.push({ source: path, message: `${known.path} has another fragment ${node.name.value}.` });
      fragments.set(node.name.value, { path, node });
    }
  }

  for (const { path, text } of files)
    try {
      sort(path, parse(text, { noLocation: true }).definitions);
    } catch (error) {
      faults.push({ source: path, message: syntaxErrorOf(error) });
    }
  const documents = operations.map(({ path, node }) => ({
    source: `${path}: ${node.name?.value ?? node.operation}`,
    text: print({ kind: Kind.DOCUMENT, definitions: [node, ...usedFragments(node, fragments)] }),
  }));
  return { documents, faults };
}

/** Validation reports a fragment that no file has. */
function usedFragments(operation: OperationDefinitionNode, fragments: Fragments): FragmentDefinitionNode[] {
  const used = new Map<string, FragmentDefinitionNode>();
  const waiting: DefinitionNode[] = [operation];
  for (let node = waiting.shift(); node; node = waiting.shift())
    visit(node, {
      FragmentSpread({ name: { value: name } }) {
        const found = fragments.get(name)?.node;
        if (!found || used.has(name)) return;
        used.set(name, found);
        waiting.push(found);
      },
    });
  return [...used.values()];
}

function syntaxErrorOf(error: unknown): string {
  if (error instanceof RangeError) return "The document is nested too deeply.";
  if (!(error instanceof GraphQLError)) throw error;
  const [at] = error.locations ?? [];
  return at ? `Line ${at.line}, column ${at.column}: ${error.message}` : error.message;
}
