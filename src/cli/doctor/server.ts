import { LOGIN_ROLES, type LoginRole, roleName } from "../../config/roles.ts";
import { hostNames, parseDatabaseUrl, type SslMode } from "../../connection/database-url.ts";
import { withConnection } from "../../database/connection.ts";
import { explainError } from "../explain-error.ts";
import { type CheckGroup, type DoctorContext, type Finding, fail, ok, skipped, warn } from "./check.ts";
import { isLocal } from "./settings.ts";

const OLDEST_VERSION = 150_000;
/** Access tokens contain times: with a larger difference, new tokens seem to come from the future. */
const MAX_CLOCK_DIFFERENCE_MS = 5_000;

interface Server {
  version: string;
  version_number: number;
  encoding: string;
  fsync: string;
  full_page_writes: string;
  in_recovery: boolean;
  is_read_only: boolean;
  now: Date;
}

export const checkServer: CheckGroup = async (context) => {
  const asked = Date.now();
  const { rows } = await context.client.query<Server>(`
    select
      current_setting('server_version') as version,
      current_setting('server_version_num')::integer as version_number,
      current_setting('server_encoding') as encoding,
      current_setting('fsync') as fsync,
      current_setting('full_page_writes') as full_page_writes,
      pg_is_in_recovery() as in_recovery,
      current_setting('transaction_read_only')::boolean as is_read_only,
      clock_timestamp() as now
  `);
  const server = rows[0]!;
  const findings = [
    server.version_number >= OLDEST_VERSION
      ? ok("server", `PostgreSQL ${server.version} (${context.database.kind}) is running.`)
      : fail("server", `PostgreSQL ${server.version} is too old.`, "Use PostgreSQL 15 or newer."),
  ];
  if (server.encoding !== "UTF8")
    findings.push(
      fail(
        "encoding",
        `The database's encoding is ${server.encoding}.`,
        "Create a database with encoding UTF8 and move the data there.",
      ),
    );
  if (server.fsync === "off" || server.full_page_writes === "off")
    findings.push(
      warn("durability", "fsync or full_page_writes is off: a crash can destroy the data.", "Turn both on."),
    );
  if (server.in_recovery)
    findings.push(fail("primary", "The server is a read-only replica.", "Point the URLs at the primary."));
  else if (server.is_read_only)
    findings.push(
      fail(
        "read-only",
        "The database is read-only.",
        "Set default_transaction_read_only off, for the database and its roles.",
      ),
    );
  // The server read its clock at some time between the question and the answer, which may be late.
  const difference = Math.max(asked - server.now.getTime(), server.now.getTime() - Date.now());
  if (difference > MAX_CLOCK_DIFFERENCE_MS)
    findings.push(
      warn(
        "clock",
        `The server's clock differs by ${Math.round(difference / 1000)} s.`,
        "Run NTP on both machines.",
      ),
    );
  if (context.database.kind === "external") findings.push(...(await checkConnections(context)));
  return findings;
};

interface Connection {
  readonly ssl: boolean;
  readonly session_user: string;
  readonly database: string;
  /** The same at a primary and its replicas, and another in each other database. */
  readonly identity: string;
}

const CONNECTION = `
  select
    coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as ssl,
    session_user,
    d.datname as database,
    concat_ws(' ', d.oid, (select oid from pg_namespace where nspname = 'identity')) as identity
  from pg_database d
  where d.datname = current_database()`;

/** Returns a finding for a URL that leads to another database, or signs in as another role. The owner may have any name. */
function misdirected(
  check: string,
  role: LoginRole,
  found: Connection,
  examined: Connection & { readonly rolePrefix: string },
): Finding | undefined {
  const setting = `PLINTH_${role.toUpperCase()}_URL`;
  if (found.identity !== examined.identity)
    return fail(
      check,
      `${setting} leads to another database (${found.database}) than the other URLs (${examined.database}).`,
      "Set the same host and database in all PLINTH_…_URL variables.",
    );
  const wanted = roleName(examined.rolePrefix, role);
  const others = LOGIN_ROLES.filter((each) => each !== "owner").map((each) =>
    roleName(examined.rolePrefix, each),
  );
  const isRight = role === "owner" ? !others.includes(found.session_user) : found.session_user === wanted;
  if (isRight) return undefined;
  return fail(
    check,
    `${setting} signs in as ${found.session_user} instead of ${role === "owner" ? "the owner" : wanted}.`,
    `Set the user of ${setting}; PLINTH_ROLE_PREFIX names the roles.`,
  );
}

/** Checks for each configured URL whether it connects, as which role and to which database, and whether the connection is encrypted. */
async function checkConnections({ config, client }: DoctorContext): Promise<Finding[]> {
  const findings: Finding[] = [];
  const { rows: own } = await client.query<Connection>(CONNECTION);
  const examined = own[0]!;
  for (const role of LOGIN_ROLES) {
    const url = config.databaseUrls[role];
    const check = `connection-${role}`;
    if (!url) {
      findings.push(skipped(check, `PLINTH_${role.toUpperCase()}_URL is not set here.`));
      continue;
    }
    try {
      const { rows } = await withConnection(
        { connectionString: url, connectionTimeoutMillis: 10_000 },
        (client) => client.query<Connection>(CONNECTION),
      );
      findings.push(
        misdirected(check, role, rows[0]!, { ...examined, rolePrefix: config.rolePrefix }) ??
          describeConnection(check, url, rows[0]!.ssl),
      );
    } catch (error) {
      const known = explainError(error);
      const hint = known?.hint ?? "Check this URL.";
      findings.push(
        fail(check, known?.message ?? String(error), `PLINTH_${role.toUpperCase()}_URL: ${hint}`),
      );
    }
  }
  return findings;
}

function checksCertificate(sslMode: SslMode, root: string | undefined): boolean {
  return sslMode.startsWith("verify-") || (sslMode === "require" && root !== undefined);
}

/** Checks whether a connection to another machine is encrypted. */
export function describeConnection(check: string, url: string, encrypted: boolean): Finding {
  const { hosts, sslMode, sslFiles } = parseDatabaseUrl(url);
  const names = hostNames({ hosts });
  if (hosts.every(({ host }) => isLocal(host))) return ok(check, "connects, on this machine");
  if (!encrypted)
    return warn(
      check,
      `The connection to ${names} is not encrypted: others on the network can read passwords and data.`,
      "Add ?sslmode=verify-full to the URL (with sslrootcert=… for a private certificate authority).",
    );
  if (sslMode !== undefined && !checksCertificate(sslMode, sslFiles.root))
    return warn(
      check,
      `sslmode=${sslMode} does not check the certificate of ${names}: another server could take its place.`,
      "Use sslmode=verify-full (with sslrootcert=… for a private certificate authority).",
    );
  return ok(check, "connects, encrypted");
}
