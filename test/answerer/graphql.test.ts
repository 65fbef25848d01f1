import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Answerer } from "../../src/answerer/answerer.ts";
import { parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { connect as connectSocket, listen } from "../live/support.ts";
import { grantRole } from "../support/accounts.ts";
import { type Api, codeOf, MASTER_KEYS, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { rowsAs, type TestDatabase } from "../support/database.ts";
import { type ModelServer, says, startModelServer } from "../support/model-server.ts";
import { answererOf, createAnswererDatabase, giveTokens, LOOPBACK, modelAt } from "./support.ts";

// Answers as a user's client requests and follows them, and the keys of models.

const USAGE = { prompt_tokens: 10, completion_tokens: 5 };

let db: TestDatabase;
let api: Api;
let provider: ModelServer;
let answerer: Answerer;
let ada: SignedIn;
let chief: SignedIn;
let model: string;
const asOwner = rowsAs("owner", () => db);
beforeAll(async () => {
  db = await createAnswererDatabase();
  api = await startApi(db);
  provider = await startModelServer();
  ada = await signUp(api, "ada");
  chief = await signUp(api, "chief");
  await grantRole(db, chief.userId, "admin");
  await giveTokens(db, ada.userId);
  model = await modelAt(db, provider.url);
  answerer = await answererOf(db, { ownRules: LOOPBACK });
});
afterAll(async () => {
  await answerer.close();
  await provider.close();
  await api.close();
  await db.drop();
});

/** Runs an operation that must succeed. */
async function ask(query: string, variables: Record<string, unknown> = {}, { token } = ada) {
  const answer = await api.ask(query, { token, variables });
  if (answer.errors) throw new Error(answer.text);
  return answer.data;
}

const REQUEST = `mutation ($chat: UUID!, $model: UUID, $tools: JSON) {
  requestAnswer(input: { chatId: $chat, modelId: $model, maxTokens: "500", tools: $tools }) { message { id state } }
}`;
const DELTAS = `subscription ($message: UUID!, $after: Int) {
  messageDeltas(messageId: $message, after: $after) {
    sequence isOver deltas { sequence content } message { state content finishReason toolCalls }
  }
}`;

async function askQuestion(user = ada, systemPrompt?: string): Promise<string> {
  const { createChat } = await ask("mutation { createChat(input: { chat: {} }) { chat { id } } }", {}, user);
  const chat: string = createChat.chat.id;
  if (systemPrompt !== undefined)
    await ask(
      `mutation ($chat: UUID!, $content: String!) {
         createMessage(input: { message: { chatId: $chat, role: system, content: $content } }) { message { id } }
       }`,
      { chat, content: systemPrompt },
      user,
    );
  await ask(
    'mutation ($chat: UUID!) { sendChatMessage(input: { chatId: $chat, content: "Why?" }) { message { id } } }',
    { chat },
    user,
  );
  return chat;
}

async function endOf(message: string, user = ada) {
  const query = "query ($id: UUID!) { message(id: $id) { state content errorCode tokensUsed } }";
  await until(async () => (await ask(query, { id: message }, user)).message.state !== "streaming", {
    everyMs: 20,
  });
  return (await ask(query, { id: message }, user)).message;
}

describe("the memories of a user [S1]", () => {
  /** The messages that the provider gets for a question. */
  async function promptFor(user: SignedIn, systemPrompt?: string) {
    provider.calls.length = 0;
    const { requestAnswer } = await ask(
      REQUEST,
      { chat: await askQuestion(user, systemPrompt), model },
      user,
    );
    await endOf(requestAnswer.message.id, user);
    return (provider.calls[0]!.body as { messages: unknown }).messages;
  }
  const QUESTION = { role: "user", content: "Why?" };

  test("precede the question that recalls them, in a chat of the user without a system prompt", async () => {
    provider.script(says(["ok"], USAGE));
    const CREATE = "mutation ($text: String!) { createMemory(input: { text: $text }) { memory { id } } }";
    for (const text of ["Asks why before anything else", "Prefers tea"]) await ask(CREATE, { text });
    expect(await promptFor(ada)).toEqual([
      { role: "system", content: "Remembered about the user:\n- Asks why before anything else" },
      QUESTION,
    ]);
    expect(await promptFor(ada, "Be brief.")).toEqual([{ role: "system", content: "Be brief." }, QUESTION]);
    const { memories } = await ask("{ memories { nodes { text lastRecalledAt } } }");
    expect(memories.nodes).toEqual([
      { text: "Prefers tea", lastRecalledAt: null },
      { text: "Asks why before anything else", lastRecalledAt: expect.any(String) },
    ]);
    const bob = await signUp(api, "bob");
    await giveTokens(db, bob.userId);
    expect(await promptFor(bob)).toEqual([QUESTION]);
  });

  test("that cannot be opened do not prevent the answer", async () => {
    await asOwner("update private.user_keys set wrapped_key = wrapped_key || 'x' where user_id = $1", [
      ada.userId,
    ]);
    expect(await promptFor(ada)).toEqual([QUESTION]);
    await asOwner("update private.user_keys set wrapped_key = left(wrapped_key, -1) where user_id = $1", [
      ada.userId,
    ]);
  });
});

describe("an answer over GraphQL", () => {
  test("of 2,000 pieces reaches three readers completely while 20 other chats are answered, in few calls", async () => {
    const PIECES = 2_000;
    const words = Array.from({ length: PIECES }, (_, n) => `${n} `);
    provider.script(async (response) => {
      for (const [n, content] of words.entries()) {
        response.delta({ content });
        if (n % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      }
      response.end({ usage: USAGE });
    });
    const chat = await askQuestion();
    const { requestAnswer } = await ask(REQUEST, { chat, model });
    expect(requestAnswer.message.state).toBe("streaming");
    const message: string = requestAnswer.message.id;
    const clients = [1, 2, 3].map(() => connectSocket(api, ada));
    const readers = clients.map((client) => listen(client, DELTAS, { message, after: 0 }));
    const others = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { requestAnswer: other } = await ask(REQUEST, { chat: await askQuestion(), model });
        return other.message.id as string;
      }),
    );
    await until(() => readers.every(({ answers }) => answers.at(-1)?.isOver));
    for (const { answers } of readers) {
      const pieces = answers.flatMap(({ deltas }) => deltas);
      expect(pieces.map(({ sequence }) => sequence)).toEqual(words.map((_, n) => n + 1));
      expect(pieces.map(({ content }) => content).join("")).toBe(words.join(""));
      expect(answers.at(-1).message).toMatchObject({ state: "complete", finishReason: "stop" });
    }
    for (const id of others)
      expect(await endOf(id)).toMatchObject({ state: "complete", content: words.join("") });
    for (const client of clients) client.dispose();
    // Each append is a transaction.
    const [calls] = await asOwner<{ count: number }>(
      "select count(distinct xmin::text)::integer as count from llm.message_deltas where message_id = $1",
      [message],
    );
    expect(calls!.count).toBeLessThan(PIECES / 4);
  });

  test("is NOT_FOUND in the chat of another user and for an unknown model", async () => {
    const chat = await askQuestion(chief);
    expect(codeOf(await api.ask(REQUEST, { token: ada.token, variables: { chat, model } }))).toBe(
      "NOT_FOUND",
    );
    const own = await askQuestion();
    expect(codeOf(await api.ask(REQUEST, { token: ada.token, variables: { chat: own, model: own } }))).toBe(
      "NOT_FOUND",
    );
    expect(codeOf(await api.ask(REQUEST, { variables: { chat: own, model } }))).toBe("UNAUTHENTICATED");
  });
});

