import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { loadConfig } from "../../src/config/config.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { killConnections } from "../live/support.ts";
import { registerUser } from "../support/accounts.ts";
import { MASTER_KEYS, until } from "../support/api.ts";
import { connect, connectAs, expireLease, type UserConnection } from "../support/chat.ts";
import type { TestDatabase } from "../support/database.ts";
import { brokenLawsAt } from "../support/ledger.ts";
import { type ModelServer, says, saysForever, startModelServer } from "../support/model-server.ts";
import {
  answererOf,
  createAnswererDatabase,
  ended,
  giveTokens,
  LOOPBACK,
  modelAt,
  PATIENT,
  readMessage,
  requestAnswer,
} from "./support.ts";

// Several answerers, killed at the worst moments.

let db: TestDatabase;
let provider: ModelServer;
let ada: UserConnection;
let model: string;
let owner: Awaited<ReturnType<typeof connect>>;
let service: Awaited<ReturnType<typeof connect>>;
const children: ChildProcess[] = [];
beforeAll(async () => {
  db = await createAnswererDatabase();
  provider = await startModelServer();
  const id = await registerUser(db, "ada");
  await giveTokens(db, id);
  ada = await connectAs(db, id);
  model = await modelAt(db, provider.url);
  owner = await connect(db, "owner");
  service = await connect(db, "service");
});
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await provider.close();
  for (const connection of [ada, owner, service]) await connection.end();
  await db.drop();
});
afterEach(async () => {
  provider.calls.length = 0;
  expect(await brokenLawsAt(db.url("owner"))).toEqual([]);
});

const USAGE = { prompt_tokens: 10, completion_tokens: 5 };

/** Usage events and the state of the hold of an answer. */
const charges = (id: string) =>
  owner.rows(
    `select e.input_tokens::integer as input, e.output_tokens::integer as output
     from billing.token_holds h join billing.usage_events e on e.hold_id = h.id
     where h.idempotency_key = 'turn:' || $1::text`,
    [id],
  );

