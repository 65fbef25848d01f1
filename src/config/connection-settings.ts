import { InvalidDatabaseUrl, parseDatabaseUrl } from "../connection/database-url.ts";
import { PlinthError } from "../support/errors.ts";
import { type Environment, flag, integer, textOrFile } from "./environment.ts";
import { ALL_LOGIN_ROLES, type AnyLoginRole } from "./roles.ts";

/** Connections to the database and to its standbys. */
export interface ConnectionSettings {
  /** Connection URLs of an external server by role; none set means the embedded server. */
  readonly databaseUrls: Partial<Record<AnyLoginRole, string>>;
  /** The longest wait for a database that does not accept connections yet, at the start of a process. */
  readonly connectTimeoutSeconds: number;
  readonly pool: {
    /** Connections that stay open while they are used often. */
    readonly max: number;
    /** Further connections under load, which are closed when the others are enough. */
    readonly overflow: number;
    readonly connectionTimeoutMs: number;
    readonly idleTimeoutMs: number;
    readonly maxLifetimeSeconds: number;
    readonly statementTimeoutMs: number;
    /** Whether statements are prepared on the server by name; some poolers lose them. */
    readonly preparedStatements: boolean;
  };
  /** Standbys that queries of the API read from. */
  readonly replicas: {
    /** Connection URLs as the authenticator role. */
    readonly urls: readonly string[];
    /** The longest time that a read waits until a replica has everything that is committed. */
    readonly maxLagMs: number;
  };
  /** Waiting for locks that other sessions hold, in migrations and rollbacks. */
  readonly migrations: { readonly lockTimeoutMs: number; readonly waitSeconds: number };
}

export function connectionSettings(env: Environment): ConnectionSettings {
  return {
    databaseUrls: databaseUrls(env),
    connectTimeoutSeconds: integer(env, "PLINTH_CONNECT_TIMEOUT_SECONDS", 30, 0, 86_400),
    pool: {
      max: integer(env, "PLINTH_POOL_MAX", 20, 1, 1_000),
      overflow: integer(env, "PLINTH_POOL_OVERFLOW", 0, 0, 1_000),
      connectionTimeoutMs: integer(env, "PLINTH_POOL_CONNECTION_TIMEOUT_MS", 10_000, 1, 600_000),
      idleTimeoutMs: integer(env, "PLINTH_POOL_IDLE_TIMEOUT_MS", 30_000, 1, 86_400_000),
      maxLifetimeSeconds: integer(env, "PLINTH_POOL_MAX_LIFETIME_SECONDS", 3_600, 1, 604_800),
      statementTimeoutMs: integer(env, "PLINTH_STATEMENT_TIMEOUT_MS", 5_000, 1, 600_000),
      preparedStatements: flag(env, "PLINTH_PREPARED_STATEMENTS", true),
    },
    replicas: {
      urls: replicaUrls(env),
      maxLagMs: integer(env, "PLINTH_REPLICA_MAX_LAG_MS", 50, 1, 10_000),
    },
    migrations: {
      lockTimeoutMs: integer(env, "PLINTH_MIGRATION_LOCK_TIMEOUT_MS", 2_000, 1, 600_000),
      waitSeconds: integer(env, "PLINTH_MIGRATION_WAIT_SECONDS", 60, 0, 86_400),
    },
  };
}

/** `PLINTH_OWNER_URL`, `PLINTH_AUTHENTICATOR_URL`, … or files with them. A URL may contain a password, so no message contains it. */
function databaseUrls(env: Environment): Partial<Record<AnyLoginRole, string>> {
  const urls: Partial<Record<AnyLoginRole, string>> = {};
  for (const role of ALL_LOGIN_ROLES) {
    const name = `PLINTH_${role.toUpperCase()}_URL`;
    const value = textOrFile(env, name, "").trim();
    if (!value) continue;
    assertDatabaseUrl(value, `${name} must be a URL such as postgres://user:password@host:5432/database`);
    urls[role] = value;
  }
  return urls;
}

/** URLs separated by commas, which a URL of several hosts also contains. */
function replicaUrls(env: Environment): string[] {
  const urls = textOrFile(env, "PLINTH_REPLICA_URLS", "")
    .split(/,(?=\s*\w+:\/\/)/)
    .map((url) => url.trim())
    .filter(Boolean);
  const rule =
    "PLINTH_REPLICA_URLS must be URLs such as postgres://user:password@host:5432/database, separated by commas";
  for (const url of urls) {
    assertDatabaseUrl(url, rule);
    // A comma in the name of the database is a URL without its beginning.
    if (parseDatabaseUrl(url).database.includes(",")) throw new PlinthError("INVALID_SETTING", `${rule}.`);
  }
  return urls;
}

/** @throws PlinthError INVALID_SETTING with the rule and the fault, which contain no password */
function assertDatabaseUrl(url: string, rule: string): void {
  try {
    parseDatabaseUrl(url);
  } catch (cause) {
    if (!(cause instanceof InvalidDatabaseUrl)) throw cause;
    throw new PlinthError("INVALID_SETTING", `${rule}: ${cause.message}.`, { cause });
  }
}
