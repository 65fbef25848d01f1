import pg from "pg";
import { type DatabaseUrl, type Host, hostName, type SessionAttributes } from "./database-url.ts";
import type { Tls } from "./tls.ts";

/** A single host, with TLS or without. */
export interface Way extends Host {
  readonly tls: Tls | undefined;
}

interface ServerState {
  readonly is_standby: boolean;
  readonly is_read_only: boolean;
}

/** A host that takes longer counts as unreachable, as libpq's connect_timeout has it. */
const HOST_TIMEOUT_MS = 3_000;

/** No host of the URL answers in the state that target_session_attrs names. */
class NoSuitableHost extends Error {
  readonly code = "NO_SUITABLE_HOST";
}

/** All ways to connect that a URL allows, in libpq's order: each host with each way of TLS. */
export function waysOf({ hosts }: DatabaseUrl, tls: readonly Tls[] | undefined): Way[] {
  return hosts.flatMap((host) => (tls ?? [undefined]).map((each) => ({ ...host, tls: each })));
}

/**
 * Tries the ways on short connections of their own and returns the first whose server is in the state that the URL asks for.
 * @throws NoSuitableHost; the server's error, if it rejects the user or the database, since the other hosts would too
 */
export async function chooseWay(
  { sessionAttributes, balancesHosts, connectTimeoutSeconds }: DatabaseUrl,
  ways: readonly Way[],
  configFor: (way: Way) => pg.ClientConfig,
): Promise<Way> {
  const reasons: string[] = [];
  const errors: unknown[] = [];
  const connectionTimeoutMillis = connectTimeoutSeconds ? connectTimeoutSeconds * 1_000 : HOST_TIMEOUT_MS;
  let anyWay: Way | undefined;
  for (const way of balancesHosts ? shuffled(ways) : ways) {
    try {
      const state = await readState({ ...configFor(way), connectionTimeoutMillis });
      if (fits(sessionAttributes, state)) return way;
      anyWay ??= way;
      reasons.push(`${hostName(way)} is ${describe(state)}`);
    } catch (error) {
      if (isFinal(error) && !ways.some((other) => other !== way && isSameHost(other, way))) throw error;
      errors.push(error);
      reasons.push(`${hostName(way)}: ${(error as Error).message || (error as { code?: string }).code}`);
    }
  }
  if (sessionAttributes === "prefer-standby" && anyWay) return anyWay;
  // The reason of the only host is clearer than a list of one.
  if (errors.length === ways.length && ways.every((way) => isSameHost(way, ways[0]!))) throw errors.at(-1);
  throw new NoSuitableHost(`No host accepts ${sessionAttributes} sessions: ${reasons.join("; ")}`, {
    cause: errors[0],
  });
}

async function readState(config: pg.ClientConfig): Promise<ServerState> {
  const client = new pg.Client(config);
  client.on("error", () => {});
  try {
    await client.connect();
    const { rows } = await client.query<ServerState>(
      `select pg_catalog.pg_is_in_recovery() as is_standby,
         pg_catalog.current_setting('transaction_read_only')::boolean as is_read_only`,
    );
    return rows[0]!;
  } finally {
    void client.end().catch(() => {});
  }
}

function fits(attributes: SessionAttributes, { is_standby, is_read_only }: ServerState): boolean {
  switch (attributes) {
    case "any":
      return true;
    case "read-write":
      return !is_read_only;
    case "read-only":
      return is_read_only;
    case "primary":
      return !is_standby;
    case "standby":
    case "prefer-standby":
      return is_standby;
  }
}

function describe({ is_standby, is_read_only }: ServerState): string {
  if (is_standby) return "a standby";
  return is_read_only ? "read-only" : "a primary";
}

/** The user, its password or the database is wrong. */
function isFinal(error: unknown): boolean {
  return /^(28|3D)/.test(String((error as { code?: unknown }).code));
}

function isSameHost(one: Host, other: Host): boolean {
  return one.host === other.host && one.port === other.port;
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .sort((one, other) => one.at - other.at)
    .map(({ item }) => item);
}