/** Starts an answerer in another process. */
async function startProcess(): Promise<ChildProcess> {
  const options = {
    serviceUrl: db.url("service"),
    masterKeys: MASTER_KEYS,
    pool: loadConfig(PATIENT).pool,
    concurrency: 10,
    providerRules: LOOPBACK,
  };
  const child = spawn(
    process.execPath,
    [join(PACKAGE_ROOT, "test/support/answerer-process.ts"), JSON.stringify(options)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  children.push(child);
  await once(child.stdout!, "data");
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

test("an answerer that is killed before the first piece is replaced, and the answer is charged once", async () => {
  provider.script(() => {}, says(["ok"], USAGE));
  const child = await startProcess();
  const { id } = await requestAnswer(ada, model);
  await until(async () => provider.calls.length === 1);
  await kill(child);
  await expireLease(db, id);
  await using other = disposable(await answererOf(db, { pollMs: 50 }));
  expect(await ended(ada, id)).toMatchObject({ state: "complete", content: "ok" });
  expect(await charges(id)).toEqual([{ input: 10, output: 5 }]);
  expect(other.running).toBeLessThan(2);
});

test("an answerer that is killed in the middle leaves an answer that is broken off with its text, charged once", async () => {
  provider.script(saysForever(5));
  const child = await startProcess();
  const { id } = await requestAnswer(ada, model);
  await until(
    async () => (await owner.rows("select from llm.message_deltas where message_id = $1", [id])).length > 5,
  );
  await kill(child);
  await expireLease(db, id);
  await using _other = disposable(await answererOf(db, { pollMs: 50 }));
  const message = await ended(ada, id);
  expect(message).toMatchObject({ state: "broken_off", finish_reason: "expired", error_code: "writer_lost" });
  expect(message.content).toMatch(/^1 2 3 4 5 /);
  expect(await charges(id)).toHaveLength(1);
});

test("a third killed answerer is the last: the answer is broken off without another claim", async () => {
  const { id } = await requestAnswer(ada, model);
  for (let n = 1; n <= 3; n++) {
    const claims = await service.rows("select * from private.claim_answers()");
    expect(claims).toHaveLength(1);
    await expireLease(db, id);
  }
  expect(await service.rows("select * from private.claim_answers()")).toEqual([]);
  expect(await service.rows("select private.break_off_lost_answers() as count")).toEqual([{ count: 1 }]);
  expect((await readMessage(ada, id)).error_code).toBe("writer_lost");
});

test("an answerer that was suspended for longer than its lease can neither write nor end the answer", async () => {
  const { id } = await requestAnswer(ada, model);
  const [old] = await service.rows<{ claim_id: string }>("select * from private.claim_answers()");
  await expireLease(db, id);
  const [current] = await service.rows<{ claim_id: string }>("select * from private.claim_answers()");
  expect(current!.claim_id).not.toBe(old!.claim_id);
  const attempt = (sql: string, claim: string) =>
    service.rows(sql, [id, claim]).then(
      ([row]) => Object.values(row!)[0],
      (error: { code: string }) => error.code,
    );
  const APPEND = "select private.append_answer($1, $2, 1, array['x']) as result";
  const FINISH = "select private.finish_answer($1, $2, 'stop', 1, null, 1, 1) as result";
  const BREAK_OFF = "select private.break_off_answer($1, $2, 'x', 'x') as result";
  const EXTEND = "select private.extend_answer_lease($1, $2) as result";
  const RELEASE = "select private.release_answer($1, $2) as result";
  const results: unknown[] = [];
  for (const sql of [APPEND, FINISH, BREAK_OFF, EXTEND, RELEASE])
    results.push(await attempt(sql, old!.claim_id));
  expect(results).toEqual(["PL409", null, null, false, false]);
  expect(await attempt(APPEND, current!.claim_id)).toBe(1);
  expect(await attempt(EXTEND, current!.claim_id)).toBe(true);
  expect(await attempt(RELEASE, current!.claim_id)).toBe(false);
  expect(await attempt(FINISH, current!.claim_id)).toBe("complete");
  expect(await charges(id)).toEqual([{ input: 1, output: 1 }]);
});

test("an answerer that stops returns answers without a piece to the others, and breaks off the rest", async () => {
  provider.script(() => {}, saysForever(), says(["ok"], USAGE));
  const first = await answererOf(db);
  const silent = await requestAnswer(ada, model);
  await until(async () => provider.calls.length === 1);
  const begun = await requestAnswer(ada, model);
  await until(
    async () =>
      (await owner.rows("select from llm.message_deltas where message_id = $1", [begun.id])).length > 0,
  );
  await first.close();
  expect(await readMessage(ada, begun.id)).toMatchObject({ error_code: "server_stopped" });
  expect((await readMessage(ada, silent.id)).state).toBe("streaming");
  await using _second = disposable(await answererOf(db));
  expect(await ended(ada, silent.id)).toMatchObject({ state: "complete", content: "ok" });
  expect(await charges(silent.id)).toHaveLength(1);
});

test("two answerers share forty answers: each is written once", async () => {
  provider.script(says(["o", "k"], USAGE));
  await using _one = disposable(await answererOf(db, { concurrency: 5 }));
  await using _two = disposable(await answererOf(db, { concurrency: 5 }));
  const ids: string[] = [];
  for (let n = 0; n < 40; n++) ids.push((await requestAnswer(ada, model)).id);
  for (const id of ids)
    expect(await ended(ada, id)).toMatchObject({ state: "complete", content: "ok", last_sequence: 2 });
  expect(provider.calls).toHaveLength(40);
});

test("an answer whose database connections break meanwhile is complete", async () => {
  const isPartlyStored = async () =>
    (await owner.rows("select from private.turns where ended_at is null and last_sequence > 20")).length > 0;
  provider.script(async (response, call) => {
    for (let n = 0; n < 200 && !call.isAborted; n++) {
      // Before the first piece, between stored ones, and right after pieces that are still to be stored.
      if (n === 50) await until(isPartlyStored);
      if (n % 50 === 0 && n < 150) await killConnections(db, "plinth-answerer");
      response.delta({ content: `${n} ` });
    }
    response.end({ usage: USAGE });
  });
  await using _one = disposable(await answererOf(db));
  const { id } = await requestAnswer(ada, model);
  const message = await ended(ada, id);
  expect(message).toMatchObject({
    state: "complete",
    content: Array.from({ length: 200 }, (_, n) => `${n} `).join(""),
  });
  expect(await charges(id)).toEqual([{ input: 10, output: 5 }]);
});

function disposable<T extends { close(): Promise<void> }>(service: T): T & AsyncDisposable {
  return Object.assign(Object.create(service) as T, { [Symbol.asyncDispose]: () => service.close() });
}
