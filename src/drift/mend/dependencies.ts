import type pg from "pg";
import { withPrintSettings } from "../../schema-dump/catalog.ts";
import { type CatalogueObject, titleOf } from "../catalogue.ts";
import { EDGES_QUERY, NODES_QUERY } from "./dependencies-queries.ts";

export interface Dependent extends Pick<CatalogueObject, "kind" | "name" | "on"> {
  readonly title: string;
  /** False: the object is unknown to the comparison of schemas, such as an operator class. */
  readonly isNamed: boolean;
}

/** Objects that the live database would drop with an object, or that keep it from being dropped. */
export interface Dependencies {
  /** All objects that depend on this one, directly and through others. */
  of(object: CatalogueObject): readonly Dependent[];
  /** The column that a sequence belongs to. */
  columnOf(sequence: CatalogueObject): string | undefined;
  /** The extension that a function was added to. */
  extensionOf(object: CatalogueObject): string | undefined;
}

interface NodeRow {
  key: string;
  /** Null: part of another object, such as the index of a constraint. */
  kind: string | null;
  name: string | null;
  on: string | null;
  /** The object that stands for this one, such as the view for its rule. */
  alias: string | null;
}

interface EdgeRow {
  dependent: string;
  referenced: string;
  type: string;
  /** For objects that are not among the nodes. */
  description: string | null;
}

/** Reads the dependencies from the system catalogues, which any role may read. */
export async function readDependencies(client: pg.ClientBase): Promise<Dependencies> {
  const [nodes, edges] = await withPrintSettings(client, async () => [
    (await client.query<NodeRow>(NODES_QUERY)).rows,
    (await client.query<EdgeRow>(EDGES_QUERY)).rows,
  ]);
  return new Graph(nodes, edges);
}

class Graph implements Dependencies {
  readonly #nodes: ReadonlyMap<string, NodeRow>;
  readonly #keys: ReadonlyMap<string, string>;
  readonly #dependents: ReadonlyMap<string, EdgeRow[]>;
  readonly #references: ReadonlyMap<string, EdgeRow[]>;

  constructor(nodes: readonly NodeRow[], edges: readonly EdgeRow[]) {
    this.#nodes = new Map(nodes.map((node) => [node.key, node]));
    this.#keys = new Map(
      nodes.flatMap((node) => (node.kind === null ? [] : [[titleOfNode(node), node.key] as const])),
    );
    // Dependents of a column also depend on its table.
    this.#dependents = Map.groupBy(
      edges.flatMap((edge) => {
        const whole = edge.referenced.replace(/:\d+$/, ":0");
        return whole === edge.referenced ? [edge] : [edge, { ...edge, referenced: whole }];
      }),
      ({ referenced }) => referenced,
    );
    this.#references = Map.groupBy(edges, ({ dependent }) => dependent);
  }

  of(object: CatalogueObject): readonly Dependent[] {
    const root = this.#keys.get(titleOf(object));
    if (root === undefined) return [];
    const found = new Map<string, Dependent>();
    const visited = new Set([root]);
    const members = new Set(
      (this.#dependents.get(root) ?? [])
        .filter(({ type }) => type === "e")
        .map(({ dependent }) => this.#nodes.get(dependent)?.alias ?? dependent),
    );
    const visit = (key: string) => {
      for (const edge of this.#dependents.get(key) ?? []) {
        const node = this.#nodes.get(edge.dependent);
        const next = node?.alias ?? edge.dependent;
        if (visited.has(next)) continue;
        visited.add(next);
        const dependent = members.has(next) ? undefined : describe(this.#nodes.get(next), edge);
        if (dependent) found.set(dependent.title, dependent);
        visit(next);
      }
    };
    visit(root);
    found.delete(titleOf(object));
    return [...found.values()];
  }

  columnOf(sequence: CatalogueObject): string | undefined {
    return this.#referenceOf(sequence, ({ type, node }) => "ai".includes(type) && node.kind === "column");
  }

  extensionOf(object: CatalogueObject): string | undefined {
    return this.#referenceOf(object, ({ type }) => type === "e");
  }

  #referenceOf(
    object: CatalogueObject,
    isWanted: (reference: { type: string; node: NodeRow }) => boolean,
  ): string | undefined {
    const references = this.#references.get(this.#keys.get(titleOf(object)) ?? "") ?? [];
    for (const { type, referenced } of references) {
      const node = this.#nodes.get(referenced);
      if (node && isWanted({ type, node })) return node.on ? `${node.on}.${node.name}` : node.name!;
    }
    return undefined;
  }
}

function describe(node: NodeRow | undefined, edge: EdgeRow): Dependent | undefined {
  if (node === undefined)
    return edge.description === null
      ? undefined
      : { kind: "other", name: edge.description, title: edge.description, isNamed: false };
  if (node.kind === null) return undefined;
  return { ...objectOf(node), title: titleOfNode(node), isNamed: true };
}

const objectOf = ({ kind, name, on }: NodeRow) => ({
  kind: kind!,
  name: name!,
  ...(on === null ? {} : { on }),
});

const titleOfNode = (node: NodeRow) => titleOf(objectOf(node));
