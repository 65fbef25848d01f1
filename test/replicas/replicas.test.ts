import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { checkReplicas } from "../../src/cli/doctor/replicas.ts";
import { loadConfig } from "../../src/config/config.ts";
import { type PlinthServer, startServer } from "../../src/http/server.ts";
import { createPool } from "../../src/request/pool.ts";
import { committedPosition, isNotReplayed } from "../../src/request/replicas/positions.ts";
import { ReplicaReads } from "../../src/request/replicas/replica-reads.ts";
import { grantRole } from "../support/accounts.ts";
import {
  type Answer,
  ask,
  collectLog,
  type SignedIn,
  send,
  serverOptions,
  signUp,
  until,
} from "../support/api.ts";
import { withClient } from "../support/database.ts";
import { type Primary, type Standby, startPrimary, startStandby } from "../support/standby.ts";

/** Fields of an application: which server answers, one that no standby can run, and a read that lasts on a standby. */
const APPLICATION = `
  create schema app authorization plinth_owner;
  grant usage on schema app to plinth_user, plinth_anonymous;
  create table app.items (id integer primary key);
  insert into app.items values (1), (2);
  grant select on app.items to plinth_user, plinth_anonymous;
  create function app.server_port() returns integer language sql stable as 'select inet_server_port()';
  create function app.notifying_port() returns integer language plpgsql stable as
    $$ begin perform pg_notify('any', ''); return inet_server_port(); end $$;
  create function app.slow_items() returns integer language plpgsql stable security definer as $$
    begin
      perform from app.items;
      if pg_is_in_recovery() then perform pg_sleep(4); end if;
      return (select count(*) from app.items);
    end $$;
  grant execute on all functions in schema app to plinth_user, plinth_anonymous;`;

const PORT = "{ serverPort }";

let primary: Primary;
let standbys: Standby[];
let server: PlinthServer;
let ada: SignedIn;
let bob: SignedIn;
const logLines: Record<string, unknown>[] = [];
const api = { ask: (query: string, options = {}) => ask(server.url, query, options) };

const replicaUrls = () => standbys.map((standby) => standby.url("authenticator")).join(", ");

beforeAll(async () => {
  primary = await startPrimary();
  await onPrimary(APPLICATION);
  const settings = { max_standby_streaming_delay: "0" };
  standbys = await Promise.all([startStandby(primary, settings), startStandby(primary, settings)]);
  server = await startServer({
    ...serverOptions(primary.db, { PLINTH_REPLICA_URLS: replicaUrls(), PLINTH_REPLICA_MAX_LAG_MS: "500" }),
    application: { schemas: ["app"] },
    logger: collectLog(logLines),
  });
  [ada, bob] = await Promise.all([signUp(api, "ada"), signUp(api, "bob")]);
});
afterAll(async () => {
  await server?.close();
  await Promise.all((standbys ?? []).map((standby) => standby.close()));
  await primary?.close();
});

const onPrimary = (sql: string, values: unknown[] = []) =>
  withClient(primary.db.adminUrl, (client) => client.query(sql, values));
const portOf = (url: string) => Number(new URL(url).port);
const primaryPort = () => portOf(primary.db.adminUrl);
const standbyPorts = () => standbys.map(({ adminUrl }) => portOf(adminUrl));

async function states(): Promise<string[]> {
  const { json } = await send(server.url, { method: "GET", path: "/readyz", body: null });
  return json.checks.replicas;
}

const untilStates = (...wanted: string[]) =>
  until(async () => (await states()).join() === wanted.join(), { everyMs: 20 });

async function answerTo(query: string, token?: string) {
  const { data, errors } = await api.ask(query, { token });
  expect(errors).toBeUndefined();
  return data;
}

/** A standby that the machine has let fall behind for a moment is not read. */
async function untilFromReplica(query = PORT): Promise<void> {
  await until(async () => standbyPorts().includes((await answerTo(query)).serverPort));
}

async function untilBothAnswer(): Promise<void> {
  await until(async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => answerTo(PORT)));
    const ports = new Set(answers.map((data) => data.serverPort));
    return standbyPorts().every((port) => ports.has(port));
  });
}

