import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { timetableOf } from "../../src/application/timetable.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { queuesOf } from "../../src/jobs/index.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { ended, giveTokens, modelAt, requestAnswer } from "../answerer/support.ts";
import { ask, MASTER_KEYS, SIGNING_KEYS, type SignedIn, signIn, signUp, until } from "../support/api.ts";
import { connectAs } from "../support/chat.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { says, startModelServer } from "../support/model-server.ts";
import { Balancer, Load } from "../support/side-by-side/balancer.ts";
import application from "../support/side-by-side/plinth.config.ts";
import { type PlinthProcess, Processes } from "../support/side-by-side/processes.ts";
import { withGrowingLimit } from "../support/waiting.ts";

// The processes of deploy/compose.yaml on one database: two servers behind a load balancer, two workers and an answerer.

/** Longer than the balancer takes to notice, unless the machine stands still. */
const SHUTDOWN_DELAY_MS = 3_000;
/** Ends a wait that would never end. */
const HOPELESS = { timeoutMs: 300_000 };

let db: TestDatabase;
let ada: SignedIn;
let servers: PlinthProcess[];
let workers: PlinthProcess[];
let balancer: Balancer;
const processes = new Processes();

const owner = rowsAs("owner", () => db);

const serve = (delayMs = SHUTDOWN_DELAY_MS) =>
  processes.start(
    "serve",
    {
      PLINTH_AUTHENTICATOR_URL: db.url("authenticator"),
      PLINTH_SERVICE_URL: db.url("service"),
      PLINTH_ROLE_PREFIX: db.rolePrefix,
      PLINTH_JWT_KEYS: SIGNING_KEYS,
      PLINTH_MASTER_KEYS: MASTER_KEYS,
      PLINTH_PORT: "0",
      PLINTH_RATE_LIMIT_REQUESTS: "100000",
      PLINTH_SHUTDOWN_DELAY_SECONDS: String(delayMs / 1_000),
    },
    /listens on (\S+)\/graphql/,
  );
const work = () =>
  processes.start(
    "work",
    {
      PLINTH_WORKER_URL: db.url("worker"),
      PLINTH_ROLE_PREFIX: db.rolePrefix,
      PLINTH_CONFIG: join(PACKAGE_ROOT, "test/support/side-by-side/plinth.config.ts"),
    },
    /Running the jobs/,
  );
const answer = () =>
  processes.start(
    "answer",
    {
      PLINTH_SERVICE_URL: db.url("service"),
      PLINTH_ROLE_PREFIX: db.rolePrefix,
      PLINTH_MASTER_KEYS: MASTER_KEYS,
      PLINTH_LLM_PRIVATE_ADDRESSES: "127.0.0.0/8",
    },
    /Writing requested answers/,
  );

beforeAll(async () => {
  db = await createTestDatabase();
  await migrateDatabase({
    ownerUrl: db.url("owner"),
    rolePrefix: db.rolePrefix,
    queues: queuesOf(timetableOf(application)),
  });
  await owner("create schema side");
  await owner("create table side.runs (number integer not null)");
  await owner(`grant usage on schema side to ${db.rolePrefix}_worker`);
  await owner(`grant insert on side.runs to ${db.rolePrefix}_worker`);
  [servers, workers] = await Promise.all([
    Promise.all([serve(), serve()]),
    Promise.all([work(), work()]),
    answer(),
  ]);
  balancer = new Balancer(servers.map(({ announced }) => announced));
  ada = await signUp(balancer, "ada");
});
afterAll(async () => {
  await balancer?.close();
  await processes.killAll();
  await db.drop();
});

/** Queues jobs and waits until each has run and is marked as such: until then, the queue repeats the run of a worker that dies. */
async function runJobs(numbers: readonly number[]): Promise<void> {
  for (const number of numbers)
    await owner("select plinth.enqueue_job('record-run', to_jsonb($1::integer))", [number]);
  const done = async () =>
    (
      await owner(
        "select from plinth_jobs.job where name = 'record-run' and state = 'completed' and data::text::integer = any ($1)",
        [numbers],
      )
    ).length >= numbers.length;
  await until(done, { ...HOPELESS, everyMs: 100 });
}

