import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PlinthError } from "../support/errors.ts";
import { namesIn } from "../support/files.ts";
import type { Plan } from "./target.ts";
import { parseHistory } from "./wal-archive.ts";
import { segmentOf } from "./wal-names.ts";

/**
 * Checks that a recovery to the latest state has replayed all WAL that is archived. PostgreSQL takes the first record that it cannot
 * read for the end of the WAL, and reports success: also where a segment has other content, or the archive is unmounted meanwhile.
 * @param folder the recovered cluster; its server has created a new timeline
 * @throws PlinthError RESTORE_INCOMPLETE
 */
export function assertReached(folder: string, { newestSegment, backup }: Plan): void {
  if (newestSegment === undefined) return;
  const history = (namesIn(join(folder, "pg_wal")) ?? [])
    .filter((name) => /^[0-9A-F]{8}\.history$/.test(name))
    .sort()
    .at(-1);
  const end = history && parseHistory(readFileSync(join(folder, "pg_wal", history), "utf8")).at(-1)?.end;
  if (end && segmentOf(end) >= newestSegment) return;
  throw new PlinthError(
    "RESTORE_INCOMPLETE",
    `The recovery from the backup ${backup.id} ended at ${end ?? "its start"}, before the newest archived WAL.`,
    {
      hint:
        "The WAL there is damaged, or the archive was not readable. Check its disk and repeat, use a newer backup (--from), " +
        "or restore to a time before the damage (--to).",
    },
  );
}
