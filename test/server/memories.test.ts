import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { decryptFernet } from "../../src/auth/fernet.ts";
import { parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { type Api, codeOf, MASTER_KEYS, type SignedIn, signUp, startApi } from "../support/api.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  rowsAs,
  type TestDatabase,
} from "../support/database.ts";
import { tablesWith } from "../support/whole-database.ts";

let db: TestDatabase;
let api: Api;
let otherApi: Api;
let ada: SignedIn;
let bob: SignedIn;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  otherApi = await startApi(db);
  ada = await signUp(api, "ada");
  bob = await signUp(api, "bob");
});
afterAll(async () => {
  await api.close();
  await otherApi.close();
  await db.drop();
});

const FIELDS =
  "id text kind source importance confidence chatId roomId version createdAt updatedAt lastRecalledAt expiresAt";
const create = (input: object, token?: string, to = api) =>
  to.ask(`mutation ($input: CreateMemoryInput!) { createMemory(input: $input) { memory { ${FIELDS} } } }`, {
    token,
    variables: { input },
  });
const update = (input: object, token?: string, to = api) =>
  to.ask(`mutation ($input: UpdateMemoryInput!) { updateMemory(input: $input) { memory { ${FIELDS} } } }`, {
    token,
    variables: { input },
  });
const remove = (id: string, token?: string) =>
  api.ask("mutation ($id: UUID!) { deleteMemory(input: { id: $id }) { id } }", { token, variables: { id } });
const removeAll = (token?: string) => api.ask("mutation { deleteAllMemories { deletedCount } }", { token });
const list = (token?: string, variables: Record<string, unknown> = {}) =>
  api.ask(
    `query ($first: Int! = 20, $after: UUID, $kind: MemoryKind) {
      memories(first: $first, after: $after, kind: $kind) { nodes { ${FIELDS} } hasNextPage endCursor }
    }`,
    { token, variables },
  );
const recall = (query: string, token?: string, first = 10) =>
  api.ask(
    `query ($query: String!, $first: Int!) {
      recallMemories(query: $query, first: $first) { memory { id text } score reasons matchedWords similarity }
    }`,
    { token, variables: { query, first } },
  );

async function remembered(input: object, { token }: SignedIn, to = api) {
  const answer = await create(input, token, to);
  if (!answer.data?.createMemory) throw new Error(answer.text);
  return answer.data.createMemory.memory;
}
async function textsOf(query: string, { token }: SignedIn): Promise<string[]> {
  const answer = await recall(query, token);
  if (!answer.data?.recallMemories) throw new Error(answer.text);
  return answer.data.recallMemories.map(({ memory }: { memory: { text: string } }) => memory.text);
}
const asOwner = rowsAs("owner", () => db);
const asWorker = rowsAs("worker", () => db);

