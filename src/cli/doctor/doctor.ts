import type { Application } from "../../application/application.ts";
import type { Config } from "../../config/config.ts";
import { LOGIN_ROLES, type LoginRole } from "../../config/roles.ts";
import { withConnection } from "../../database/connection.ts";
import type { Database } from "../../database/database.ts";
import { explainError } from "../explain-error.ts";
import { type CheckGroup, type Finding, fail } from "./check.ts";
import { checkJobs } from "./jobs.ts";
import { checkMigrations } from "./migrations.ts";
import { checkPayments } from "./payments.ts";
import { checkRoles } from "./roles.ts";
import { checkSealedSecrets } from "./sealed-secrets.ts";
import { checkSecurityRules } from "./security-rules.ts";
import { checkServer } from "./server.ts";
import { checkTables } from "./tables.ts";
import { checkUserData } from "./user-data.ts";

const GROUPS: readonly CheckGroup[] = [
  checkServer,
  checkMigrations,
  checkRoles,
  checkTables,
  checkUserData,
  checkSecurityRules,
  checkJobs,
  checkSealedSecrets,
  checkPayments,
];

/** Examines a database as the most privileged role that has a URL. The owner sees everything; other roles see less. */
export async function examineDatabase(
  config: Config,
  database: Database,
  application: Application = {},
): Promise<Finding[]> {
  const role = mostAbleRole(config, database);
  const connection = {
    connectionString: database.url(role),
    application_name: "plinth doctor",
    connectionTimeoutMillis: 10_000,
    statement_timeout: 30_000,
  };
  return withConnection(connection, async (client) => {
    const findings: Finding[] = [];
    for (const group of GROUPS)
      findings.push(...(await group({ config, database, application, client, role }).catch(notExamined)));
    return findings;
  }).catch((error) => unusable(error));
}

/** Returns the finding for a database, or another part, that cannot be examined. */
export function unusable(error: unknown, check = "server"): Finding[] {
  const known = explainError(error);
  if (!known) throw error;
  return [fail(check, known.message, known.hint ?? "See the message.")];
}

function notExamined(error: unknown): Finding[] {
  const known = explainError(error);
  return [
    fail(
      "examination",
      `A check failed with an error: ${known?.message ?? String(error)}`,
      known?.hint ?? "If the database is migrated, report this as a bug.",
    ),
  ];
}

function mostAbleRole(config: Config, database: Database): LoginRole {
  const order: LoginRole[] = ["owner", "worker", "service", "authenticator", "analyst"];
  if (database.kind === "embedded") return "owner";
  return order.find((role) => config.databaseUrls[role]) ?? LOGIN_ROLES[0];
}
