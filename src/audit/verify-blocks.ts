import { createHash } from "node:crypto";
import type pg from "pg";
import type { OnProgress } from "../support/progress.ts";
import type { Anchor } from "./anchor.ts";
import type { AuditFault } from "./fault.ts";

export interface VerifiedBlocks {
  readonly blocks: number;
  readonly entries: number;
  readonly faults: readonly AuditFault[];
}

interface Block {
  readonly number: number;
  readonly previousHash: string;
  readonly root: string;
  readonly entryCount: number;
  readonly closedMicros: string;
  readonly closedAt: string;
  readonly hash: string;
  readonly foundRoot: string;
  readonly foundCount: number;
}

const PAGE = 500;
const NO_HASH = "0".repeat(64);

/**
 * Recomputes each block from its entries and from the block before, and compares the hashes with the anchors.
 * @param client inside a transaction, as the owner
 */
export async function verifyBlocks(
  client: pg.ClientBase,
  {
    anchors,
    signal,
    onProgress,
  }: {
    readonly anchors: readonly Anchor[];
    readonly signal: AbortSignal;
    readonly onProgress: OnProgress;
  },
): Promise<VerifiedBlocks> {
  const faults: AuditFault[] = [];
  const anchored = new Map(anchors.map((anchor) => [anchor.number, anchor]));
  const [chain] = anchors.map((anchor) => anchor.chain);
  let blocks = 0;
  let entries = 0;
  let expected = 0;
  let previous = { hash: NO_HASH, closedAt: "-infinity" };
  const add = (kind: AuditFault["kind"], block: number) =>
    faults.push({ kind, log: null, id: null, block, at: previous.closedAt });
  for (;;) {
    signal.throwIfAborted();
    const page = await readBlocks(client, expected);
    for (const block of page) {
      if (block.number > expected) add("block_missing", expected);
      const isLinked = block.number > expected || block.previousHash === previous.hash;
      const anchor = anchored.get(block.number);
      const isAnchored =
        (!anchor || anchor.hash === block.hash) && (block.number > 0 || !chain || chain === block.hash);
      if (!isLinked || !isAnchored || hashOf(block) !== block.hash) add("block_rewritten", block.number);
      if (block.foundRoot !== block.root || block.foundCount !== block.entryCount)
        add("commitments", block.number);
      blocks += 1;
      entries += block.entryCount;
      expected = block.number + 1;
      previous = block;
    }
    onProgress({ step: "Verifying the chain", done: blocks, unit: "blocks" });
    if (page.length < PAGE) break;
  }
  // A tail that was cut off leaves commitments that name its blocks, or an anchor of one of them.
  const { rows } = await client.query<{ last: number | null }>(
    "select max(block_number)::float8 as last from private.audit_commitments where block_number is not null",
  );
  const last = Math.max(rows[0]!.last ?? 0, ...anchored.keys(), 0);
  if (last >= expected) add("block_missing", expected);
  return { blocks, entries, faults };
}

async function readBlocks(client: pg.ClientBase, from: number): Promise<Block[]> {
  const { rows } = await client.query<Block>(
    `select
       b.number::float8 as number, encode(b.previous_hash, 'hex') as "previousHash", encode(b.root, 'hex') as root,
       b.entry_count as "entryCount", (extract(epoch from b.closed_at) * 1000000)::bigint::text as "closedMicros",
       b.closed_at::text as "closedAt", encode(b.hash, 'hex') as hash,
       encode(r.root, 'hex') as "foundRoot", r.entry_count as "foundCount"
     from (select * from private.audit_blocks where number >= $1 order by number limit $2) b
     cross join lateral private.audit_root(b.number) r
     order by b.number`,
    [from, PAGE],
  );
  return rows;
}

/** As private.audit_block_hash, but computed outside the database. */
function hashOf({ number, previousHash, root, entryCount, closedMicros }: Block): string {
  return createHash("sha256")
    .update(Buffer.from(previousHash + root, "hex"))
    .update(`${number} ${entryCount} ${closedMicros}`)
    .digest("hex");
}