describe("memories [S1]", () => {
  test("are created, listed by page and kind, changed and deleted", async () => {
    const { token } = await signUp(api, "mia");
    const plain = await remembered({ text: "Lives in Zürich \u0000 😀" }, { token } as SignedIn);
    expect(plain).toMatchObject({
      text: "Lives in Zürich \u0000 😀",
      kind: "fact",
      source: "user",
      importance: 3,
      confidence: 1,
      chatId: null,
      roomId: null,
      lastRecalledAt: null,
      expiresAt: null,
    });
    const full = {
      text: "Prefers tea",
      kind: "preference",
      source: "assistant",
      importance: 5,
      confidence: 0.25,
      expiresAt: "2100-01-01T00:00:00.000Z",
    };
    const second = await remembered(full, { token } as SignedIn);
    expect({ ...second, expiresAt: new Date(second.expiresAt).toISOString() }).toMatchObject(full);

    const all = (await list(token)).data.memories;
    expect(all).toEqual({ nodes: [second, plain], hasNextPage: false, endCursor: plain.id });
    const first = (await list(token, { first: 1 })).data.memories;
    expect(first).toEqual({ nodes: [second], hasNextPage: true, endCursor: second.id });
    expect((await list(token, { first: 1, after: second.id })).data.memories.nodes).toEqual([plain]);
    expect((await list(token, { kind: "preference" })).data.memories.nodes).toEqual([second]);

    const { memory } = (await update({ id: plain.id, text: "Lives in Basel", importance: 1 }, token)).data
      .updateMemory;
    expect(memory).toMatchObject({ text: "Lives in Basel", importance: 1, kind: "fact" });
    expect(memory.version).not.toBe(plain.version);
    expect((await update({ id: second.id, expiresAt: null }, token)).data.updateMemory.memory).toMatchObject({
      text: "Prefers tea",
      expiresAt: null,
    });
    expect((await remove(plain.id, token)).data.deleteMemory).toEqual({ id: plain.id });
    expect(codeOf(await remove(plain.id, token))).toBe("NOT_FOUND");
    expect((await removeAll(token)).data.deleteAllMemories).toEqual({ deletedCount: 1 });
    expect((await list(token)).data.memories).toEqual({ nodes: [], hasNextPage: false, endCursor: null });
    expect((await removeAll(token)).data.deleteAllMemories).toEqual({ deletedCount: 0 });
  });

  test("are private to each user", async () => {
    const hers = await remembered({ text: "the secret garden of ada" }, ada);
    const his = await remembered({ text: "the secret garden of bob" }, bob);
    expect(await textsOf("secret garden", ada)).toEqual([hers.text]);
    expect(await textsOf("secret garden", bob)).toEqual([his.text]);
    const nodes = (await list(bob.token)).data.memories.nodes;
    expect(nodes.map(({ id }: { id: string }) => id)).toEqual([his.id]);
    for (const answer of [
      await update({ id: hers.id, text: "x" }, bob.token),
      await remove(hers.id, bob.token),
    ])
      expect(answer.errors![0]).toMatchObject({ extensions: { code: "NOT_FOUND", field: "id" } });
    const unknown = await remove(randomUUID(), bob.token);
    expect(unknown.errors![0]!.message).toBe((await remove(hers.id, bob.token)).errors![0]!.message);
    expect((await list(ada.token)).data.memories.nodes).toContainEqual(hers);
  });

  test("require a signed-in user, and a token that may write", async () => {
    const id = randomUUID();
    for (const answer of [
      await create({ text: "x" }),
      await update({ id }),
      await remove(id),
      await removeAll(),
      await list(),
      await recall("x"),
    ])
      expect(codeOf(answer)).toBe("UNAUTHENTICATED");
    const made = await api.ask(
      'mutation { createApiToken(input: { name: "t", scopes: [read] }) { token } }',
      { token: ada.token },
    );
    const { token } = made.data.createApiToken;
    expect((await recall("garden", token)).errors).toBeUndefined();
    for (const answer of [await create({ text: "x" }, token), await removeAll(token)])
      expect(codeOf(answer)).toBe("FORBIDDEN");
  });

  test.each([
    ["an empty text", { text: " \n" }, "text"],
    ["a text that is too long", { text: "x".repeat(4_001) }, "text"],
    ["half a character", { text: "\ud83d" }, undefined],
    ["an importance of 0", { text: "x", importance: 0 }, "importance"],
    ["an importance of 6", { text: "x", importance: 6 }, "importance"],
    ["a confidence above 1", { text: "x", confidence: 1.5 }, "confidence"],
    ["a time of expiry in the past", { text: "x", expiresAt: "2001-01-01T00:00:00Z" }, "expiresAt"],
    ["a time that is none", { text: "x", expiresAt: "soon" }, undefined],
    ["an unknown kind", { text: "x", kind: "RUMOR" }, undefined],
  ])("reject %s", async (_, input, field) => {
    const answer = await create(input, ada.token);
    expect(codeOf(answer)).toMatch(/^(BAD_USER_INPUT|GRAPHQL_VALIDATION_FAILED)$/);
    if (field) expect(answer.errors![0]!.extensions.field).toBe(field);
  });

  test("accept the longest text of the largest characters, and pages of 1 to 100 only", async () => {
    const { token } = await signUp(api, "longwriter");
    const text = Array.from({ length: 4_000 }, (_, n) =>
      n % 3 ? String.fromCodePoint(0x20000 + n) : " ",
    ).join("");
    expect((await create({ text }, token)).data.createMemory.memory.text).toBe(text);
    for (const first of [0, 101]) {
      expect(codeOf(await list(token, { first }))).toMatch(/BAD_USER_INPUT|PAGE_TOO_LARGE/);
      expect(codeOf(await recall("x", token, first))).toMatch(/BAD_USER_INPUT|PAGE_TOO_LARGE/);
    }
  });

  test("name a chat and a room of the user, and survive their deletion", async () => {
    const chat = (
      await api.ask('mutation { createChat(input: { chat: { title: "t" } }) { chat { id } } }', {
        token: ada.token,
      })
    ).data.createChat.chat.id;
    const room = (
      await api.ask('mutation { createRoom(input: { name: "r" }) { result { id } } }', { token: ada.token })
    ).data.createRoom.result.id;
    const memory = await remembered({ text: "named", chatId: chat, roomId: room }, ada);
    expect(memory).toMatchObject({ chatId: chat, roomId: room });
    for (const input of [{ chatId: chat }, { roomId: room }])
      expect(codeOf(await create({ text: "x", ...input }, bob.token))).toBe("NOT_FOUND");
    await asOwner("delete from llm.chats where id = $1", [chat]);
    await asOwner("delete from rooms.chat_rooms where id = $1", [room]);
    const nodes = (await list(ada.token)).data.memories.nodes;
    expect(nodes).toContainEqual({ ...memory, chatId: null, roomId: null });
  });

  test("expire: they are neither listed nor recalled nor changed, and the job deletes them", async () => {
    const memory = await remembered({ text: "ephemeral", expiresAt: "2100-01-01T00:00:00Z" }, ada);
    expect(await textsOf("ephemeral", ada)).toEqual(["ephemeral"]);
    await asOwner("update llm.memories set expires_at = now() where id = $1", [memory.id]);
    expect(await textsOf("ephemeral", ada)).toEqual([]);
    expect((await list(ada.token)).data.memories.nodes).not.toContainEqual(
      expect.objectContaining({ id: memory.id }),
    );
    expect(codeOf(await update({ id: memory.id, expiresAt: null }, ada.token))).toBe("NOT_FOUND");
    expect(await asWorker("select private.delete_expired_memories(10) as count", [])).toEqual([{ count: 1 }]);
    expect(await asOwner("select from llm.memories where id = $1", [memory.id])).toEqual([]);
  });

  test("have a limit of 10,000", async () => {
    const user = await signUp(api, "hoarder");
    await remembered({ text: "first" }, user);
    await asOwner(
      `insert into llm.memories (user_id, key_id, content, word_hashes)
       select user_id, key_id, content, word_hashes from llm.memories, generate_series(1, 9998) where user_id = $1`,
      [user.userId],
    );
    const answers = await Promise.all(
      [1, 2, 3].map((n) => create({ text: `${n}` }, user.token, n % 2 ? api : otherApi)),
    );
    expect(answers.map((answer) => answer.errors && codeOf(answer)).toSorted()).toEqual([
      "QUOTA_EXCEEDED",
      "QUOTA_EXCEEDED",
      undefined,
    ]);
  });
});

