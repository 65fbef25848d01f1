import { randomBytes } from "node:crypto";
import pg from "pg";
import { ALL_LOGIN_ROLES, type AnyLoginRole, COMPAT_ROLES, ROLES, roleName } from "../config/roles.ts";
import { runBootstrap } from "./bootstrap.ts";
import { withConnection } from "./connection.ts";
import { dropDatabase } from "./drop-database.ts";

/** An empty database with its own roles, for tests. */
export interface ScratchDatabase {
  readonly name: string;
  readonly rolePrefix: string;
  /** Connection URL for a role; it contains the role's password. */
  url(role: AnyLoginRole): string;
  /** Drops the database and its roles. */
  drop(): Promise<void>;
}

/**
 * Creates a database and roles with unique names. Leaves everything else on the server alone.
 * @param rootUrl any database of the server, as a superuser or a role with CREATEDB and CREATEROLE
 * @param family first part of the name
 */
export async function createScratchDatabase(
  rootUrl: string,
  family = "plinth_scratch",
): Promise<ScratchDatabase> {
  const rolePrefix = `${family}_${randomBytes(6).toString("hex")}`;
  const passwords = Object.fromEntries(
    ALL_LOGIN_ROLES.map((role) => [role, randomBytes(24).toString("base64url")]),
  ) as Record<AnyLoginRole, string>;
  const scratch: ScratchDatabase = {
    name: rolePrefix,
    rolePrefix,
    url: (role) => databaseUrl(rootUrl, rolePrefix, roleName(rolePrefix, role), passwords[role]),
    drop: () => asRoot(rootUrl, (client) => dropAll(client, rolePrefix)),
  };
  await asRoot(rootUrl, (client) => client.query(`create database ${pg.escapeIdentifier(rolePrefix)}`));
  try {
    await asRoot(databaseUrl(rootUrl, rolePrefix), (client) =>
      runBootstrap(client, { prefix: rolePrefix, ownerIsCurrentUser: false, passwords }),
    );
  } catch (error) {
    await scratch.drop();
    throw error;
  }
  return scratch;
}

/** Returns the URL with another database and, if given, another user. */
export function databaseUrl(url: string, database: string, user?: string, password?: string): string {
  const result = new URL(url);
  result.pathname = `/${encodeURIComponent(database)}`;
  if (user !== undefined) result.username = encodeURIComponent(user);
  if (password !== undefined) result.password = encodeURIComponent(password);
  return result.href;
}

function asRoot<T>(connectionString: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  return withConnection({ connectionString }, use);
}

async function dropAll(client: pg.Client, prefix: string): Promise<void> {
  await dropDatabase(client, prefix);
  for (const role of [...ROLES, ...COMPAT_ROLES])
    await client.query(`drop role if exists ${pg.escapeIdentifier(roleName(prefix, role))}`);
}
