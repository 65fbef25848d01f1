import { statSync } from "node:fs";
import { PlinthError } from "../../../support/errors.ts";
import { notReadable } from "../../files/text-file.ts";
import { type OnBadLine, openFolder } from "./folder.ts";
import { openPostgres } from "./postgres.ts";
import type { Source } from "./source.ts";
import { openSqlite } from "./sqlite.ts";

/** Opens a PostgreSQL URL, a SQLite file, or a folder of NDJSON and CSV files. @throws PlinthError SOURCE_*, FILE_* */
export async function openSource(from: string, onBadLine: OnBadLine): Promise<Source> {
  if (/^postgres(ql)?:\/\//.test(from)) return openPostgres(from);
  if (/^\w+:\/\//.test(from))
    throw new PlinthError(
      "SOURCE_UNKNOWN",
      "The source must be a PostgreSQL URL, a SQLite file, or a folder.",
    );
  let isFolder: boolean;
  try {
    isFolder = statSync(from).isDirectory();
  } catch (error) {
    throw notReadable(from, error, "file");
  }
  return isFolder ? openFolder(from, onBadLine) : openSqlite(from);
}
