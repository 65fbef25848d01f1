import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../config/config.ts";
import { type LoginRole, roleName } from "../config/roles.ts";
import { PlinthError } from "../support/errors.ts";
import { findHolder, LockHeld } from "./embedded/lock.ts";
import { type EmbeddedOptions, hasData, lockPath, openEmbedded } from "./embedded/server.ts";
import { embeddedUrl } from "./embedded/url.ts";
import { readSecrets } from "./secrets.ts";

/** The database that Plinth works on, wherever it is. */
export interface Database {
  readonly kind: "embedded" | "external";
  /**
   * Connection URL for a role; it may hold a password.
   * @throws PlinthError DATABASE_URL_MISSING naming the variable, where an external server has none for the role
   */
  url(role: LoginRole): string;
  /** Stops the server if this process started it; can be called again. */
  close(): Promise<void>;
  /** Resolves with a sentence if the server this process started stops without close(); never for another one. */
  readonly died: Promise<string>;
}

export interface OpenOptions {
  /** Told about steps that take a while. */
  readonly log?: (line: string) => void;
  /** Further settings of the embedded server, as after `postgres -c`; see EmbeddedOptions. */
  readonly settings?: EmbeddedOptions["settings"];
}

/** What a database needs to know from the configuration. */
export type DatabaseConfig = Pick<Config, "dataDirectory" | "rolePrefix" | "embeddedPort" | "databaseUrls">;

/**
 * For a process that stays: starts the embedded server and holds its data folder, or describes the external server.
 * @throws LockHeld (DATA_LOCKED) if another Plinth uses the folder; PlinthError saying what is in the way
 */
export async function openDatabase(config: DatabaseConfig, options: OpenOptions = {}): Promise<Database> {
  if (isExternal(config)) return externalDatabase(config);
  return startEmbedded(config, { ...options, purpose: "server" });
}

const STARTING_MS = 60_000;
const COMMAND_MS = 600_000;
const POLL_MS = 100;

/**
 * For a command that ends soon: uses the embedded server of a running Plinth, or starts it for as long as the command
 * takes. While another command has started it, this one waits its turn: that server ends with its command.
 * @throws LockHeld (DATA_LOCKED) if the turn does not come; PlinthError saying what is in the way
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
 * The external server, or the embedded one of a Plinth that runs; starts nothing.
 * @throws PlinthError DATABASE_NOT_RUNNING
 */
export async function runningDatabase(config: DatabaseConfig): Promise<Database> {
  if (isExternal(config)) return externalDatabase(config);
  const holder = await findHolder(lockPath(config.dataDirectory));
  if (holder?.purpose === "server" && holder.databasePort) return attached(config, holder.databasePort);
  throw new PlinthError("DATABASE_NOT_RUNNING", `No Plinth runs on the data in ${config.dataDirectory}.`, {
    hint: "Start it (plinth start), or name the folder of the one that runs with PLINTH_DATA.",
  });
}

/**
 * For what works on a database that is there: in a wrong folder it would make a new, empty one and report about that.
 * @throws PlinthError NO_DATABASE
 */
export function assertHasDatabase(config: DatabaseConfig): void {
  const { dataDirectory } = config;
  if (isExternal(config) || hasData(dataDirectory)) return;
  throw new PlinthError("NO_DATABASE", `There is no database in ${dataDirectory}.`, {
    hint:
      "Name the folder of yours with PLINTH_DATA, or a server of your own with PLINTH_OWNER_URL and its like. " +
      "To make a database here, run plinth start or plinth migrate.",
  });
}

/** Whether the database is on a server of somebody's own, and not the embedded one. */
export function isExternal({ databaseUrls }: Pick<Config, "databaseUrls">): boolean {
  return Object.keys(databaseUrls).length > 0;
}

async function startEmbedded(config: DatabaseConfig, options: EmbeddedOptions): Promise<Database> {
  const server = await openEmbedded(config, options);
  return { kind: "embedded", url: server.url, close: server.close, died: server.died };
}

function attached({ dataDirectory, rolePrefix }: DatabaseConfig, port: number): Database {
  const secrets = readSecrets(dataDirectory);
  if (!secrets)
    throw new PlinthError(
      "SECRETS_MISSING",
      `${dataDirectory} lacks the secrets.json of the running Plinth.`,
      {
        hint: "Restore the file from a backup of the data folder.",
      },
    );
  return {
    kind: "embedded",
    url: (role) => embeddedUrl(port, roleName(rolePrefix, role), secrets.passwords[role]),
    close: async () => {},
    died: new Promise(() => {}),
  };
}

/** URLs are handed on as they are, so what they say about TLS (sslmode, sslrootcert, …) holds. */
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
