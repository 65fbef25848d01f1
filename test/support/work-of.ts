import { createHook } from "node:async_hooks";
import pg from "pg";
import { SET_SESSION_DEFAULTS } from "../../src/connection/session-defaults.ts";
import { SESSION_SETTINGS } from "../../src/request/pool.ts";

export interface Work {
  /** Statements of requests sent to the database by this process, in order. */
  readonly statements: readonly string[];
  /** Computations of native modules in other threads, such as argon2. */
  readonly native: number;
}

/** Node's name for the work of a native module that gives none. */
const NATIVE_WORK = "undefined";

/** Whether the connection runs the statements of requests. Others listen, probe and poll at times of their own. */
export function servesRequests(client: pg.Client): boolean {
  const { connectionParameters } = client as unknown as {
    connectionParameters: { application_name?: string };
  };
  return /^plinth-(api|service)$/.test(connectionParameters.application_name ?? "");
}

/** The work that a call causes in this process: unlike its time, it does not depend on other work of the machine. */
export async function workOf(call: () => Promise<unknown>): Promise<Work> {
  const statements: string[] = [];
  let native = 0;
  const hook = createHook({
    init: (_id, type) => {
      if (type === NATIVE_WORK) native += 1;
    },
  });
  const { query } = pg.Client.prototype;
  pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
    if (servesRequests(this)) statements.push(textOf(args));
    return (query as (...args: unknown[]) => unknown).apply(this, args);
  } as never;
  hook.enable();
  try {
    await call();
  } finally {
    hook.disable();
    pg.Client.prototype.query = query;
  }
  return { statements: statements.filter((statement) => !isAside(statement)), native };
}

type Connected = (error: Error | undefined, client: pg.PoolClient | undefined, release: unknown) => void;

/** The rate limit counts a block of requests ahead, at a time that depends on when its window began. */
const LEASE = /private\.lease_requests\(/;

/**
 * The statements of each connection that a call takes from a pool, which is one round trip each time. Connections that are taken only
 * for asides, such as a timer's own statement, are left out.
 */
export async function roundTripsOf(call: () => Promise<unknown>): Promise<string[][]> {
  const trips: string[][] = [];
  const tripOf = new WeakMap<object, string[]>();
  const { query } = pg.Client.prototype;
  const { connect } = pg.Pool.prototype;
  pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
    if (servesRequests(this)) tripOf.get(this)?.push(textOf(args));
    return (query as (...args: unknown[]) => unknown).apply(this, args);
  } as never;
  pg.Pool.prototype.connect = function (this: pg.Pool, connected?: Connected) {
    const trip: string[] = [];
    trips.push(trip);
    const begin = (client: pg.PoolClient | undefined) => {
      if (client) tripOf.set(client, trip);
    };
    if (!connected)
      return (connect as () => Promise<pg.PoolClient>).call(this).then((client) => {
        begin(client);
        return client;
      });
    return (connect as (connected: Connected) => void).call(this, (error, client, release) => {
      begin(client);
      connected(error, client, release);
    });
  } as never;
  try {
    await call();
  } finally {
    pg.Client.prototype.query = query;
    pg.Pool.prototype.connect = connect;
  }
  return trips.filter(
    (statements) => !statements.every((statement) => isAside(statement) || LEASE.test(statement)),
  );
}

/**
 * The processor time in milliseconds of this process during a call: the least of three, because a busy machine adds to it, and so do
 * the collection of garbage and the compilation of functions.
 */
export async function processorTimeOf(call: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 3; i++) {
    const before = process.cpuUsage();
    await call();
    const { user, system } = process.cpuUsage(before);
    times.push((user + system) / 1000);
  }
  return Math.min(...times);
}

function textOf([config]: readonly unknown[]): string {
  return typeof config === "string" ? config : String((config as { text?: string }).text);
}

/** Statements that no request waits for, and those that prepare a connection or a statement once. */
export function isAside(statement: string): boolean {
  return (
    statement === "" ||
    statement === SET_SESSION_DEFAULTS ||
    statement === SESSION_SETTINGS ||
    /^select (set_config|pg_notify)\(|private\.(record_error|touch_sessions)/.test(statement)
  );
}
