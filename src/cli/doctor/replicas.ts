import type { Client } from "pg";
import { roleName } from "../../config/roles.ts";
import { hostNames, parseDatabaseUrl } from "../../connection/database-url.ts";
import { withConnection } from "../../database/connection.ts";
import { assertStatementsStayPrepared } from "../../request/prepared-statement-check.ts";
import { primaryIdentity, replicaIdentity } from "../../request/replicas/positions.ts";
import { explainError } from "../explain-error.ts";
import { type CheckGroup, type DoctorContext, type Finding, fail, ok, warn } from "./check.ts";
import { describeConnection } from "./server.ts";

const ADVICE = "PLINTH_REPLICA_URLS: remove it, or point it at a standby of this database.";
/** A standby that streams is rarely behind by more than this, the size of a WAL segment. */
const SMALL_LAG_BYTES = 16n * 1024n * 1024n;

/** Checks each of PLINTH_REPLICA_URLS. A server leaves out those that it cannot use. */
export const checkReplicas: CheckGroup = async (context) => {
  const findings: Finding[] = [];
  for (const [i, url] of context.config.replicas.urls.entries())
    findings.push(...(await checkReplica(context, url, `replica-${i + 1}`)));
  return findings;
};

async function checkReplica(context: DoctorContext, url: string, check: string): Promise<Finding[]> {
  try {
    if (context.config.pool.preparedStatements) await assertStatementsStayPrepared(url);
    return await withConnection(
      { connectionString: url, application_name: "plinth doctor", connectionTimeoutMillis: 10_000 },
      (replica) => examine(context, replica, url, check),
    );
  } catch (error) {
    const known = explainError(error);
    return [
      fail(check, known?.message ?? String(error), `PLINTH_REPLICA_URLS: ${known?.hint ?? "Check it."}`),
    ];
  }
}

async function examine(
  { client, config }: DoctorContext,
  replica: Client,
  url: string,
  check: string,
): Promise<Finding[]> {
  const host = hostNames(parseDatabaseUrl(url));
  const { rows } = await replica.query<{ role: string; feedback: boolean; paused: boolean; ssl: boolean }>(`
    select session_user as role, current_setting('hot_standby_feedback')::boolean as feedback,
      case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end as paused,
      (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as ssl`);
  const { role, feedback, paused, ssl } = rows[0]!;
  const found = await replicaIdentity(replica);
  const expectedRole = roleName(config.rolePrefix, "authenticator");
  if (!found.isStandby) return [fail(check, `${host} is not a standby, so no query reads from it.`, ADVICE)];
  if (role !== expectedRole)
    return [
      fail(check, `${host} is used as ${role}.`, `Use a URL of ${expectedRole} in PLINTH_REPLICA_URLS.`),
    ];
  const primary = await primaryIdentity(client);
  if (found.system !== primary.system || found.database !== primary.database)
    return [fail(check, `${host} is a standby of another database.`, ADVICE)];
  if (paused)
    return [warn(check, `Replay is paused on ${host}.`, "Run select pg_wal_replay_resume() there.")];
  const lag = primary.committed > found.replayed ? primary.committed - found.replayed : 0n;
  if (lag > SMALL_LAG_BYTES)
    return [
      warn(
        check,
        `${host} is ${lag} bytes behind.`,
        "Check its log and its network: queries read from the primary until it has caught up.",
      ),
    ];
  const connection = describeConnection(check, url, ssl);
  if (connection.status !== "ok") return [connection];
  if (!feedback)
    return [
      warn(
        check,
        `${host} follows the primary, but hot_standby_feedback is off: vacuum on the primary cancels its long reads, which then run on the primary.`,
        "Set hot_standby_feedback = on there, unless dead rows on the primary matter more.",
      ),
    ];
  return [ok(check, `${host} follows the primary, ${lag} bytes behind.`)];
}