describe("recall [S1]", () => {
  let eve: SignedIn;
  const texts = [
    "I am allergic to peanuts",
    "My sister Anna lives in Zürich",
    "I ran a marathon in Boston in 2024",
    "Never write peanut recipes for me",
    "我喜欢喝绿茶",
    "The peanut farm, which a friend owns, is closed in winter and opens in the spring for all of the visitors",
  ];
  beforeAll(async () => {
    eve = await signUp(api, "eve");
    for (const text of texts) await remembered({ text }, eve);
  });

  test.each([
    ["a word in another form", "marathons", [2]],
    ["words that are alternatives, with the rarer ones first", "allergic peanuts", [0, 5, 3]],
    ["a question", "Where does my sister live?", [1]],
    ["a word without its accent", "zurich", [1]],
    ["a number", "2024", [2]],
    ["a word in Chinese", "绿茶", [4]],
    ["a phrase", '"lives in zürich"', [1]],
    ["a phrase in another order", '"in lives zürich"', []],
    ["a phrase in Chinese", '"喝绿茶"', [4]],
    ["a phrase with other words", '"peanut farm" marathon', [5]],
    ["an excluded word", "peanut -never", [5, 0]],
    ["an excluded phrase", 'peanut -"peanut farm"', [3, 0]],
    ["only an excluded word", "-peanut", []],
    ["an unknown word", "xylophone", []],
    ["no word", " ?! ", []],
    ["stop words alone", "which the", [5]],
  ])("finds %s", async (_, query, found) => {
    expect(await textsOf(query, eve)).toEqual(found.map((n) => texts[n]));
  });

  test("says why, with the words that matched", async () => {
    const [best] = (await recall("is Anna's home in Zurich?", eve.token)).data.recallMemories;
    expect(best).toEqual({
      memory: { id: expect.any(String), text: texts[1] },
      score: expect.any(Number),
      reasons: ["words"],
      matchedWords: ["anna", "zurich"],
      similarity: null,
    });
    expect((await recall("peanut", eve.token, 1)).data.recallMemories).toHaveLength(1);
  });

  test("prefers the more important of equal matches", async () => {
    const minor = await remembered({ text: "the ukulele is old", importance: 5 }, eve);
    const major = await remembered({ text: "the ukulele is new", importance: 1 }, eve);
    expect(await textsOf("ukulele", eve)).toEqual([minor.text, major.text]);
  });

  test("follows a change of the text", async () => {
    const memory = await remembered({ text: "plays the theremin" }, eve);
    await update({ id: memory.id, text: "plays the bassoon" }, eve.token);
    expect(await textsOf("theremin", eve)).toEqual([]);
    expect(await textsOf("bassoon", eve)).toEqual(["plays the bassoon"]);
  });
});

