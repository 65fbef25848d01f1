import { expect } from "@jest/globals";
import type { Pool, PoolClient } from "pg";
import { roleName } from "../../src/config/roles.ts";
import { Snapshot } from "../../src/request/snapshot.ts";
import {
  runInTransaction,
  runStatement,
  type Statement,
  type StatementResult,
  type TransactionSettings,
} from "../../src/request/transaction.ts";
import { cutOff, type TestDatabase, withClient } from "./database.ts";
import type { makeRandom } from "./random.ts";

// Everything that can go wrong while a connection works for a user. Afterwards, its next user must find its own claims only.

type Random = ReturnType<typeof makeRandom>;
type Run = (
  pool: Pool,
  settings: TransactionSettings,
  statement: Statement,
) => Promise<StatementResult<unknown>>;

/** The ways in which requests use a connection. */
const WAYS: Readonly<Record<string, Run>> = {
  alone: runStatement,
  "in a transaction": (pool, settings, statement) =>
    runInTransaction(pool, settings, async (client) => {
      const [result] = await Promise.all([client.query(statement), client.query(WHO_AM_I)]);
      return result;
    }),
  "in a snapshot": async (pool, settings, statement) => {
    const snapshot = new Snapshot(pool, settings);
    try {
      const [result, sibling] = await Promise.allSettled([
        snapshot.read(statement),
        snapshot.read<Claims>(WHO_AM_I),
      ]);
      if (sibling.status === "fulfilled") expectClaims(sibling.value.rows[0], settings);
      if (result.status === "rejected") throw result.reason;
      return result.value;
    } finally {
      snapshot.end();
    }
  },
};
const WAY_NAMES = Object.keys(WAYS);

interface Claims {
  readonly role: string;
  readonly user_id: string | null;
  readonly correlation_id: string | null;
}

const WHO_AM_I = {
  name: "who-am-i",
  text: `select current_user::text as role, current_setting('jwt.claims.user_id', true) as user_id,
           current_setting('plinth.correlation_id', true) as correlation_id`,
};

interface Fault {
  /** Added to the user's own settings. */
  readonly settings?: TransactionSettings;
  readonly statement: Statement;
  /** Whether the connection is cut off as soon as the statement is sent. */
  readonly cutsOff?: boolean;
  /** SQLSTATE of the error; without it, the statement succeeds or fails with its connection. */
  readonly code?: string;
}

const FAULTS: Readonly<Record<string, Fault>> = {
  "no fault": { statement: { text: "select 1" } },
  "an invalid setting": {
    settings: { statement_timeout: "soon" },
    statement: { text: "select 1" },
    code: "22023",
  },
  "an unknown role": { settings: { role: "no such role" }, statement: { text: "select 1" }, code: "22023" },
  "a statement that cannot be parsed": { statement: { text: "selec 1", name: "unparsable" }, code: "42601" },
  "a statement that fails": {
    statement: { text: "select 1 / $1::integer", values: [0], name: "divide" },
    code: "22012",
  },
  "a constraint that fails at commit": { statement: { text: "insert into public.fault_probes values (1)" } },
  "a timeout": {
    settings: { statement_timeout: "1" },
    statement: { text: "select pg_sleep(60)" },
    code: "57014",
  },
  "a cancellation": { statement: { text: "select public.cancel_me(), pg_sleep(60)" }, code: "57014" },
  "a connection ended by the server": { statement: { text: "select public.end_me(), pg_sleep(60)" } },
  "a connection lost before the answer": { statement: { text: "select pg_sleep(0.001)" }, cutsOff: true },
};

/** Creates what the faults need. */
export async function prepareFaults(db: TestDatabase): Promise<void> {
  const [authenticator, user] = [roleName(db.rolePrefix, "authenticator"), roleName(db.rolePrefix, "user")];
  await withClient(db.url("owner"), (owner) =>
    owner.query(`
      create table public.fault_parents (id integer primary key);
      create table public.fault_probes (
        parent_id integer references public.fault_parents deferrable initially deferred
      );
      grant usage on schema public to ${user};
      grant insert on public.fault_probes to ${user};
      grant create on schema public to ${authenticator}`),
  );
  // The role of a connection may signal it.
  await withClient(db.url("authenticator"), (client) =>
    client.query(`
      create function public.cancel_me() returns boolean language sql security definer
        as 'select pg_cancel_backend(pg_backend_pid())';
      create function public.end_me() returns boolean language sql security definer
        as 'select pg_terminate_backend(pg_backend_pid())';
      grant execute on function public.cancel_me(), public.end_me() to ${user}`),
  );
}

/** A fault and the way in which a request meets it. */
export type Trial = readonly [fault: string, way: string];

export const ALL_TRIALS: readonly Trial[] = Object.keys(FAULTS).flatMap((fault) =>
  WAY_NAMES.map((way): Trial => [fault, way]),
);

/** Reconnecting is slow, so few random trials lose their connection. */
const QUICK_TRIALS = ALL_TRIALS.filter(([fault]) => !fault.startsWith("a connection"));

export function randomTrial(random: Random): Trial {
  const trials = random(20) === 0 ? ALL_TRIALS : QUICK_TRIALS;
  return trials[random(trials.length)]!;
}

/** Runs a trial for a user, then checks that the next statements of another user, and of none, see their own claims only. */
export async function tryFault(
  { pool, rolePrefix }: { pool: Pool; rolePrefix: string },
  trial: Trial,
  users: { faulty: string; next: string },
): Promise<void> {
  const [fault, way] = trial;
  const { statement, settings, cutsOff, code } = FAULTS[fault]!;
  const used = cutsOff ? losingConnections(pool) : pool;
  const outcome = WAYS[way]!(used, { ...asUser(rolePrefix, users.faulty), ...settings }, statement);
  if (code) expect([trial, await outcome.catch((error) => error.code)]).toEqual([trial, code]);
  else await outcome.catch(() => {});

  const own = asUser(rolePrefix, users.next);
  const { rows } = await WAYS[way]!(pool, own, WHO_AM_I);
  expectClaims(rows[0] as Claims, own);
  const { role, user_id, correlation_id } = (await pool.query<Claims>(WHO_AM_I.text)).rows[0]!;
  expect([trial, role]).toEqual([trial, roleName(rolePrefix, "authenticator")]);
  expect([user_id, correlation_id].filter(Boolean)).toEqual([]);
}

/** The same pool, whose connections are lost as soon as they are used. Other callers of the pool keep theirs. */
function losingConnections(pool: Pool): Pool {
  return Object.create(pool, {
    connect: {
      async value(): Promise<PoolClient> {
        const client = await pool.connect();
        setImmediate(() => cutOff(client));
        return client;
      },
    },
  });
}

function asUser(rolePrefix: string, id: string): TransactionSettings {
  return {
    role: roleName(rolePrefix, "user"),
    "jwt.claims.user_id": id,
    "plinth.correlation_id": `request of ${id}`,
    statement_timeout: "600000",
  };
}

function expectClaims(claims: Claims | undefined, settings: TransactionSettings): void {
  expect(claims).toEqual({
    role: settings.role,
    user_id: settings["jwt.claims.user_id"],
    correlation_id: settings["plinth.correlation_id"],
  });
}