async function expectStored({ acknowledged }: Load): Promise<void> {
  const rows = await owner<{ title: string }>("select title from llm.chats where user_id = $1", [ada.userId]);
  const stored = new Set(rows.map(({ title }) => title));
  expect(acknowledged.filter((title) => !stored.has(title))).toEqual([]);
}

test("loses no acknowledged write and runs each job once while a server and a worker are killed and restarted", async () => {
  const load = new Load(balancer, ada.token, "killed");
  const jobs = (async () => {
    await runJobs([1, 2, 3]);
    await workers[0]!.end("SIGKILL");
    await Promise.all([runJobs([4, 5]), work()]);
  })();
  await until(() => [0, 1].every((index) => balancer.answeredBy(index) >= 20), HOPELESS);
  await servers[0]!.end("SIGKILL");
  const before = load.acknowledged.length;
  await until(() => load.acknowledged.length >= before + 20, HOPELESS);
  servers[0] = await serve();
  balancer.replace(0, servers[0].announced);
  await until(() => balancer.answeredBy(0) >= 20, HOPELESS);
  await jobs;
  await load.stop();

  await expectStored(load);
  expect(load.refused).toEqual([]);
  expect(
    await owner("select number, count(*)::integer as runs from side.runs group by 1 order by 1"),
  ).toEqual([1, 2, 3, 4, 5].map((number) => ({ number, runs: 1 })));
});

test("writes a requested answer beside them", async () => {
  const provider = await startModelServer();
  provider.script(says(["A base."]));
  const user = await connectAs(db, ada.userId);
  try {
    await giveTokens(db, ada.userId);
    const { id } = await requestAnswer(user, await modelAt(db, provider.url));
    expect(await ended(user, id)).toMatchObject({ state: "complete", content: "A base." });
  } finally {
    await user.end();
    await provider.close();
  }
});

test("a session that ends on the server that was killed ends on the other [A15]", async () => {
  const { token } = await signIn(balancer, "ada");
  const [here, there] = servers.map(({ announced }) => announced) as [string, string];
  const isAccepted = async () => (await ask(there, "{ currentUser { id } }", { token })).status === 200;
  expect(await isAccepted()).toBe(true);
  await ask(here, "mutation { logout(input: {}) { result } }", { token });
  await until(async () => !(await isAccepted()));
});

test("a server that gets SIGTERM under load answers each request, and gets none after its probe fails", () =>
  withGrowingLimit(SHUTDOWN_DELAY_MS, async (delayMs) => {
    if (delayMs > SHUTDOWN_DELAY_MS) {
      servers[1] = await serve(delayMs);
      balancer.replace(1, servers[1].announced);
    }
    const load = new Load(balancer, ada.token, `stopped after ${delayMs}`);
    try {
      await stopUnderLoad(servers[1]!);
    } finally {
      await load.stop();
    }
    expect({ broken: load.broken, refused: load.refused }).toEqual({ broken: 0, refused: [] });
    await expectStored(load);
  }));

async function stopUnderLoad({ announced: url, end }: PlinthProcess): Promise<void> {
  await until(() => balancer.answeredBy(1) >= 20, HOPELESS);
  const readiness = async () => {
    const answer = await fetch(`${url}/readyz`);
    return { status: answer.status, body: (await answer.json()) as { closing?: true } };
  };
  const exit = end("SIGTERM");
  await until(async () => (await readiness()).body.closing === true);
  await until(() => !balancer.isReady(1));
  // It goes on answering clients that do not know yet, and ends their connections.
  expect(await readiness()).toMatchObject({
    status: 503,
    body: { closing: true, checks: { database: "ok" } },
  });
  const late = await ask(url, "{ currentUser { username } }", { token: ada.token });
  expect([late.data, late.headers.get("connection")]).toEqual([
    { currentUser: { username: "ada" } },
    "close",
  ]);
  const before = balancer.answeredBy(1);
  expect(await exit).toBe(0);
  // Requests that were under way when the probe failed.
  expect(balancer.answeredBy(1)).toBeLessThanOrEqual(before + 4);
}
