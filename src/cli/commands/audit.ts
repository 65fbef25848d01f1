import { appendFileSync, readFileSync } from "node:fs";
import type { Command } from "commander";
import type { AuditFault } from "../../audit/fault.ts";
import type { AuditVerification } from "../../audit/verify.ts";
import type { Config } from "../../config/config.ts";
import type { Database } from "../../database/database.ts";
import { PlinthError } from "../../support/errors.ts";
import { note, print, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { withClient, withSession } from "../session.ts";

export function addAudit(program: Command): void {
  const command = program
    .command("audit")
    .description("prove that the audit logs were not altered")
    .addHelpText(
      "after",
      "\nExample:\n  $ plinth audit anchor --output anchors.jsonl\n  $ plinth audit verify --anchors anchors.jsonl",
    );
  addAnchor(command);
  addVerify(command);
}

function addAnchor(command: Command): void {
  command
    .command("anchor")
    .description("export the signed hash of the latest block, to be kept outside the database")
    .option("--output <file>", "append it to this file instead of printing it")
    .addHelpText(
      "after",
      `
The owner of the database can rewrite the whole chain, but then it contradicts an anchor. Keep anchors where the owner cannot
change them. An anchor is signed with the first of PLINTH_JWT_KEYS. Needs the owner's URL.

Example:
  $ plinth audit anchor --output anchors.jsonl`,
    )
    .action(async ({ output }: { output?: string }) => {
      const { readAnchor } = await import("../../audit/anchor.ts");
      const anchor = await withSession(async ({ config, database }) => {
        const [key] = await signingKeys(config, database);
        return withClient(database, "owner", (client) => readAnchor(client, key!));
      });
      const line = JSON.stringify(anchor);
      if (output === undefined) return print(line);
      try {
        appendFileSync(output, `${line}\n`, { flush: true });
      } catch (cause) {
        throw new PlinthError("NOT_WRITABLE", `${output} cannot be written: ${(cause as Error).message}.`, {
          hint: "Choose another file, or omit --output to print the anchor.",
          cause,
        });
      }
      note(`Added block ${anchor.number} to ${output}.`);
    });
}

async function signingKeys(config: Config, database: Database) {
  const { signingKeysOf } = await import("../../start/key-settings.ts");
  const { parseSigningKeys } = await import("../../auth/signing-keys.ts");
  return parseSigningKeys(signingKeysOf(config, database));
}

interface VerifyFlags {
  readonly anchors?: string;
  readonly from?: string;
  readonly to?: string;
  readonly json?: boolean;
}

function addVerify(command: Command): void {
  command
    .command("verify")
    .description("compare the audit logs with the chain and name the first altered, missing or inserted row")
    .option("--anchors <file>", "also compare the chain with exported anchors")
    .option("--from <time>", "verify rows from this time on; the chain is always verified as a whole")
    .option("--to <time>", "verify rows from before this time")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Changes nothing. Archived months are read from PLINTH_ARCHIVES. Exits with 1 if anything was altered. Needs the owner's URL,
and PLINTH_JWT_KEYS for --anchors.

Example:
  $ plinth audit verify --anchors anchors.jsonl
  $ plinth audit verify --from 2026-11-01 --json | jq .faults`,
    )
    .action(async (flags: VerifyFlags) => {
      const found = await verify(flags);
      if (flags.json) printJson(found);
      else printFindings(found);
      if (found.faultCount > 0) process.exitCode = 1;
    });
}

async function verify({ anchors: file, from, to }: VerifyFlags): Promise<AuditVerification> {
  const { verifyAudit } = await import("../../audit/verify.ts");
  const { parseAnchors } = await import("../../audit/anchor.ts");
  const { backupKeysOf } = await import("../../auth/backup-keys.ts");
  return withSession(async ({ config, database, signal }) => {
    const anchors =
      file === undefined ? [] : parseAnchors(readText(file), await signingKeys(config, database));
    const { directory } = config.archives;
    const folder = directory === undefined ? undefined : { directory, keys: backupKeysOf(config.archives) };
    return withClient(database, "owner", (client) =>
      verifyAudit(client, {
        anchors,
        folder,
        from: timeOf("--from", from),
        until: timeOf("--to", to),
        signal,
        onProgress: showProgress,
      }),
    );
  });
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new PlinthError("ANCHORS_MISSING", `${file} cannot be read.`, {
      hint: "Name a file that plinth audit anchor --output has written.",
      cause,
    });
  }
}

function timeOf(flag: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const time = new Date(text);
  if (Number.isNaN(time.getTime()))
    throw new PlinthError("INVALID_TIME", `${flag} is not a time: ${text}`, {
      hint: "Write 2026-11-01 or 2026-11-01T12:00:00Z.",
      exitCode: 2,
    });
  return time.toISOString();
}

const WORDS: Readonly<Record<AuditFault["kind"], string>> = {
  altered: "was altered",
  missing: "is missing",
  inserted: "was inserted without a commitment",
  backdated: "was written at another time than it says",
  cleared: "was cleared, but its account exists",
  commitments: "has other commitments than it was closed with",
  block_missing: "is missing",
  block_rewritten: "was rewritten",
};

function describe({ kind, log, id, block, at }: AuditFault): string {
  return block === null
    ? `${log} ${id} of ${at} ${WORDS[kind]}.`
    : `Block ${block}, after ${at}, ${WORDS[kind]}.`;
}

function printFindings(found: AuditVerification): void {
  const { rows, erased, imported, blocks, since, pending, archives, faults, faultCount } = found;
  for (const { log, month, fileName, reason } of archives)
    if (reason !== null)
      note(`Archived, not verified: ${log} ${month}, file ${fileName ?? "none"}. ${reason}`);
  print(
    `Verified ${count(rows, "row")}, ${erased} of them erased, and ${count(blocks, "block")} since ${since}.`,
  );
  if (imported > 0)
    print(`${count(imported, "row")} came with an import, which an event audit_log_imported announces.`);
  if (pending.entries > 0)
    print(`${count(pending.entries, "entry", "entries")} in no block yet, since ${pending.since}.`);
  const [first, ...others] = faults;
  print(first ? `${count(faultCount, "fault")}. The first: ${describe(first)}` : "Nothing was altered.");
  for (const fault of others) print(describe(fault));
}

const count = (n: number, one: string, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
