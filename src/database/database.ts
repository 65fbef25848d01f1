import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../config/config.ts";
import { type AnyLoginRole, roleName } from "../config/roles.ts";
import { PlinthError } from "../support/errors.ts";
import { findHolder, LockHeld } from "./embedded/lock.ts";
import { type EmbeddedOptions, hasData, lockPath, openEmbedded } from "./embedded/server.ts";
import { embeddedUrl } from "./embedded/url.ts";
import { readSecrets } from "./secrets.ts";

/** The database that Plinth uses, embedded or external. */
export interface Database {
  readonly kind: "embedded" | "external";
  /**
   * Connection URL for a role; it may contain a password.
   * @throws PlinthError DATABASE_URL_MISSING naming the variable, if an external server has no URL for the role
   */
  url(role: AnyLoginRole): string;
  /** URL of the embedded server's superuser, for backups only. */
  readonly adminUrl?: string;
  /** Stops the server if this process started it; can be called again. */
  close(): Promise<void>;
  /** Resolves with a sentence if the server this process started stops without close(); never for another one. */
  readonly died: Promise<string>;
}

export interface OpenOptions {
  /** Called with progress messages of long steps. */
  readonly log?: (line: string) => void;
  /** Further settings of the embedded server, as after `postgres -c`; see EmbeddedOptions. */
  readonly settings?: EmbeddedOptions["settings"];
}

/** The part of the configuration that a database needs. */
export type DatabaseConfig = Pick<Config, "dataDirectory" | "rolePrefix" | "embeddedPort" | "databaseUrls"> &
  Partial<Pick<Config, "backups">>;

/**
 * For a long-running process: starts the embedded server and locks its data folder, or describes the external server.
 * @throws LockHeld (DATA_LOCKED) if another Plinth uses the folder; PlinthError with the reason
 */
export async function openDatabase(config: DatabaseConfig, options: OpenOptions = {}): Promise<Database> {
  if (isExternal(config)) return externalDatabase(config);
  return startEmbedded(config, { ...options, purpose: "server" });
}

const STARTING_MS = 60_000;
const COMMAND_MS = 600_000;
const POLL_MS = 100;

/**
 * For a short command: uses the embedded server of a running Plinth, or starts it for the duration of the command. If another
 * command has started it, this one waits, because that server ends with its command.
 * @throws LockHeld (DATA_LOCKED) if the wait takes too long; PlinthError with the reason
 */
export async function attachDatabase(config: DatabaseConfig, options: OpenOptions = {}): Promise<Database> {
  if (isExternal(config)) return externalDatabase(config);
  const started = Date.now();
  let told = false;
  for (;;) {
    try {
      return await startEmbedded(config, { ...options, purpose: "command" });
    } catch (error) {
      if (!(error instanceof LockHeld) || !error.isHere) throw error;
      const { purpose, databasePort, pid } = error.holder;
      if (purpose === "server" && databasePort) return attached(config, databasePort);
      if (Date.now() - started > (purpose === "server" ? STARTING_MS : COMMAND_MS)) throw error;
      if (!told)
        options.log?.(
          `Waiting for process ${pid}, which ${purpose === "server" ? "starts" : "uses"} the database`,
        );
      told = true;
    }
    await sleep(POLL_MS);
  }
}

/**
 * Returns the external server, or the embedded one of a running Plinth. Starts nothing.
 * @throws PlinthError DATABASE_NOT_RUNNING
 */
export async function runningDatabase(config: DatabaseConfig): Promise<Database> {
  if (isExternal(config)) return externalDatabase(config);
  const holder = await findHolder(lockPath(config.dataDirectory));
  if (holder?.purpose === "server" && holder.databasePort) return attached(config, holder.databasePort);
  throw new PlinthError(
    "DATABASE_NOT_RUNNING",
    `No Plinth is running on the data in ${config.dataDirectory}.`,
    {
      hint: "Start it (plinth start), or set PLINTH_DATA to the folder of the running one.",
    },
  );
}

/**
 * For commands that need an existing database. In a wrong folder, they would otherwise create an empty database and use that.
 * @throws PlinthError NO_DATABASE
 */
export function assertHasDatabase(config: DatabaseConfig): void {
  const { dataDirectory } = config;
  if (isExternal(config) || hasData(dataDirectory)) return;
  throw new PlinthError("NO_DATABASE", `${dataDirectory} contains no database.`, {
    hint:
      "Set PLINTH_DATA to your data folder, or PLINTH_OWNER_URL and the other URLs to your own server. " +
      "To create a database here, run plinth start or plinth migrate.",
  });
}

/** Whether the database is on an external server instead of the embedded one. */
export function isExternal({ databaseUrls }: Pick<Config, "databaseUrls">): boolean {
  return Object.keys(databaseUrls).length > 0;
}

async function startEmbedded(config: DatabaseConfig, options: EmbeddedOptions): Promise<Database> {
  const server = await openEmbedded(config, options);
  return {
    kind: "embedded",
    url: server.url,
    adminUrl: server.superuserUrl(),
    close: server.close,
    died: server.died,
  };
}

function attached({ dataDirectory, rolePrefix }: DatabaseConfig, port: number): Database {
  const secrets = readSecrets(dataDirectory);
  if (!secrets)
    throw new PlinthError(
      "SECRETS_MISSING",
      `${dataDirectory} does not contain the secrets.json of the running Plinth.`,
      {
        hint: "Restore the file from a backup of the data folder.",
      },
    );
  return {
    kind: "embedded",
    url: (role) => embeddedUrl(port, roleName(rolePrefix, role), secrets.passwords[role]),
    adminUrl: embeddedUrl(port, "postgres", secrets.passwords.superuser),
    close: async () => {},
    died: new Promise(() => {}),
  };
}

/** URLs are passed on unchanged, so their TLS parameters (sslmode, sslrootcert, …) apply. */
function externalDatabase({ databaseUrls }: DatabaseConfig): Database {
  return {
    kind: "external",
    url(role) {
      const url = databaseUrls[role];
      if (url) return url;
      throw new PlinthError("DATABASE_URL_MISSING", `This needs a connection as the ${role} role.`, {
        hint: `Set PLINTH_${role.toUpperCase()}_URL to postgres://user:password@host:5432/database.`,
      });
    },
    close: async () => {},
    died: new Promise(() => {}),
  };
}
