import pg from "pg";
import { LOGIN_ROLES, type LoginRole, roleName } from "../../config/roles.ts";
import { runBootstrap } from "../bootstrap.ts";
import { withConnection } from "../connection.ts";
import { matchesVerifier, scramVerifier } from "../scram.ts";
import type { Secrets } from "../secrets.ts";
import type { Archiving } from "./archiving.ts";
import { type Cluster, dataArgument } from "./cluster.ts";
import { explainFailure } from "./explain.ts";
import { runProgram, settingArguments } from "./programs.ts";
import { EMBEDDED_DATABASE, embeddedUrl } from "./url.ts";

const INVALID_PASSWORD = "28P01";
const NO_SUCH_DATABASE = "3D000";
const ALREADY_EXISTS = "42P04";

/**
 * Creates or updates the roles, their passwords and the database of an embedded server.
 * @returns false if the server's superuser password differs from the one in the secrets
 * @throws pg.DatabaseError
 */
export async function prepareDatabase(
  port: number,
  passwords: Secrets["passwords"],
  prefix: string,
): Promise<boolean> {
  const superuser = (database: string) => ({
    connectionString: embeddedUrl(port, "postgres", passwords.superuser, database),
    application_name: "plinth start",
  });
  const bootstrap = async (client: pg.Client) => {
    const changed = await changedPasswords(client, passwords, prefix);
    await runBootstrap(client, { prefix, ownerIsCurrentUser: false, passwords: changed });
  };
  try {
    await withConnection(superuser(EMBEDDED_DATABASE), bootstrap);
  } catch (error) {
    if (hasCode(error, INVALID_PASSWORD)) return false;
    if (!hasCode(error, NO_SUCH_DATABASE)) throw error;
    await withConnection(superuser("postgres"), createDatabase);
    await withConnection(superuser(EMBEDDED_DATABASE), bootstrap);
  }
  return true;
}

async function createDatabase(client: pg.Client): Promise<void> {
  try {
    await client.query(`create database ${pg.escapeIdentifier(EMBEDDED_DATABASE)}`);
  } catch (error) {
    if (!hasCode(error, ALREADY_EXISTS)) throw error;
  }
}

/** Returns the passwords that the server does not have yet. Setting the others again would write to the disk at each start. */
async function changedPasswords(
  client: pg.Client,
  passwords: Secrets["passwords"],
  prefix: string,
): Promise<Partial<Record<LoginRole, string>>> {
  const { rows } = await client.query<{ name: string; verifier: string | null }>(
    "select rolname as name, rolpassword as verifier from pg_authid where rolname = any ($1)",
    [LOGIN_ROLES.map((role) => roleName(prefix, role))],
  );
  const verifiers = new Map(rows.map(({ name, verifier }) => [name, verifier]));
  const changed = LOGIN_ROLES.filter(
    (role) => !matchesVerifier(passwords[role], verifiers.get(roleName(prefix, role))),
  );
  return Object.fromEntries(changed.map((role) => [role, passwords[role]]));
}

/**
 * Sets the superuser's password to the one in the secrets, for data whose secrets were lost or replaced. Uses the single-user
 * mode, which needs no password; the server must be stopped.
 * @throws PlinthError with the reason that PostgreSQL failed
 */
export async function resetSuperuserPassword(
  cluster: Cluster,
  password: string,
  { settings }: Pick<Archiving, "settings"> = { settings: {} },
): Promise<void> {
  const { binaries, dataDirectory, folder, runAs } = cluster;
  const { status, output } = await runProgram(
    binaries.postgres,
    // With archiving off, its checkpoint would delete WAL that still waits for the archive.
    ["--single", "-D", dataArgument(folder, runAs), ...settingArguments(settings), "postgres"],
    {
      runAs,
      cwd: folder,
      input: `alter role postgres password ${pg.escapeLiteral(scramVerifier(password))};\n`,
    },
  );
  if (status !== 0 || /\bERROR:/.test(output))
    throw explainFailure("The database's passwords could not be set", output, { dataDirectory });
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof pg.DatabaseError && error.code === code;
}