describe("concurrent edits [S1]", () => {
  test("have one winner for each version", async () => {
    const memory = await remembered({ text: "start" }, ada);
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        update(
          { id: memory.id, text: `edit${n}`, expectedVersion: memory.version },
          ada.token,
          n % 2 ? api : otherApi,
        ),
      ),
    );
    const won = answers.filter(({ errors }) => !errors);
    expect(won).toHaveLength(1);
    expect(answers.filter(({ errors }) => errors).map(codeOf)).toEqual(Array(7).fill("CONFLICT"));
    const { text } = won[0]!.data.updateMemory.memory;
    // The hashes are those of the text that won.
    expect(await textsOf(text, ada)).toContain(text);
    expect(codeOf(await update({ id: memory.id, text: "x", expectedVersion: "first" }, ada.token))).toBe(
      "BAD_USER_INPUT",
    );
  });

  test("keep an acknowledged memory readable while all memories are deleted", async () => {
    const user = await signUp(api, "racer");
    const outcomes = await Promise.all(
      Array.from({ length: 24 }, async (_, n) =>
        n % 6 === 5
          ? removeAll(user.token)
          : create({ text: `race ${n}` }, user.token, n % 2 ? api : otherApi),
      ),
    );
    expect(outcomes.flatMap(({ errors }) => errors ?? [])).toEqual([]);
    await remembered({ text: "after the race" }, user);
    expect(await textsOf('"after the race"', user)).toEqual(["after the race"]);
    expect((await list(user.token, { first: 100 })).errors).toBeUndefined();
  });
});

