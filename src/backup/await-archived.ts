import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { walFolder } from "../database/embedded/archiving.ts";
import { PlinthError } from "../support/errors.ts";
import { findPacked } from "../wal/packed.ts";
import { type Lsn, segmentBefore, segmentName } from "./wal-names.ts";

const PATIENCE_MS = 120_000;

/**
 * Ends the current segment and waits until everything before `lsn` is archived.
 * @throws PlinthError ARCHIVING_FAILS
 */
export async function awaitArchived(
  client: pg.ClientBase,
  folder: string,
  { timeline, lsn }: { readonly timeline: number; readonly lsn: Lsn },
  signal: AbortSignal,
): Promise<void> {
  await client.query("select pg_switch_wal()");
  const name = segmentName(timeline, segmentBefore(lsn));
  for (const deadline = Date.now() + PATIENCE_MS; !findPacked(walFolder(folder), name); ) {
    if (Date.now() > deadline)
      throw new PlinthError(
        "ARCHIVING_FAILS",
        `The segment ${name} has not arrived in ${walFolder(folder)}.`,
        {
          hint: "See postgres.log in the data folder for the reason; often the disk is full.",
        },
      );
    await sleep(20);
    signal.throwIfAborted();
  }
}
