import { migrationStatus } from "../../database/migrate.ts";
import { PlinthError } from "../../support/errors.ts";
import { type CheckGroup, fail, ok, skipped, warn } from "./check.ts";
import { checkDrift } from "./drift.ts";

/**
 * Checks for pending migrations, for a history that differs from the migration files, and, if all migrations have run, for a database
 * that differs from what they make.
 */
export const checkMigrations: CheckGroup = async (context) => {
  const { config, database, role } = context;
  const check = "migrations";
  if (role !== "owner")
    return [
      skipped(check, "Only the owner can read the migration history (PLINTH_OWNER_URL)."),
      ...(await checkDrift(context)),
    ];
  try {
    const status = await migrationStatus({ ownerUrl: database.url("owner"), rolePrefix: config.rolePrefix });
    const findings = [
      status.pending.length === 0
        ? ok(check, `All ${status.applied.length} migrations have run.`)
        : fail(
            check,
            `${status.pending.length} migrations are pending.`,
            "Run plinth migrate.",
            status.pending,
          ),
    ];
    if (status.pending.length === 0) findings.push(...(await checkDrift(context)));
    if (!status.currentIsBlank)
      findings.push(
        warn(
          "current-migration",
          "current.sql contains an uncommitted migration.",
          "Commit it: plinth migrate commit.",
        ),
      );
    return findings;
  } catch (error) {
    if (!(error instanceof PlinthError)) throw error;
    return [fail(check, error.message, error.hint ?? "See plinth migrate status.")];
  }
};
