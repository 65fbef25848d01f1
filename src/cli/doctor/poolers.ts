import { LOGIN_ROLES, type LoginRole } from "../../config/roles.ts";
import { isTransactionMode } from "../../connection/transaction-mode.ts";
import { withConnection } from "../../database/connection.ts";
import { assertStatementsStayPrepared } from "../../request/prepared-statement-check.ts";
import { errno } from "../../support/files.ts";
import { type CheckGroup, type Finding, fail, ok, warn } from "./check.ts";

/** Features that get lost behind a pooler in transaction mode, by role. */
const LOSSES: Partial<Record<LoginRole, (check: string, url: string) => Finding>> = {
  owner: (check, url) =>
    fail(
      check,
      `${url} leads to a pooler in transaction mode, which loses the locks of migrations.`,
      `Set ${url} to a direct connection to the server, or to a pooler in session mode.`,
    ),
  service: (check, url) =>
    warn(
      check,
      `${url} leads to a pooler in transaction mode, which loses notifications: servers ask the database about each token.`,
      `Set ${url} to a direct connection to the server, or to a pooler in session mode.`,
    ),
  worker: (check, url) =>
    warn(
      check,
      `${url} leads to a pooler in transaction mode: the job archive-old-partitions fails there.`,
      `Set ${url} to a direct connection to the server, or to a pooler in session mode.`,
    ),
};

/** The roles whose processes prepare statements by name. */
const PREPARES: readonly LoginRole[] = ["authenticator", "service"];

/** Checks what the poolers in front of an external server lose. URLs that do not connect have a finding elsewhere. */
export const checkPoolers: CheckGroup = async ({ config }) => {
  const findings: Finding[] = [];
  for (const role of LOGIN_ROLES) {
    const url = config.databaseUrls[role];
    if (!url) continue;
    const check = `pooler-${role}`;
    const isPooled = await withConnection(
      { connectionString: url, application_name: "plinth doctor", connectionTimeoutMillis: 10_000 },
      isTransactionMode,
    ).catch(() => undefined);
    if (isPooled === undefined) continue;
    const name = `PLINTH_${role.toUpperCase()}_URL`;
    if (!isPooled) {
      findings.push(ok(check, "no pooler in transaction mode"));
      continue;
    }
    if (PREPARES.includes(role) && config.pool.preparedStatements) {
      const lost = await losesStatements(url);
      if (lost) findings.push(fail(check, `${name} leads to a pooler that loses prepared statements.`, lost));
    }
    const loss = LOSSES[role]?.(check, name);
    findings.push(loss ?? ok(check, "a pooler in transaction mode"));
  }
  return findings;
};

/** Returns the hint of the check at the start of the server. */
async function losesStatements(url: string): Promise<string | undefined> {
  try {
    await assertStatementsStayPrepared(url);
    return undefined;
  } catch (error) {
    if (errno(error) !== "PREPARED_STATEMENTS_LOST") throw error;
    return (error as { hint?: string }).hint;
  }
}
