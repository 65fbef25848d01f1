/** A node of a conversation as stored in the file. */
export interface TreeNode {
  readonly parent: string | null;
  /** Milliseconds since 1970; absent if the file has none. */
  readonly time: number | undefined;
}

export interface Placed {
  readonly node: string;
  readonly parent: string | null;
  /** Never before the parent's; absent if neither the node nor an ancestor has one. */
  readonly time: number | undefined;
}

/**
 * Orders parents before children, otherwise by time, so that the newest message of a branch comes last.
 * @param began the time for a first node that has none
 * @returns a message if the nodes are not a tree
 */
export function orderNodes(
  nodes: ReadonlyMap<string, TreeNode>,
  began: number | undefined,
): Placed[] | string {
  const children = new Map<string | null, string[]>();
  for (const [node, { parent }] of nodes) {
    if (parent !== null && !nodes.has(parent)) return `node ${node} follows a node that does not exist`;
    const siblings = children.get(parent);
    if (siblings) siblings.push(node);
    else children.set(parent, [node]);
  }
  const placed = (children.get(null) ?? []).map((node) => place(node, null, began));
  for (const { node, time } of placed)
    for (const child of children.get(node) ?? []) placed.push(place(child, node, time));
  // Nodes of a cycle cannot be reached from a first node.
  if (placed.length < nodes.size) return "its messages form a cycle";
  // The sort is stable, so a child with its parent's time stays after it.
  return placed.sort((a, b) => (a.time ?? 0) - (b.time ?? 0));

  function place(node: string, parent: string | null, earliest: number | undefined): Placed {
    const { time } = nodes.get(node)!;
    return { node, parent, time: latest(time, earliest) };
  }
}

function latest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.max(a, b);
}

/** The earliest and the latest time of a conversation's nodes. */
export function timesOf(nodes: ReadonlyMap<string, TreeNode>): { first?: number; last?: number } {
  let [first, last]: [number | undefined, number | undefined] = [undefined, undefined];
  for (const { time } of nodes.values()) {
    if (time === undefined) continue;
    first = Math.min(first ?? time, time);
    last = Math.max(last ?? time, time);
  }
  return first === undefined || last === undefined ? {} : { first, last };
}