const SET_PROVIDER_KEY = `mutation ($provider: UUID!, $key: String) {
  setModelProviderKey(input: { providerId: $provider, key: $key }) { hasKey }
}`;
const SET_OWN_KEY = "mutation ($key: String) { setOwnModelKey(input: { key: $key }) { hasKey } }";

describe("the key of a provider", () => {
  let secured: string;
  let providerId: string;
  beforeAll(async () => {
    secured = await modelAt(db, provider.url);
    const rows = await asOwner<{ id: string }>(
      `update llm.model_providers p set auth_type = 'bearer' from llm.models m
       where m.id = $1 and p.id = m.provider_id returning p.id`,
      [secured],
    );
    providerId = rows[0]!.id;
  });

  test("is set by users with manage_models, sealed for its provider, and sent to it", async () => {
    provider.script(says(["ok"], USAGE));
    provider.calls.length = 0;
    const key = "sk-of-the-provider";
    expect(await ask(SET_PROVIDER_KEY, { provider: providerId.toUpperCase(), key }, chief)).toEqual({
      setModelProviderKey: { hasKey: true },
    });
    const [row] = await asOwner<{ sealed_key: string }>(
      "select sealed_key from private.model_provider_keys where provider_id = $1",
      [providerId],
    );
    expect(row!.sealed_key).not.toContain(key);
    const sealer = createSealer(parseMasterKeys(MASTER_KEYS));
    expect(sealer.unseal("model key", row!.sealed_key, providerId).toString()).toBe(key);
    expect(() => sealer.unseal("model key", row!.sealed_key, ada.userId)).toThrow();

    const { requestAnswer } = await ask(REQUEST, { chat: await askQuestion(), model: secured });
    expect((await endOf(requestAnswer.message.id)).content).toBe("ok");
    expect(provider.calls[0]!.headers.authorization).toBe(`Bearer ${key}`);
    expect(JSON.stringify(api.logLines)).not.toContain(key);
  });

  test("is NOT_FOUND for other users, as for an unknown provider", async () => {
    for (const [user, id] of [
      [ada, providerId],
      [chief, ada.userId],
    ] as const)
      expect(
        codeOf(
          await api.ask(SET_PROVIDER_KEY, { token: user.token, variables: { provider: id, key: "sk-x" } }),
        ),
      ).toBe("NOT_FOUND");
    expect(codeOf(await api.ask(SET_PROVIDER_KEY, { variables: { provider: providerId, key: "x" } }))).toBe(
      "UNAUTHENTICATED",
    );
  });

  test.each([
    ["no characters", ""],
    ["a space", "two words"],
    ["a line break", "sk\r\nx-header: 1"],
    ["a character that a header cannot carry", "schlüssel"],
    ["too many characters", "x".repeat(4_097)],
  ])("is rejected if it has %s", async (_, key) => {
    const answer = await api.ask(SET_PROVIDER_KEY, {
      token: chief.token,
      variables: { provider: providerId, key },
    });
    expect(codeOf(answer)).toBe("BAD_USER_INPUT");
  });

  test("is deleted with null, and answers of the provider then fail as key_missing", async () => {
    expect(await ask(SET_PROVIDER_KEY, { provider: providerId, key: null }, chief)).toEqual({
      setModelProviderKey: { hasKey: false },
    });
    const { requestAnswer } = await ask(REQUEST, { chat: await askQuestion(), model: secured });
    expect((await endOf(requestAnswer.message.id)).errorCode).toBe("key_missing");
  });
});

