import { type Command, Option } from "commander";
import { ORDERS, type SaltOrder } from "../../auth/foreign/schemes/digests.ts";
import { importEmailSalt, importSource } from "../../config/import-source.ts";
import type { SystemMapping } from "../../import/system/mapping.ts";
import type { OnBadLine } from "../../import/system/sources/folder.ts";
import type { Source } from "../../import/system/sources/source.ts";
import { PlinthError } from "../../support/errors.ts";
import { print, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { withClient, withSession } from "../session.ts";
import { reportLines } from "./report-lines.ts";

export interface SystemFlags {
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly report?: string;
  readonly emailHash?: string;
  readonly saltOrder?: SaltOrder;
  readonly saltEncoding?: "text" | "hex" | "base64";
}

/** The options of every import of accounts. */
export function addSystemOptions(command: Command): Command {
  return command
    .option("--dry-run", "import everything, print the report, and roll back")
    .option("--report <file>", "write all rows and columns that were left out, as .csv or .json")
    .option("--json", "print the result as JSON")
    .addOption(
      new Option(
        "--salt-order <order>",
        "how a salt in a separate column is combined with the password, for md5, sha1, sha256 and sha512",
      ).choices(ORDERS),
    )
    .addOption(
      new Option("--salt-encoding <encoding>", "encoding of a salt in a separate column").choices([
        "text",
        "hex",
        "base64",
      ]),
    );
}

/** Imports a system, prints the report, and fails if a row differs from its source. */
export async function runSystemImport(
  mapping: SystemMapping,
  open: (onBadLine: OnBadLine) => Promise<Source>,
  flags: SystemFlags,
): Promise<void> {
  const { importSystem } = await import("../../import/system/import-system.ts");
  const { createReportFile } = await import("../../import/system/report-file.ts");
  const { isAllowedEndpoint } = await import("../../answerer/endpoint-rules.ts");
  const { emailHasherOn } = await import("../../auth/email-storage.ts");
  const { findMasterKeys } = await import("../../start/key-settings.ts");
  if (flags.emailHash !== undefined && mapping.forRun === undefined)
    throw new PlinthError("BAD_USER_INPUT", `${mapping.title} has no hashed addresses.`, {
      hint: "Leave out --email-hash.",
      exitCode: 2,
    });
  const file = flags.report === undefined ? undefined : createReportFile(flags.report);
  try {
    const report = await withSession(({ config, database, signal }) =>
      withClient(database, "owner", async (client) => {
        let onBadLine: OnBadLine | undefined;
        await using source = closing(await open((...line) => onBadLine?.(...line)));
        const masterKeys = findMasterKeys(config, database);
        return await importSystem({
          client,
          source: source.source,
          listenToBadLines: (listen) => {
            onBadLine = listen;
          },
          mapping:
            (await mapping.forRun?.({
              client,
              dryRun: flags.dryRun === true,
              masterKeys,
              isAllowedEndpoint: (address) => isAllowedEndpoint(address, config.models.privateNetworks),
              emailHash: flags.emailHash,
              emailSalt: importEmailSalt(process.env),
            })) ?? mapping,
          dryRun: flags.dryRun === true,
          emailHasher: masterKeys === undefined ? undefined : emailHasherOn(client, masterKeys),
          privacyMode: config.auth.privacyMode,
          salt: { order: flags.saltOrder ?? null, saltEncoding: flags.saltEncoding ?? null },
          onRemark: file?.add,
          signal,
          onProgress: showProgress,
        });
      }),
    );
    if (flags.json) printJson(report);
    else for (const line of reportLines(report)) print(line);
    if (!report.isVerified)
      throw new PlinthError("IMPORT_DIFFERS", "Some imported rows differ from their source.", {
        hint: "The report names them. Rows that changed in the source since they were imported differ, too: import again into a database without them.",
      });
  } finally {
    file?.close();
  }
}

function closing(source: Source): AsyncDisposable & { readonly source: Source } {
  return { source, [Symbol.asyncDispose]: () => source.close() };
}

/** Opens what the flags or the environment name. */
export async function openNamedSource(
  flags: { readonly from?: string; readonly fromEnv?: string },
  onBadLine: OnBadLine,
): Promise<Source> {
  const { openSource } = await import("../../import/system/sources/open.ts");
  return openSource(importSource(process.env, flags), onBadLine);
}
