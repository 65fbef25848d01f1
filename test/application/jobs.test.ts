import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { timetableOf } from "../../src/application/timetable.ts";
import { startWorker, type Worker } from "../../src/jobs/index.ts";
import { listJobs } from "../../src/jobs/list-jobs.ts";
import { registerUser } from "../support/accounts.ts";
import { collectLog, until } from "../support/api.ts";
import { createShopDatabase, shop } from "../support/application/shop.ts";
import { type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
let worker: Worker | undefined;
const log: Record<string, unknown>[] = [];
beforeAll(async () => {
  db = await createShopDatabase();
});
afterEach(async () => {
  await worker?.close();
  worker = undefined;
});
afterAll(async () => {
  await db.drop();
});

const owner = <T = Record<string, unknown>>(sql: string, values: unknown[] = []): Promise<T[]> =>
  withClient(db.url("owner"), async (client) => (await client.query(sql, values)).rows as T[]);

const start = async (): Promise<void> => {
  worker = await startWorker({
    workerUrl: db.url("worker"),
    logger: collectLog(log),
    timetable: timetableOf(shop),
    pollingIntervalSeconds: 0.5,
  });
};

test("an order queues a job with its id, which the worker runs as its own role", async () => {
  const ada = await registerUser(db, "ada");
  const [order] = await owner<{ id: string }>(
    `with p as (insert into shop.products (product_name, price_cents) values ('Lamp', 100) returning id)
     insert into shop.orders (user_id, product_id, quantity) select $1, id, 1 from p returning id`,
    [ada],
  );
  expect(
    await owner("select data, state, retry_limit from plinth_jobs.job where name = 'thank-customer'"),
  ).toEqual([{ data: { orderId: order!.id }, state: "created", retry_limit: 5 }]);
  await start();
  const isThanked = async () =>
    (await owner("select from shop.orders where id = $1 and thanked_at is not null", [order!.id])).length ===
    1;
  await until(isThanked, { everyMs: 100 });
  await until(() => log.some(({ job, msg }) => job === "thank-customer" && msg === "Job done"));
  const listed = async () =>
    (await withClient(db.url("worker"), (client) => listJobs(client, timetableOf(shop)))).find(
      ({ name }) => name === "thank-customer",
    );
  // The queue stores the end of a job after the job has logged it.
  await until(async () => (await listed())?.lastState !== "active");
  expect(await listed()).toEqual({
    name: "thank-customer",
    schedule: null,
    lastRun: expect.any(Date),
    lastState: "completed",
    lastDurationMs: expect.any(Number),
    lastCounts: expect.objectContaining({}),
    lastError: null,
    nextRun: null,
    overdueSince: null,
    waiting: 0,
    failures: 0,
  });
});

test("jobs on demand wait in any number; a scheduled one waits once, and gets no payload of its schedule", async () => {
  const enqueue = async (name: string, payload: object | null = null) =>
    (await owner<{ id: string | null }>("select plinth.enqueue_job($1, $2) as id", [name, payload]))[0]!.id;
  const first = await enqueue("close-old-orders");
  expect([first, await enqueue("close-old-orders")]).toEqual([expect.any(String), null]);
  await owner("update plinth_jobs.queue set retry_limit = 0 where name = 'thank-customer'");
  expect(new Set([await enqueue("thank-customer"), await enqueue("thank-customer")]).size).toBe(2);
  await expect(enqueue("unknown")).rejects.toMatchObject({ code: "PL404" });
});

test("a job that fails for good is counted, and the schedules are those of the timetable", async () => {
  await start();
  const failures = async () =>
    (await withClient(db.url("worker"), (client) => listJobs(client, timetableOf(shop)))).find(
      ({ name }) => name === "thank-customer",
    )!.failures;
  // The two without a payload, which the test before queued.
  await until(async () => (await failures()) === 2, { everyMs: 100 });
  const schedules = await owner<{ name: string }>("select name from plinth_jobs.schedule");
  const names = schedules.map(({ name }) => name);
  expect(names).toContain("close-old-orders");
  expect(names).not.toContain("thank-customer");
});
