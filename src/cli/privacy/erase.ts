import type { Command } from "commander";
import type pg from "pg";
import type { Erasure } from "../../privacy/erase-account.ts";
import { note, print, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { type Session, withClient, withSession } from "../session.ts";
import { UsageError } from "../usage-error.ts";
import { accountId } from "./account.ts";
import { finish } from "./finish.ts";
import { ownKeys } from "./own-keys.ts";

interface EraseFlags {
  readonly json?: boolean;
  readonly plan?: boolean;
  readonly fromCertificates?: string;
  readonly reference?: string;
}

export function addErase(command: Command): void {
  command
    .command("erase")
    .argument("[user]", "username or id of the account")
    .description("erase an account at once and print its certificate")
    .option("--plan", "print the rows that would be deleted and cleared, and change nothing")
    .option("--reference <number>", "number of a ticket or case for the certificate, not a name")
    .option("--from-certificates <dir>", "after a restore: erase the accounts of these certificates again")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Deletes the account in one transaction, with everything that a deletion by its owner deletes, then erases it from archives and
signs the certificate. If that is interrupted, the job finish-erasures or "plinth privacy finish" continues. An account with a legal hold
and the last administrator cannot be erased. Needs the owner's URL.

Example:
  $ plinth privacy erase ada --plan
  $ plinth privacy erase ada --reference REQ-2026/17
  $ plinth privacy erase --from-certificates backups/erasures`,
    )
    .action(async (user: string | undefined, flags: EraseFlags) => {
      if ((user === undefined) === (flags.fromCertificates === undefined))
        throw new UsageError("Pass either a user or --from-certificates.");
      const { eraseAccount } = await import("../../privacy/erase-account.ts");
      await withSession((session) =>
        withClient(session.database, "owner", async (client) => {
          const ids =
            user === undefined
              ? await accountsFrom(session, client, flags.fromCertificates!)
              : [await accountId(client, user)];
          const erasures: (Erasure & { accountId: string })[] = [];
          for (const [index, id] of ids.entries()) {
            showProgress({ step: "Erasing", done: index, total: ids.length, unit: "accounts" });
            session.signal.throwIfAborted();
            const erasure = await eraseAccount(client, id, {
              isPlan: flags.plan ?? false,
              ...(flags.reference !== undefined && { reference: flags.reference }),
            });
            erasures.push({ accountId: id, ...erasure });
            if (!flags.json) printErasure(id, erasure);
          }
          const finished = flags.plan || ids.length === 0 ? undefined : await finish(session, client);
          if (flags.json) return printJson({ erasures, ...(finished && { finished }) });
          if (ids.length === 0) print("No account of these certificates exists.");
          if (finished && finished.waiting > 0)
            note(
              "Archives or signatures wait: set PLINTH_ARCHIVES and PLINTH_JWT_KEYS, then run plinth privacy finish.",
            );
        }),
      );
    });
}

function printErasure(accountId: string, { certificate, statement }: Erasure): void {
  const verb = certificate ? ["deleted", "cleared"] : ["would be deleted", "cleared"];
  for (const { table, deleted, cleared } of statement.tables)
    print(`${table}: ${deleted} ${verb[0]}, ${cleared} ${verb[1]}`);
  for (const [name, { deleted, cleared }] of Object.entries(statement.classes))
    print(`class ${name}: ${deleted} rows ${verb[0]}, ${cleared} ${verb[1]}`);
  if (!certificate) {
    print("Nothing was changed.");
    return;
  }
  print(`Erased. Certificate: ${certificate}`);
  print(
    `With the account's id ${accountId}, the owner can prove that the certificate is theirs. The id is not stored anywhere.`,
  );
}

/** @throws PlinthError CERTIFICATE_INVALID, CERTIFICATE_KEY_UNKNOWN */
async function accountsFrom(session: Session, client: pg.Client, directory: string): Promise<string[]> {
  const { readCertificates } = await import("../../privacy/certificate-files.ts");
  const { accountsOf } = await import("../../privacy/erase-account.ts");
  const ids: string[] = [];
  for (const { statement } of readCertificates(directory, await ownKeys(session)))
    ids.push(...(await accountsOf(client, statement)));
  // After two restores, an account has two certificates.
  return [...new Set(ids)];
}
