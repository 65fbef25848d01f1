import type { Command } from "commander";
import { addCertificate } from "../privacy/certificate.ts";
import { addErase } from "../privacy/erase.ts";
import { addPrivacyExport } from "../privacy/export.ts";
import { addFinish } from "../privacy/finish.ts";
import { addHold } from "../privacy/hold.ts";
import { addPrivacyReads } from "../privacy/reads.ts";
import { addRecord } from "../privacy/record.ts";
import { addPrivacyReport } from "../privacy/report.ts";
import { addVerify } from "../privacy/verify.ts";

/** In the order of the help. */
const SUBCOMMANDS = [
  addRecord,
  addErase,
  addFinish,
  addHold,
  addCertificate,
  addVerify,
  addPrivacyExport,
  addPrivacyReads,
  addPrivacyReport,
];

export function addPrivacy(program: Command): void {
  const command = program
    .command("privacy")
    .description(
      "manage personal data: record of processing, exports, reads, erasure, legal holds, certificates, report",
    )
    .addHelpText("after", "\nExample:\n  $ plinth privacy erase ada --plan\n  $ plinth privacy record --csv");
  for (const add of SUBCOMMANDS) add(command);
}
