import { applicationHistory, type MigrationHistory, plinthHistory } from "../../database/history.ts";
import { migrationStatus } from "../../database/migrate.ts";
import { assertMigratable } from "../../database/neighbour/collisions.ts";
import { PlinthError } from "../../support/errors.ts";
import { type CheckGroup, type DoctorContext, type Finding, fail, ok, skipped, warn } from "./check.ts";
import { checkDrift } from "./drift.ts";

/**
 * Checks for pending migrations, for a history that differs from the migration files, and, if all migrations have run, for a database
 * that differs from what they make.
 */
export const checkMigrations: CheckGroup = async (context) => {
  const check = "migrations";
  if (context.role !== "owner")
    return [
      skipped(check, "Only the owner can read the migration history (PLINTH_OWNER_URL)."),
      ...(await checkDrift(context)),
    ];
  const findings = await checkHistory(context, plinthHistory, { check, whose: "" });
  const folder = context.application?.migrations;
  if (folder !== undefined)
    findings.push(
      ...(await checkHistory(context, applicationHistory(folder), {
        check: "application-migrations",
        whose: " of the application",
      })),
    );
  return findings.some(({ status }) => status === "fail")
    ? findings
    : [...findings, ...(await checkDrift(context))];
};

async function checkHistory(
  { config, database, client }: DoctorContext,
  history: MigrationHistory,
  { check, whose }: { readonly check: string; readonly whose: string },
): Promise<Finding[]> {
  try {
    const { rolePrefix: prefix } = config;
    const { applied, pending, currentIsBlank } = await migrationStatus({
      ...history,
      ownerUrl: database.url("owner"),
      rolePrefix: prefix,
    });
    // As migrate does before it runs any.
    if (pending.length > 0 && history === plinthHistory)
      await assertMigratable(client, { prefix, isNew: applied.length === 0 });
    const findings = [
      pending.length === 0
        ? ok(check, `All ${applied.length} migrations${whose} have run.`)
        : fail(check, `${pending.length} migrations${whose} are pending.`, "Run plinth migrate.", pending),
    ];
    if (!currentIsBlank)
      findings.push(
        warn(
          whose === "" ? "current-migration" : "application-current-migration",
          `current.sql${whose} contains an uncommitted migration.`,
          "Commit it: plinth migrate commit.",
        ),
      );
    return findings;
  } catch (error) {
    if (!(error instanceof PlinthError)) throw error;
    return [fail(check, error.message, error.hint ?? "See plinth migrate status.")];
  }
}