/** Codes of errors that replicas have returned so far. */
const sqlStates = () =>
  logLines
    .filter(({ msg }) => msg === "a read runs again on the primary")
    .map(({ err }) => (err as { code?: string } | undefined)?.code);

/** Replay is paused everywhere while `use` runs. */
async function withReplayPaused(use: () => Promise<void>): Promise<void> {
  await Promise.all(standbys.map((standby) => standby.pauseReplay()));
  try {
    await use();
  } finally {
    await Promise.all(standbys.map((standby) => standby.resumeReplay()));
  }
}

/** Asserts that a standby still has rows that the primary has deleted; otherwise the test would prove nothing. */
async function expectOnStandbys(sql: string, values: unknown[]): Promise<void> {
  for (const { adminUrl } of standbys)
    expect((await withClient(adminUrl, (client) => client.query(sql, values))).rowCount).toBe(1);
}

describe("with two standbys", () => {
  beforeAll(() => untilStates("in use", "in use"));
  afterEach(() => untilStates("in use", "in use"));

  test.each([
    ["planned", "query Planned { serverPort }", 1],
    ["compiled", "query Compiled { serverPort }", 6],
    ["of several statements", "query Several { serverPort items { totalCount } }", 6],
  ])("a query, %s, reads from a replica [A13]", async (_kind, query, times) => {
    for (let time = 0; time < times; time++) await untilFromReplica(query);
  });

  test("a query of the mounted API reads from a replica, and withUser from the primary", async () => {
    await until(async () => {
      const { data } = await server.execute({ claims: null, document: PORT });
      return standbyPorts().includes(data!.serverPort as number);
    });
    const own = await server.withUser(null, (client) => client.query("select app.server_port() as port"), {
      readOnly: true,
    });
    expect(own.rows).toEqual([{ port: primaryPort() }]);
  });

  test("concurrent queries read from both replicas", untilBothAnswer);

  test("a query that no standby can run reads from the primary, and is tried on a replica once", async () => {
    const tries = () => sqlStates().filter((code) => code === "25006").length;
    const readPort = async () =>
      expect(await answerTo("{ notifyingPort }")).toEqual({ notifyingPort: primaryPort() });
    while (tries() === 0) await readPort();
    for (let time = 0; time < 6; time++) await readPort();
    expect(tries()).toBe(1);
  });

  test("a query that a standby cancels for its replay runs again on the primary", async () => {
    const active = `select from pg_stat_activity where application_name = 'plinth-replica' and wait_event = 'PgSleep'`;
    const cancelled = () => sqlStates().filter((code) => code === "40001").length;
    const before = cancelled();
    let answer: Answer;
    // On a busy machine, a standby may be behind when the query starts, or the query may end before the replay reaches it.
    do {
      await onPrimary("insert into app.items values (1) on conflict do nothing");
      let isAnswered = false;
      const slow = api.ask("{ slowItems }").finally(() => {
        isAnswered = true;
      });
      await until(async () => {
        const counts = await Promise.all(
          standbys.map(({ adminUrl }) => withClient(adminUrl, (client) => client.query(active))),
        );
        return isAnswered || counts.some(({ rowCount }) => rowCount === 1);
      });
      await onPrimary("truncate app.items");
      answer = await slow;
    } while (cancelled() === before);
    expect(answer).toMatchObject({ data: { slowItems: 0 }, errors: undefined });
  });

  describe("while replay is paused", () => {
    test("a session reads its own writes, of this server and of others [A13]", () =>
      withReplayPaused(async () => {
        const mutation = `mutation { createRoom(input: { name: "den", roomType: group }) { result { id } } }`;
        const { data } = await api.ask(mutation, { token: ada.token });
        expect(await answerTo("{ myRooms { nodes { name } } }", ada.token)).toEqual({
          myRooms: { nodes: [{ name: "den" }] },
        });
        // Another server, a job or psql: this one hears nothing of it.
        await onPrimary("update rooms.chat_rooms set name = 'lair' where id = $1", [
          data.createRoom.result.id,
        ]);
        expect(await answerTo("{ myRooms { nodes { name } } }", ada.token)).toEqual({
          myRooms: { nodes: [{ name: "lair" }] },
        });
        await untilStates("behind", "behind");
        expect(await answerTo(PORT)).toEqual({ serverPort: primaryPort() });
      }));

    test("a removed member reads nothing of the room", async () => {
      const { data } = await api.ask(
        `mutation { createRoom(input: { name: "club", roomType: group }) { result { id } } }`,
        { token: ada.token },
      );
      const values = [data.createRoom.result.id, bob.userId];
      await onPrimary("insert into rooms.room_members (room_id, user_id) values ($1, $2)", values);
      const rooms = `{ rooms { totalCount } myRooms { nodes { name } } }`;
      await untilStates("in use", "in use");
      expect((await answerTo(rooms, bob.token)).myRooms.nodes).toEqual([{ name: "club" }]);
      await withReplayPaused(async () => {
        await onPrimary("delete from rooms.room_members where room_id = $1 and user_id = $2", values);
        await expectOnStandbys("select from rooms.room_members where room_id = $1 and user_id = $2", values);
        expect(await answerTo(rooms, bob.token)).toEqual({
          rooms: { totalCount: 0 },
          myRooms: { nodes: [] },
        });
      });
    });

    test("a connection that a load balancer leads to another standby is not read", () =>
      withReplayPaused(async () => {
        await onPrimary("insert into app.items values (7)");
        const { config } = serverOptions(primary.db);
        const [ahead, behind] = [primary.db.url("authenticator"), standbys[0]!.url("authenticator")].map(
          (url) => createPool({ url, applicationName: "test", max: 1, settings: config.pool, onError() {} }),
        );
        const position = await committedPosition(ahead!);
        const settings = { role: "plinth_anonymous" };
        const statement = { text: "select id from app.items" };
        for (const [at, isRead] of [
          [position, false],
          [0n, true],
        ] as const) {
          const reads = new ReplicaReads(behind!, at);
          const snapshot = reads.openSnapshot(settings);
          const results = await Promise.allSettled([
            reads.send(settings, statement),
            snapshot.read(statement),
          ]);
          snapshot.end();
          expect(results.map(({ status }) => status === "fulfilled")).toEqual([isRead, isRead]);
          expect(isNotReplayed(reads.failure)).toBe(!isRead);
        }
        await Promise.all([ahead!.end(), behind!.end()]);
      }));

    test("a user without the role any more reads nothing by it", async () => {
      for (const { userId } of [ada, bob]) await grantRole(primary.db, userId, "admin");
      const logs = `{ securityAuditLogs { totalCount } }`;
      await untilStates("in use", "in use");
      const before = (await answerTo(logs, bob.token)).securityAuditLogs.totalCount;
      const isAdmin = "user_id = $1 and role_id = (select id from access.roles where role_name = 'admin')";
      await withReplayPaused(async () => {
        await onPrimary(`delete from access.user_roles where ${isAdmin}`, [bob.userId]);
        await expectOnStandbys(`select from access.user_roles where ${isAdmin}`, [bob.userId]);
        expect((await answerTo(logs, bob.token)).securityAuditLogs.totalCount).toBeLessThan(before);
      });
    });
  });

  test("a replica that no longer answers ends no read with an error", async () => {
    // A write at the wrong moment has it left out before it gets a read.
    const ended = () => sqlStates().filter((code) => code === undefined).length;
    const before = ended();
    do {
      await untilBothAnswer();
      await standbys[1]!.freeze();
      try {
        await Promise.all(Array.from({ length: 20 }, () => answerTo(PORT)));
        await untilStates("in use", "unreachable");
      } finally {
        standbys[1]!.thaw();
      }
      await untilStates("in use", "in use");
    } while (ended() === before);
  });

  test("replicas killed under load and started again end no read with an error [A13]", async () => {
    const answered = new Map<number, number>();
    const failed: unknown[] = [];
    let isRunning = true;
    const clients = Array.from({ length: 8 }, async (_, i) => {
      while (isRunning) {
        const { data, errors } = await api.ask(i % 2 ? PORT : "{ serverPort items { totalCount } }");
        if (errors) failed.push(errors);
        else answered.set(data.serverPort, (answered.get(data.serverPort) ?? 0) + 1);
      }
    });
    const untilMoreFrom = (port: number) => {
      const before = answered.get(port) ?? 0;
      return until(() => (answered.get(port) ?? 0) > before + 20);
    };
    const [first, second] = standbyPorts();
    await untilMoreFrom(first!);
    await standbys[0]!.kill();
    await untilStates("unreachable", "in use");
    await untilMoreFrom(second!);
    await standbys[1]!.kill();
    await untilStates("unreachable", "unreachable");
    await untilMoreFrom(primaryPort());
    await Promise.all(standbys.map((standby) => standby.start()));
    await untilStates("in use", "in use");
    await untilMoreFrom(first!);
    isRunning = false;
    await Promise.all(clients);
    expect(failed).toEqual([]);
  });

  test("the log says when a replica is left out and when it returns", () => {
    const lines = logLines.filter(({ replica }) => replica === `127.0.0.1:${standbyPorts()[0]}`);
    expect(lines).toContainEqual(expect.objectContaining({ msg: "replica left out", state: "unreachable" }));
    expect(lines).toContainEqual(expect.objectContaining({ msg: "replica left out", state: "behind" }));
    expect(lines).toContainEqual(expect.objectContaining({ msg: "replica in use" }));
    expect(JSON.stringify(lines)).not.toContain(new URL(standbys[0]!.url("authenticator")).password);
  });

  test("queries read from replicas again when the primary has restarted", async () => {
    await primary.restart();
    const answersFromReplica = async () => {
      const { data } = await api.ask(PORT);
      return standbyPorts().includes(data?.serverPort);
    };
    await until(answersFromReplica);
  });

  test("each view of analytics answers the analyst on a standby", async () => {
    // So that no clean-up on the primary cancels a read.
    await withReplayPaused(() =>
      withClient(standbys[0]!.url("analyst"), async (client) => {
        const { rows } = await client.query<{ name: string }>(
          "select oid::regclass::text as name from pg_class where relnamespace = 'analytics'::regnamespace and relkind in ('v', 'm')",
        );
        expect(rows.length).toBeGreaterThan(5);
        for (const { name } of rows) await client.query(`select * from ${name}`);
      }),
    );
  });

  test("doctor names a replica that follows, and those that cannot be used", async () => {
    const url = standbys[0]!.url("authenticator");
    const urls = [
      url,
      standbys[0]!.url("service"),
      primary.db.url("authenticator"),
      "postgres://127.0.0.1:1/x",
    ];
    const config = loadConfig({ PLINTH_REPLICA_URLS: urls.join() });
    const findings = await withClient(primary.db.url("owner"), (client) =>
      checkReplicas({ config, client, role: "owner", database: { kind: "external" } as never }),
    );
    expect(findings.map(({ check, status, message }) => [check, status, message])).toEqual([
      ["replica-1", "warn", expect.stringContaining("hot_standby_feedback is off")],
      ["replica-2", "fail", expect.stringContaining("plinth_service")],
      ["replica-3", "fail", expect.stringContaining("not a standby")],
      ["replica-4", "fail", expect.stringContaining("127.0.0.1")],
    ]);
  });
});

test("a replica that is promoted is left out, and its rows are never read", async () => {
  const promoted = portOf(standbys[1]!.adminUrl);
  await standbys[1]!.promote();
  // Before any check has noticed.
  await withClient(standbys[1]!.adminUrl, (client) => client.query("insert into app.items values (99)"));
  const readsNone = async () => {
    for (const fields of ["", "items { totalCount }"]) {
      const { serverPort, item } = await answerTo(`{ serverPort item(id: 99) { id } ${fields} }`);
      expect([serverPort === promoted, item]).toEqual([false, null]);
    }
  };
  await readsNone();
  await untilStates("in use", "not a standby of the primary");
  await readsNone();
});