describe("the database [S1, C11]", () => {
  const CANARY = "kanarienvogel";
  const sealer = createSealer(parseMasterKeys(MASTER_KEYS));
  const stored = (userId: string) =>
    asOwner<{ content: string; word_hashes: string[]; wrapped_key: string }>(
      "select content, word_hashes, wrapped_key from llm.memories m join private.user_keys k on k.id = m.key_id where m.user_id = $1",
      [userId],
    );

  test("contains no memory and no word of it in clear text", async () => {
    const user = await signUp(api, "carol");
    await remembered({ text: `My ${CANARY} sings` }, user);
    expect(await textsOf(CANARY, user)).toHaveLength(1);
    expect(await tablesWith(db, CANARY)).toEqual([]);
    expect(api.logLines.filter((line) => JSON.stringify(line).includes(CANARY))).toEqual([]);
    // The search would have found it.
    await asOwner(
      "update identity.users set profile_data = jsonb_build_object('x', $1::text) where id = $2",
      [CANARY, user.userId],
    );
    expect(await tablesWith(db, CANARY)).toEqual(["identity.users"]);
    await asOwner("update identity.users set profile_data = '{}' where id = $1", [user.userId]);
  });

  test("relates equal words of a user only, and opens nothing with another user's key", async () => {
    const [one, two] = [await signUp(api, "one1"), await signUp(api, "two2")];
    await remembered({ text: `green ${CANARY}` }, one);
    await remembered({ text: `${CANARY}, yellow ${CANARY}` }, one);
    await remembered({ text: `green ${CANARY}` }, two);
    const hers = await stored(one.userId);
    const [his] = await stored(two.userId);
    const shared = (a: readonly string[], b: readonly string[]) => a.filter((hash) => b.includes(hash));
    expect(hers.map(({ word_hashes }) => word_hashes.length)).toEqual([2, 2]);
    expect(shared(hers[0]!.word_hashes, hers[1]!.word_hashes)).toHaveLength(1);
    for (const { word_hashes } of hers) expect(shared(word_hashes, his!.word_hashes)).toEqual([]);
    for (const { word_hashes } of hers) expect(word_hashes).toEqual(word_hashes.toSorted());

    const key = sealer.unseal("user key", hers[0]!.wrapped_key, one.userId).toString();
    expect(decryptFernet(key, hers[0]!.content).toString()).toBe(`green ${CANARY}`);
    expect(() => decryptFernet(key, his!.content)).toThrow(
      expect.objectContaining({ code: "FERNET_INVALID" }),
    );
    expect(() => sealer.unseal("user key", his!.wrapped_key, one.userId)).toThrow(
      expect.objectContaining({ code: "UNSEALABLE" }),
    );
  });

  test("loses all memories with their key, and keeps the conversation memory with its own", async () => {
    const user = await signUp(api, "dora");
    await remembered({ text: CANARY }, user);
    await api.ask(
      'mutation { setConversationMemory(input: { memory: "kept" }) { conversationMemory { version } } }',
      { token: user.token },
    );
    const [copy] = await stored(user.userId);
    await removeAll(user.token);
    expect(await tablesWith(db, copy!.wrapped_key)).toEqual([]);
    const kept = await api.ask("{ conversationMemory { memory } }", { token: user.token });
    expect(kept.data.conversationMemory.memory).toBe("kept");
    await remembered({ text: "new" }, user);
    await api.ask("mutation { deleteConversationMemory { wasDeleted } }", { token: user.token });
    expect(await textsOf("new", user)).toEqual(["new"]);
    for (const { wrapped_key } of await stored(user.userId))
      expect(() =>
        decryptFernet(sealer.unseal("user key", wrapped_key, user.userId).toString(), copy!.content),
      ).toThrow(expect.objectContaining({ code: "FERNET_INVALID" }));
    // An operator's erasure takes all keys.
    await asOwner("select private.delete_user_key($1)", [user.userId]);
    expect(await asOwner("select from private.user_keys where user_id = $1", [user.userId])).toEqual([]);
    expect((await list(user.token)).data.memories.nodes).toEqual([]);
  });

  test("deletes memories and key with the account [S14]", async () => {
    const user = await signUp(api, "emil");
    await remembered({ text: CANARY }, user);
    await asOwner("delete from identity.users where id = $1", [user.userId]);
    for (const table of ["llm.memories", "private.user_keys"])
      expect(await asOwner(`select from ${table} where user_id = $1`, [user.userId])).toEqual([]);
  });

  test("stores only encrypted texts and hashes", async () => {
    await remembered({ text: "x" }, ada);
    await inRolledBackTransaction(db, async (tx) => {
      const set = (column: string, value: unknown) =>
        tx.attempt(`update llm.memories set ${column} = $1 where user_id = $2`, [value, ada.userId]);
      for (const content of ["plain", "", "gBBBB".padEnd(100, "A")])
        await expectSqlState(set("content", content), "23514");
      for (const hashes of [["tea"], ["A".repeat(16), ""], [null], ["A".repeat(16), "green tea and more"]])
        await expectSqlState(set("word_hashes", hashes), "23514");
      await set("content", "gAAAAABpk".padEnd(100, "A"));
      await set("word_hashes", ["A".repeat(16), "-_".repeat(8)]);
    });
  });

  test("shows users which memories they have, only their own, and never ciphertext or hashes", async () => {
    await remembered({ text: "x" }, bob);
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada.userId);
      const owners = await tx.rows<{ user_id: string }>("select distinct user_id from llm.memories");
      expect(owners).toEqual([{ user_id: ada.userId }]);
      for (const sql of [
        "select content from llm.memories",
        "select word_hashes from llm.memories",
        "select key_id from llm.memories",
        "update llm.memories set importance = 1",
        "delete from llm.memories",
        "insert into llm.memories (user_id) values (plinth.current_user_id())",
        "select private.list_memories(plinth.current_user_id(), 10)",
        "select private.search_memories(plinth.current_user_id(), '{}', '{}', '{}', 1)",
        "select private.delete_memories(plinth.current_user_id())",
      ])
        await expectSqlState(tx.attempt(sql), "42501");
    });
  });
});
