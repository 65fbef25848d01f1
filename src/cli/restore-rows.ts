import type { Command } from "commander";
import type { RestoreRowsResult, TableResult } from "../restore-rows/restore-rows.ts";
import type { Scope } from "../restore-rows/root.ts";
import { PlinthError } from "../support/errors.ts";
import { ask } from "./ask.ts";
import { note, oneLine, print, printJson } from "./output.ts";
import { showProgress } from "./progress/progress.ts";
import { withSession } from "./session.ts";
import { UsageError } from "./usage-error.ts";

interface Flags {
  readonly from?: string;
  readonly user?: string;
  readonly room?: string;
  readonly table?: string;
  readonly where?: string;
  readonly overwrite?: boolean;
  readonly erasedUserReally?: string;
  readonly plan?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function addRestoreRows(restore: Command): void {
  restore
    .command("rows")
    .description("restore one user, one room or rows of one table from a past copy of the database")
    .option("--from <url>", "URL of a server with a restored backup; it is only read")
    .option("--user <name>", "an account with all rows that belong to it")
    .option("--room <name>", "a room with all rows that belong to it, by its name or id")
    .option("--table <schema.table>", "the rows of one table")
    .option("--where <condition>", "with --table: a condition in SQL")
    .option("--overwrite", "restore the old values of rows that were changed since the copy")
    .option(
      "--erased-user-really <reason>",
      "restore an account that was erased on request; the audit log keeps the reason",
    )
    .option("--plan", "print what would be restored, and change nothing")
    .option("--yes", "do not ask for confirmation")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Missing rows get their old ids. Existing rows are kept, unless you add --overwrite. The command is one transaction, which changes
no other rows. Writers of the tables wait meanwhile. No mail is sent and no usage is counted. Restored accounts must sign in
again. Both databases must have run the same migrations. Without a terminal, --yes is required.

Example:
  $ plinth restore rows --from "$COPY_URL" --user ada --plan
  $ plinth restore rows --from "$COPY_URL" --table rooms.room_messages --where "created_at > '2026-11-01'"`,
    )
    .action(async (ownFlags: Flags, command: Command) => {
      // --from and --json are options of `plinth restore` too, which then takes them.
      const flags = { ...ownFlags, ...command.optsWithGlobals<Flags>() };
      const copyUrl = flags.from;
      if (copyUrl === undefined) throw new UsageError("--from needs the URL of a copy of the database.");
      const scope = scopeOf(flags);
      const { restoreRows } = await import("../restore-rows/restore-rows.ts");
      await withSession(async ({ config, database, signal }) => {
        const run = async (plan: boolean) => {
          return restoreRows({
            ownerUrl: database.url("owner"),
            copyUrl,
            rolePrefix: config.rolePrefix,
            scope,
            plan,
            overwrite: flags.overwrite ?? false,
            erasedReason: flags.erasedUserReally,
            lockTimeoutMs: config.migrations.lockTimeoutMs,
            signal,
            onProgress: showProgress,
          });
        };
        if (!flags.plan && !flags.yes) await confirm(await run(true), flags);
        const result = await run(flags.plan ?? false);
        if (flags.json) printJson(result);
        else for (const line of linesOf(result, flags)) print(line);
      });
    });
}

function scopeOf({ user, room, table, where }: Flags): Scope {
  const scopes = [user, room, table].filter((value) => value !== undefined);
  if (scopes.length !== 1) throw new UsageError("Use one of --user, --room and --table.");
  if (where !== undefined && table === undefined) throw new UsageError("--where needs --table.");
  if (user !== undefined) return { user };
  return room !== undefined ? { room } : { table: table!, where };
}

async function confirm(plan: RestoreRowsResult, flags: Flags): Promise<void> {
  if (!process.stdin.isTTY)
    throw new UsageError("No terminal to prompt on: use --yes, or --plan to look first.");
  for (const line of linesOf(plan, { ...flags, plan: true })) note(line);
  if (!/^y(es)?$/i.test((await ask("Continue? [y/N] ")).trim()))
    throw new PlinthError("NOT_CONFIRMED", "Nothing was restored.");
}

function linesOf({ tables, leftOut, accounts, correlationId }: RestoreRowsResult, flags: Flags): string[] {
  const sum = (count: (row: TableResult) => number) => tables.reduce((total, row) => total + count(row), 0);
  const written = sum((row) => row.missing + row.cleared + (flags.overwrite ? row.changed : 0));
  const changed = sum((row) => row.changed);
  const keys = tables.find(({ table }) => table === "private.user_keys");
  return [
    ...tables.filter((row) => row.same < total(row)).map((row) => tableLine(row, flags)),
    ...leftOut.map(
      ({ table, target, rows, examples }) =>
        `  left out ${rows} of ${table}: their ${target} is missing (${oneLine(examples.join(", "))}). ${adviceFor(target)}`,
    ),
    ...(changed > 0 && !flags.overwrite
      ? [`${changed} rows have other values now and are kept without --overwrite.`]
      : []),
    ...(keys && keys.missing > 0
      ? ["The account's encryption key returns too, sealed with the master key of that time."]
      : []),
    ...(accounts.length > 0 && written > 0
      ? [
          "Restored accounts have no session and no valid token, and sign in again. Restart servers that ran when an account was deleted: " +
            "they reject its tokens for up to a day.",
        ]
      : []),
    written === 0
      ? "There is nothing to restore."
      : flags.plan
        ? `${written} rows would be restored.`
        : `Restored ${written} rows. The audit log has them under ${correlationId}.`,
  ];
}

const total = ({ missing, cleared, changed, same, leftOut }: TableResult): number =>
  missing + cleared + changed + same + leftOut;

function tableLine(row: TableResult, { overwrite }: Flags): string {
  const parts = [
    [row.missing, "missing"],
    [row.cleared, "to link again"],
    [row.changed, overwrite ? "to overwrite" : "changed since"],
    [row.same, "the same"],
    [row.leftOut, "left out"],
  ] as const;
  const shown = parts.filter(([count]) => count > 0).map(([count, text]) => `${count} ${text}`);
  return `  ${row.table}: ${shown.join(", ")}`;
}

function adviceFor(target: string): string {
  if (target === "identity.users")
    return "Restore the account first (--user), unless it was erased on request.";
  if (target === "rooms.chat_rooms") return "Restore the room too: --room ID.";
  return `Restore it first: --table ${target}.`;
}
