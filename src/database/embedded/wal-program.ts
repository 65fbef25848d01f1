import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { PlinthError } from "../../support/errors.ts";
import { errno } from "../../support/files.ts";
import { type ProgramResult, type RunAs, runProgram } from "./programs.ts";
import { stageBinaries } from "./staging.ts";

/** As TypeScript in a checkout and as JavaScript in the built package. */
const PROGRAM = fileURLToPath(
  new URL(`../../wal/program${extname(fileURLToPath(import.meta.url))}`, import.meta.url),
);
const NOT_ACCESSIBLE = 3;

/** The program that archives and fetches WAL, as the server's user can run it. */
export interface WalProgram {
  /** For archive_command and restore_command: `'node' '…/program.ts'`. */
  readonly command: string;
}

/**
 * Finds the program where the server's user can run it (see findBinaries), and checks that this user can write the archive, or read
 * it: a recovery works from a read-only disk too.
 * @throws PlinthError BACKUPS_NOT_WRITABLE, ARCHIVE_PROGRAM_BROKEN, and what stageBinaries throws
 */
export async function findWalProgram(
  folder: string,
  runAs: RunAs | undefined,
  use: "archive" | "fetch",
): Promise<WalProgram> {
  const check = [use === "archive" ? "check" : "check-reading", folder];
  let parts = [process.execPath, PROGRAM];
  let result = await tryProgram([...parts, ...check], runAs);
  if (!hasRun(result) && runAs) {
    parts = [stageNode(), join(stageProgram(), `program${extname(PROGRAM)}`)];
    result = await tryProgram([...parts, ...check], runAs);
  }
  if (result.status === 0) return { command: parts.map(quote).join(" ") };
  if (result.status === NOT_ACCESSIBLE)
    throw new PlinthError(
      "BACKUPS_NOT_WRITABLE",
      `The database's user cannot ${use === "archive" ? "write to" : "read"} ${folder}: ${result.output.trim()}`,
      {
        hint:
          `Set PLINTH_BACKUPS to a folder that this user can enter and ${use === "archive" ? "write" : "read"}, ` +
          "such as one below /var/backups with chown postgres.",
      },
    );
  throw new PlinthError(
    "ARCHIVE_PROGRAM_BROKEN",
    `The program that archives WAL cannot run: ${result.output.trim().split("\n").at(-1)}`,
    {
      hint: "Check that the database's user can run Node, or start Plinth as an ordinary user.",
    },
  );
}

/** The archive of a folder name with % or ' must not change the meaning of the setting. */
export function quoteForSetting(text: string): string {
  return quote(text).replaceAll("%", "%%");
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function hasRun({ status }: ProgramResult): boolean {
  return status === 0 || status === NOT_ACCESSIBLE;
}

async function tryProgram(
  [node, ...args]: readonly string[],
  runAs: RunAs | undefined,
): Promise<ProgramResult> {
  try {
    return await runProgram(node!, args, { runAs });
  } catch (error) {
    return { status: undefined, output: `${node}: ${errno(error) ?? error}` };
  }
}

function stageNode(): string {
  return stageBinaries(process.execPath, `node-${process.version}-${process.platform}-${process.arch}`);
}

/** The copy's name has a hash of its content, because a checkout changes without its version. */
function stageProgram(): string {
  const source = dirname(PROGRAM);
  const hash = createHash("sha256");
  for (const name of readdirSync(source).sort()) hash.update(name).update(readFileSync(join(source, name)));
  return stageBinaries(source, `wal-${hash.digest("hex").slice(0, 16)}`);
}