describe("the own model of a user [S1]", () => {
  const settle = (patch: object, user = ada) =>
    ask(
      `mutation ($id: UUID!, $patch: UserSettingPatch!) {
         updateUserSetting(input: { userId: $id, patch: $patch }) { userSetting { llmProvider llmEndpoint llmModel } }
       }`,
      { id: user.userId, patch },
      user,
    );

  test("is FORBIDDEN unless a role allows use_own_model", async () => {
    const chat = await askQuestion();
    expect(codeOf(await api.ask(REQUEST, { token: ada.token, variables: { chat } }))).toBe("FORBIDDEN");
    expect(codeOf(await api.ask(SET_OWN_KEY, { token: ada.token, variables: { key: "sk-own" } }))).toBe(
      "FORBIDDEN",
    );
    await asOwner(
      `insert into access.role_permissions (role_id, permission_id)
       select r.id, p.id from access.roles r, access.permissions p
       where r.role_name = 'user' and p.permission_name = 'use_own_model'`,
    );
    expect(codeOf(await api.ask(REQUEST, { token: ada.token, variables: { chat } }))).toBe("BAD_USER_INPUT");
  });

  test("answers at the user's endpoint with the user's key, and the ledger charges nothing", async () => {
    provider.script(says(["own"], USAGE));
    provider.calls.length = 0;
    await settle({ llmProvider: "mine", llmEndpoint: provider.url, llmModel: "own-model" });
    expect(await ask(SET_OWN_KEY, { key: "sk-own" })).toEqual({ setOwnModelKey: { hasKey: true } });
    const events = () => asOwner("select id from billing.usage_events where user_id = $1", [ada.userId]);
    const before = await events();
    const { requestAnswer } = await ask(REQUEST, { chat: await askQuestion() });
    expect(await endOf(requestAnswer.message.id)).toMatchObject({ state: "complete", content: "own" });
    expect(provider.calls[0]).toMatchObject({ body: { model: "own-model" } });
    expect(provider.calls[0]!.headers.authorization).toBe("Bearer sk-own");
    expect(await events()).toEqual(before);
  });

  test("loses its key when the endpoint changes", async () => {
    provider.calls.length = 0;
    await settle({ llmEndpoint: `${provider.url}/` });
    expect(await asOwner("select from private.user_model_keys")).toEqual([]);
    const { requestAnswer } = await ask(REQUEST, { chat: await askQuestion() });
    expect((await endOf(requestAnswer.message.id)).state).toBe("complete");
    expect(provider.calls[0]!.headers.authorization).toBeUndefined();
  });

  test("cannot reach private addresses, not even those that the operator allows for providers", async () => {
    await answerer.close();
    answerer = await answererOf(db);
    const { requestAnswer } = await ask(REQUEST, { chat: await askQuestion() });
    expect((await endOf(requestAnswer.message.id)).errorCode).toBe("endpoint_refused");
  });

  test("has a key that the user can delete, also without the permission", async () => {
    await ask(SET_OWN_KEY, { key: "sk-own" });
    await asOwner(
      `delete from access.role_permissions rp using access.roles r, access.permissions p
       where rp.role_id = r.id and rp.permission_id = p.id and r.role_name = 'user'
         and p.permission_name = 'use_own_model'`,
    );
    expect(await ask(SET_OWN_KEY, { key: null })).toEqual({ setOwnModelKey: { hasKey: false } });
    expect(await asOwner("select from private.user_model_keys")).toEqual([]);
  });
});
