import { migrationStatus } from "../../database/migrate.ts";
import { PlinthError } from "../../support/errors.ts";
import { type CheckGroup, fail, ok, skipped, warn } from "./check.ts";
import { checkSchemaObjects } from "./schema-objects.ts";

/** Checks for pending migrations and for a history that differs from the migration files. */
export const checkMigrations: CheckGroup = async ({ client, config, database, role }) => {
  const check = "migrations";
  if (role !== "owner")
    return [skipped(check, "Only the owner can read the migration history (PLINTH_OWNER_URL).")];
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
    if (status.pending.length === 0) findings.push(await checkSchemaObjects(client));
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
