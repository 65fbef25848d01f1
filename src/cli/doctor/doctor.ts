import type { Application } from "../../application/application.ts";
import type { Config } from "../../config/config.ts";
import { LOGIN_ROLES, type LoginRole } from "../../config/roles.ts";
import { withConnection } from "../../database/connection.ts";
import type { Database } from "../../database/database.ts";
import { explainError } from "../explain-error.ts";
import { showProgress } from "../progress/progress.ts";
import { checkBacklogs } from "./backlogs.ts";
import { checkBackups } from "./backups.ts";
import { type CheckGroup, type Finding, fail } from "./check.ts";
import { checkDocuments } from "./documents.ts";
import { checkJobs } from "./jobs.ts";
import { checkLogins } from "./logins.ts";
import { checkMemories } from "./memories.ts";
import { checkMigrations } from "./migrations.ts";
import { checkPayments } from "./payments.ts";
import { checkPoolers } from "./poolers.ts";
import { checkQueues } from "./queues.ts";
import { checkReplicas } from "./replicas.ts";
import { checkRetention } from "./retention.ts";
import { checkRoles } from "./roles.ts";
import { checkSealedSecrets } from "./sealed-secrets.ts";
import { checkSecurityRules } from "./security-rules.ts";
import { checkServer } from "./server.ts";
import { checkServerSettings } from "./server-settings.ts";
import { checkSessions } from "./sessions.ts";
import { checkStorage } from "./storage.ts";
import { checkTables } from "./tables.ts";
import { checkUserData } from "./user-data.ts";

const GROUPS: readonly CheckGroup[] = [
  checkServer,
  checkServerSettings,
  checkSessions,
  checkStorage,
  checkMigrations,
  checkRoles,
  checkLogins,
  checkTables,
  checkRetention,
  checkUserData,
  checkSecurityRules,
  checkJobs,
  checkQueues,
  checkBacklogs,
  checkDocuments,
  checkSealedSecrets,
  checkMemories,
  checkPayments,
  checkPoolers,
  checkReplicas,
  checkBackups,
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
    // Not as a parameter of the connection: some poolers reject it, and it would hide the server's own.
    query_timeout: 30_000,
  };
  return withConnection(connection, async (client) => {
    const findings: Finding[] = [];
    for (const [index, group] of GROUPS.entries()) {
      showProgress({ step: "Examining the database", done: index, total: GROUPS.length, unit: "checks" });
      findings.push(...(await group({ config, database, application, client, role }).catch(notExamined)));
    }
    return findings;
  }).catch((error) => unusable(error));
}

/** Returns the finding for a database, or another part, that cannot be examined. */
export function unusable(error: unknown, check = "server"): Finding[] {
  const known = explainError(error);
  if (!known) throw error;
  return [fail(check, known.message, known.hint ?? "Correct it, then run plinth doctor again.")];
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

/** The most privileged role that has a URL. */
export function mostAbleRole(config: Config, database: Database): LoginRole {
  const order: LoginRole[] = ["owner", "worker", "service", "authenticator", "analyst"];
  if (database.kind === "embedded") return "owner";
  return order.find((role) => config.databaseUrls[role]) ?? LOGIN_ROLES[0];
}
