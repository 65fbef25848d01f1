import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import type { Client } from "graphql-ws";
import type { Client as PgClient } from "pg";
import pg from "pg";
import { addModel } from "../support/accounts.ts";
import { type Api, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { connect, type Heard, killConnections, listen } from "./support.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let bob: SignedIn;
let model: string;
let service: PgClient;
const clients: Client[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
  bob = await signUp(api, "bob");
  model = await addModel(db, { isPublic: true });
  service = new pg.Client({ connectionString: db.url("service") });
  await service.connect();
  await service.query(
    "select private.grant_tokens($1, 10000000, 'purchase', null, 100, null, null, 'enough')",
    [ada.userId],
  );
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.dispose();
});
afterAll(async () => {
  await service.end();
  await api.close();
  await db.drop();
});

const DELTAS = `subscription ($message: UUID!, $after: Int) {
  messageDeltas(messageId: $message, after: $after) {
    sequence isOver deltas { sequence content } message { state content finishReason }
  }
}`;

async function startTurn(): Promise<string> {
  const chat = await api.ask('mutation { createChat(input: { chat: { title: "c" } }) { chat { id } } }', {
    token: ada.token,
  });
  const chatId = chat.data.createChat.chat.id;
  const sent = await api.ask(
    'mutation ($chat: UUID!) { sendChatMessage(input: { chatId: $chat, content: "why?" }) { message { id } } }',
    { token: ada.token, variables: { chat: chatId } },
  );
  if (sent.errors) throw new Error(sent.text);
  const { rows } = await service.query("select id from private.start_turn($1, $2, $3)", [
    ada.userId,
    chatId,
    model,
  ]);
  return rows[0].id;
}
const append = (message: string, sequence: number) =>
  service.query("select private.append_delta($1, $2, $3)", [message, sequence, `${sequence} `]);
const finish = (message: string) => service.query("select private.finish_turn($1)", [message]);

function hear(user: SignedIn, message: string, after?: number): Heard {
  const client = connect(api, user);
  clients.push(client);
  return listen(client, DELTAS, { message, after });
}
const sequences = ({ answers }: Heard): number[] =>
  answers.flatMap(({ deltas }) => deltas.map(({ sequence }: { sequence: number }) => sequence));
const upTo = (last: number, first = 1) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

test("streams an answer from its start and completes at its end", async () => {
  const message = await startTurn();
  await append(message, 1);
  const heard = hear(ada, message);
  await until(() => sequences(heard).length === 1);
  for (const sequence of upTo(250, 2)) await append(message, sequence);
  await finish(message);
  await until(() => heard.ended !== undefined);
  expect(heard.ended).toBe("complete");
  expect(sequences(heard)).toEqual(upTo(250));
  const last = heard.answers.at(-1);
  expect(last).toMatchObject({
    sequence: 250,
    isOver: true,
    message: { state: "complete", finishReason: "stop" },
  });
  expect(last.message.content).toBe(
    upTo(250)
      .map((n) => `${n} `)
      .join(""),
  );
});

test("resumes an answer at any delta, also after its end", async () => {
  const message = await startTurn();
  for (const sequence of upTo(5)) await append(message, sequence);
  const first = hear(ada, message, 3);
  await until(() => sequences(first).length === 2);
  await append(message, 6);
  await finish(message);
  await until(() => first.ended === "complete");
  expect(sequences(first)).toEqual([4, 5, 6]);
  const late = hear(ada, message, 2);
  await until(() => late.ended === "complete");
  expect(sequences(late)).toEqual([3, 4, 5, 6]);
  const latest = hear(ada, message, 6);
  await until(() => latest.ended === "complete");
  expect(latest.answers).toMatchObject([{ deltas: [], sequence: 6, isOver: true }]);
});

test("returns an answer with deleted deltas whole", async () => {
  const message = await startTurn();
  for (const sequence of upTo(3)) await append(message, sequence);
  await finish(message);
  await withClient(db.url("owner"), async (owner) => {
    await owner.query("delete from private.turns where message_id = $1", [message]);
  });
  const heard = hear(ada, message, 1);
  await until(() => heard.ended === "complete");
  expect(sequences(heard)).toEqual([]);
  expect(heard.answers.at(-1)).toMatchObject({ sequence: 3, isOver: true, message: { content: "1 2 3 " } });
});

test("ends a cancelled answer with the deltas received so far", async () => {
  const message = await startTurn();
  await append(message, 1);
  const heard = hear(ada, message);
  await until(() => heard.answers.length > 0);
  await api.ask("mutation ($id: UUID!) { cancelTurn(input: { messageId: $id }) { message { id } } }", {
    token: ada.token,
    variables: { id: message },
  });
  await until(() => heard.ended === "complete");
  expect(heard.answers.at(-1).message).toMatchObject({ state: "cancelled", content: "1 " });
});

test("returns NOT_FOUND for other users' answers and for messages that are not answers", async () => {
  const message = await startTurn();
  for (const heard of [hear(bob, message), hear(ada, ada.userId)]) {
    await until(() => heard.ended !== undefined);
    expect(heard.ended).toBe("NOT_FOUND");
  }
  const negative = hear(ada, message, -1);
  await until(() => negative.ended !== undefined);
  expect(negative.ended).toBe("BAD_USER_INPUT");
  await finish(message);
});

test("loses and duplicates no delta when connections are killed", async () => {
  const message = await startTurn();
  const heard = [hear(ada, message), hear(ada, message)];
  for (const sequence of upTo(150)) {
    await append(message, sequence);
    if (sequence % 20 === 5) await killConnections(db, "plinth-api");
    if (sequence % 50 === 25) await killConnections(db, "plinth-live");
  }
  await finish(message);
  for (const one of heard) {
    await until(() => one.ended !== undefined);
    expect(one.ended).toBe("complete");
    expect(sequences(one)).toEqual(upTo(150));
  }
});
