import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Answer, Piece } from "../../client/chat/answer.ts";
import { graphql } from "../../client/graphql.ts";
import { createClient, type PlinthClient } from "../../client/index.ts";
import { addModel } from "../support/accounts.ts";
import { type Api, PASSWORD, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { freePorts } from "../support/ports.ts";

let db: TestDatabase;
let api: Api;
let client: PlinthClient;
let modelId: string;
/** Another session of the same user. */
let writer: PlinthClient;

beforeAll(async () => {
  db = await createTestDatabase();
  const [port] = await freePorts(1);
  api = await startApi(db, { PLINTH_PORT: String(port) });
  client = createClient({ url: api.url, timeoutMs: 240_000 });
  await client.auth.register({ username: "ada", password: PASSWORD });
  const session = client.session.current;
  modelId = await addModel(db, { isPublic: true });
  await withClient(db.url("service"), (service) =>
    service.query("select private.grant_tokens($1, 10000000, 'purchase', null, 100, null, null, 'enough')", [
      session.status === "signed-in" && session.userId,
    ]),
  );
  writer = createClient({ url: api.url, timeoutMs: 240_000 });
  await writer.auth.signIn({ identifier: "ada", password: PASSWORD });
});
afterAll(async () => {
  client.close();
  await api.close();
  await db.drop();
});

/** The writer of the answers, which the client's user has started. */
const APPEND = graphql(
  `mutation ($input: AppendDeltasInput!) { appendDeltas(input: $input) { lastSequence } }`,
);
const append = (messageId: string, firstSequence: number, contents: string[]) =>
  writer.request(APPEND, { input: { messageId, firstSequence, contents } });
const FINISH = graphql(
  `mutation ($input: FinishTurnInput!) { finishTurn(input: $input) { message { id } } }`,
);
const finish = (messageId: string) => writer.request(FINISH, { input: { messageId } });

/** Asks, and takes the answer over: these tests write it themselves. */
async function ask(): Promise<Answer> {
  const answer = client.chat.ask({
    chatId: await client.chat.create(),
    content: "What carries a column?",
    modelId,
  });
  await takeOver(await answer.id);
  return answer;
}
const takeOver = (messageId: string) =>
  withClient(db.url("owner"), (owner) =>
    owner.query("update private.turns set writer = 'client' where message_id = $1", [messageId]),
  );

/** Collects the pieces in the background. */
function collect(pieces: AsyncIterable<Piece>) {
  const collected: Piece[] = [];
  const done = (async () => {
    for await (const piece of pieces) collected.push(piece);
  })();
  done.catch(() => {});
  return { pieces: collected, done, text: () => collected.map(({ content }) => content).join("") };
}

test("streams the pieces of an answer and resolves with its message", async () => {
  const answer = await ask();
  const reader = collect(answer);
  const id = await answer.id;
  await append(id, 1, ["A ", "plin"]);
  await until(() => reader.text() === "A plin");
  await append(id, 3, ["th."]);
  await finish(id);
  expect(await answer.message).toMatchObject({ id, state: "complete", content: "A plinth." });
  await reader.done;
  expect(reader.text()).toBe("A plinth.");
  // Later readers get everything from the start.
  const late = collect(answer);
  await late.done;
  expect(late.text()).toBe("A plinth.");
});

test("resumes after a lost connection, without a lost or doubled piece", async () => {
  const answer = await ask();
  const reader = collect(answer);
  const id = await answer.id;
  await append(id, 1, ["one ", "two "]);
  await until(() => reader.text() === "one two ");
  await api.close();
  await until(() => client.connection.current === "waiting");
  api = await startApi(db, { PLINTH_PORT: new URL(api.url).port });
  await append(id, 3, ["three ", "four"]);
  await finish(id);
  expect((await answer.message).content).toBe("one two three four");
  await reader.done;
  expect(reader.text()).toBe("one two three four");
  expect(reader.pieces.at(-1)?.sequence).toBe(4);
});

test("follows an answer from a sequence, as after a reload", async () => {
  const answer = await ask();
  const id = await answer.id;
  await append(id, 1, ["one ", "two ", "three"]);
  await finish(id);
  const rest = client.chat.follow(id, { after: 2 });
  expect((await rest.message).content).toBe("one two three");
  const reader = collect(rest);
  await reader.done;
  expect(reader.text()).toBe("three");
});

test("cancels an answer, which keeps the text so far", async () => {
  const answer = await ask();
  await append(await answer.id, 1, ["so far"]);
  await answer.cancel();
  expect(await answer.message).toMatchObject({ state: "cancelled", content: "so far" });
  await answer.cancel();
});

test("repeats a question with the same key without asking twice", async () => {
  const chatId = await client.chat.create();
  const question = { chatId, content: "Why?", modelId, idempotencyKey: "once" };
  const ids = [await client.chat.ask(question).id, await client.chat.ask(question).id];
  expect(new Set(ids).size).toBe(1);
  await takeOver(ids[0]!);
  await finish(ids[0]!);
});

test("leaves an answer when its signal is aborted, and the answer goes on", async () => {
  const leave = new AbortController();
  const answer = client.chat.ask({
    chatId: await client.chat.create(),
    content: "Why?",
    modelId,
    signal: leave.signal,
  });
  const id = await answer.id;
  await takeOver(id);
  leave.abort();
  await expect(answer.message).rejects.toThrow(/abort/i);
  await expect(collect(answer).done).rejects.toThrow(/abort/i);
  await finish(id);
  expect((await client.chat.follow(id).message).state).toBe("complete");
});

test("rejects the pieces and the message of an answer that cannot start", async () => {
  const answer = client.chat.ask({ chatId: crypto.randomUUID(), content: "Why?", modelId });
  await expect(answer.message).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(collect(answer).done).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("returns an answer whose deltas are deleted as one whole piece", async () => {
  const answer = await ask();
  const id = await answer.id;
  await append(id, 1, ["one ", "two"]);
  await finish(id);
  await answer.message;
  await withClient(db.url("owner"), (owner) =>
    owner.query("delete from private.turns where message_id = $1", [id]),
  );
  const reader = collect(client.chat.follow(id, { after: 1 }));
  await reader.done;
  expect(reader.pieces).toEqual([{ content: "one two", thinking: "", sequence: 2, isWhole: true }]);
});
