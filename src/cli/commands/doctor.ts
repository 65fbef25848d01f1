import type { Command } from "commander";
import type { Config } from "../../config/config.ts";
import type { Finding, Status } from "../doctor/check.ts";
import { note, print, printJson } from "../output.ts";

export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .description("check the installation and report problems with their fixes")
    .option("--json", "print the findings as JSON")
    .addHelpText(
      "after",
      `
Checks settings, the server with its sessions and storage, migrations, roles, row-level security, partitions, jobs, and
whether the mail server, Stripe, sign-in providers and models of the settings answer. Names each policy, grant,
function, trigger, constraint, index, column and view that differs from what the migrations make. Changes nothing.
Each finding is ok, warn, fail or skipped, with a hint; the exit code is 1 if any finding is "fail".

Example:
  $ plinth doctor
  $ plinth doctor --json | jq '.findings[] | select(.status == "fail")'`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const findings = await examine();
      const failed = findings.filter(({ status }) => status === "fail").length;
      if (json) printJson({ healthy: failed === 0, findings });
      else for (const finding of findings) printFinding(finding);
      if (failed > 0) {
        note(`error: ${failed} ${failed === 1 ? "check" : "checks"} failed.`);
        process.exitCode = 1;
      }
    });
}

async function examine(): Promise<Finding[]> {
  const { loadConfig, unknownSettings } = await import("../../config/config.ts");
  const { checkSettings } = await import("../doctor/settings.ts");
  const { checkOutsideServices } = await import("../doctor/outside-services.ts");
  const { examineDatabase, unusable } = await import("../doctor/doctor.ts");
  const { withSession } = await import("../session.ts");
  const { loadApplication } = await import("../../application/load-application.ts");
  let config: Config;
  try {
    config = loadConfig();
  } catch (error) {
    return unusable(error, "settings");
  }
  // Before the database: its file of secrets is examined as it is.
  const findings = checkSettings(config, unknownSettings());
  const services = checkOutsideServices(config);
  const application = await loadApplication(config).catch((error) => {
    findings.push(...unusable(error, "application"));
    return {};
  });
  const database = await withSession(({ config, database }) =>
    examineDatabase(config, database, application),
  ).catch((error) => unusable(error));
  return [...findings, ...(await services), ...database];
}

const LABELS: Record<Status, string> = {
  ok: "ok     ",
  warn: "warn   ",
  fail: "FAIL   ",
  skipped: "skipped",
};

function printFinding({ check, status, message, hint, details = [] }: Finding): void {
  print(`${LABELS[status]} ${check}: ${message}`);
  for (const detail of details) print(`          - ${detail}`);
  if (hint) print(`          ${hint.replaceAll("\n", "\n          ")}`);
}
