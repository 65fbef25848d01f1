import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { Pool } from "pg";
import { roleName } from "../../src/config/roles.ts";
import { createPool } from "../../src/request/pool.ts";
import { runStatement } from "../../src/request/transaction.ts";
import { connect, contents, listen, makeRoom, post, ROOM_EVENTS } from "../live/support.ts";
import { type Api, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { ALL_TRIALS, prepareFaults, randomTrial, tryFault } from "../support/faults.ts";
import { PATIENT_POOL } from "../support/patient-pool.ts";
import { KEEPS_STATEMENTS, PGBOUNCER_VERSION, type PgBouncer, startPgBouncer } from "../support/pgbouncer.ts";
import { makeRandom, SEED } from "../support/random.ts";

// The real PgBouncer in transaction mode, where it is installed (PGBOUNCER names another program). More clients than server
// connections, so that each transaction may get another one.

const SERVERS = 3;
const CLIENTS = 8;

let db: TestDatabase;
let bouncer: PgBouncer;

beforeAll(async () => {
  db = await createTestDatabase();
  await prepareFaults(db);
});
afterAll(() => db.drop());

const WAYS = [
  ["off", "false", 0, PGBOUNCER_VERSION !== undefined],
  ["on", "true", 100, KEEPS_STATEMENTS],
] as const;

describe.each(WAYS)(
  "with prepared statements %s, behind PgBouncer",
  (_how, flag, preparedStatements, canRun) => {
    const testHere = canRun ? test : test.skip;
    let pool: Pool;

    /** @param answerGraceMs if given, the client waits no longer than this for an answer */
    function openPool(answerGraceMs?: number): Pool {
      const settings = { ...PATIENT_POOL, preparedStatements: flag === "true" };
      return createPool({
        url: bouncer.db.url("authenticator"),
        applicationName: "pgbouncer test",
        max: CLIENTS,
        settings: answerGraceMs ? { ...settings, statementTimeoutMs: 0 } : settings,
        onError: () => {},
        ...(answerGraceMs && { answerGraceMs }),
      });
    }

    beforeEach(async () => {
      if (!canRun) return;
      bouncer = await startPgBouncer(db, { servers: SERVERS, preparedStatements });
      pool = openPool();
    });
    afterEach(async () => {
      if (!canRun) return;
      await pool.end();
      await bouncer.close();
    });

    testHere("a statement and its settings run on one server connection", async () => {
      const servers = new Set<number>();
      const statement = {
        name: "large",
        // Longer than PgBouncer's buffer, so that it gets the messages in pieces.
        text: `select current_user::text as role, current_setting('jwt.claims.user_id', true) as user_id,
               pg_backend_pid() as pid, length($1) as length from pg_sleep(0.001)`,
        values: ["x".repeat(100_000)],
      };
      const run = async (_: unknown, n: number) => {
        const settings = { role: roleName(db.rolePrefix, "user"), "jwt.claims.user_id": `user ${n}` };
        const { rows } = await runStatement<Record<string, unknown>>(pool, settings, statement);
        expect(rows).toEqual([
          { role: settings.role, user_id: `user ${n}`, length: 100_000, pid: expect.any(Number) },
        ]);
        servers.add(rows[0]!.pid as number);
      };
      // Until PgBouncer has opened all of its connections, which it does one after another.
      do await Promise.all(Array.from({ length: 600 }, run));
      while (servers.size < SERVERS);
      expect(servers.size).toBe(SERVERS);
    });

    testHere(`users see only their own claims through random faults (seed ${SEED})`, async () => {
      const random = makeRandom(SEED);
      const trials = [...ALL_TRIALS, ...Array.from({ length: 600 }, () => randomTrial(random))].entries();
      // The callers take the trials in turn.
      const callers = Array.from({ length: SERVERS }, async () => {
        for (const [i, trial] of trials)
          await tryFault({ pool, rolePrefix: db.rolePrefix }, trial, { faulty: `f${i}`, next: `n${i}` });
      });
      await Promise.all(callers);
    });

    testHere("a statement that its client no longer waits for leaves no claims behind", async () => {
      const impatient = openPool(200);
      const role = roleName(db.rolePrefix, "user");
      const abandoned = Array.from({ length: CLIENTS }, (_, n) =>
        runStatement(
          impatient,
          { role, "jwt.claims.user_id": `user ${n}` },
          { text: "select pg_sleep(600)" },
        ),
      );
      for (const { status } of await Promise.allSettled(abandoned)) expect(status).toBe("rejected");
      await impatient.end();
      const claims = "select current_setting('jwt.claims.user_id', true) as user_id";
      const seen = await Promise.all(Array.from({ length: 30 }, () => pool.query(claims)));
      expect(seen.map(({ rows }) => rows[0].user_id).filter(Boolean)).toEqual([]);
    });

    testHere("the API works, with snapshots, mutations and subscriptions", async () => {
      const api: Api = await startApi(bouncer.db, { PLINTH_PREPARED_STATEMENTS: flag });
      try {
        const users = await Promise.all(["ada", "bob", "eve"].map((name) => signUp(api, `${name}_${flag}`)));
        const query = `{ currentUser { username } chats { nodes { title } totalCount } }`;
        const create = `mutation ($title: String!) { createChat(input: { chat: { title: $title } }) { chat { title } } }`;
        await Promise.all(
          users.flatMap(({ token, userId }) =>
            Array.from({ length: 20 }, async (_, n) => {
              await api.ask(create, { token, variables: { title: `${userId} ${n}` } });
              const { data, errors } = await api.ask(query, { token });
              expect(errors).toBeUndefined();
              expect(data.chats.totalCount).toBe(data.chats.nodes.length);
              expect(
                data.chats.nodes.filter(({ title }: { title: string }) => !title.startsWith(userId)),
              ).toEqual([]);
            }),
          ),
        );
        const [ada, bob] = users;
        const room = await makeRoom(api, [ada!, bob!]);
        const clients = [connect(api, ada), connect(api, bob)];
        const heard = clients.map((client) => listen(client, ROOM_EVENTS, { room }));
        // A subscription's first answer has its position.
        await until(() => heard.every(({ answers }) => answers.length > 0));
        await post(api, bob!, room, "hello");
        await until(() => heard.every((events) => contents(events).includes("hello")));
        for (const client of clients) await client.dispose();
      } finally {
        await api.close();
      }
    });
  },
);

(PGBOUNCER_VERSION ? test : test.skip)(
  "the server refuses to start with prepared statements behind a PgBouncer that loses them",
  async () => {
    bouncer = await startPgBouncer(db, { servers: SERVERS, preparedStatements: 0 });
    try {
      await expect(startApi(bouncer.db)).rejects.toMatchObject({
        code: "PREPARED_STATEMENTS_LOST",
        hint: expect.stringContaining("PLINTH_PREPARED_STATEMENTS=false"),
      });
    } finally {
      await bouncer.close();
    }
  },
);
