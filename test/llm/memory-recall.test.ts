import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { createUserKeys, type UserKeys } from "../../src/accounts/conversation-memory/user-keys.ts";
import { createEmbedder } from "../../src/accounts/memories/embedder.ts";
import { fuse } from "../../src/accounts/memories/fuse.ts";
import { createMemories, type Memories } from "../../src/accounts/memories/memories.ts";
import { sealText } from "../../src/accounts/memories/sealed-memories.ts";
import { createHashWords } from "../../src/accounts/memories/word-hashes.ts";
import { generateMasterKey, parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { rotateSealed } from "../../src/keys/rotate.ts";
import { contextWithoutRequest, type RequestContext } from "../../src/request/context.ts";
import { createLogger } from "../../src/request/logger.ts";
import { createPrivateFunctionCaller } from "../../src/request/service-caller.ts";
import { registerUser } from "../support/accounts.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { blocksRead } from "../support/rows-read.ts";

// The service that a writer of answers uses, as the service role, without a server.

const OLD_KEY = generateMasterKey(1);
const NEW_KEYS = `${OLD_KEY},${generateMasterKey(2)}`;

let db: TestDatabase;
let pool: pg.Pool;
let ada: string;
let bob: string;
let memories: Memories;
let userKeys: UserKeys;
beforeAll(async () => {
  db = await createTestDatabase();
  pool = new pg.Pool({ connectionString: db.url("service"), max: 4 });
  ada = await registerUser(db, "ada");
  bob = await registerUser(db, "bob");
  ({ memories, userKeys } = serviceWith(OLD_KEY));
});
afterAll(async () => {
  await pool.end();
  await db.drop();
});

function serviceWith(masterKeys: string) {
  const callPrivateFunction = createPrivateFunctionCaller(pool, { statementTimeoutMs: 300_000 });
  const sealer = createSealer(parseMasterKeys(masterKeys));
  const keys = createUserKeys({ callPrivateFunction, sealer, purpose: "memories" });
  const logger = createLogger("silent");
  const embedder = undefined;
  return {
    memories: createMemories({ callPrivateFunction, userKeys: keys, embedder, logger }),
    userKeys: keys,
  };
}
const asOwner = rowsAs("owner", () => db);
const SERVICE = contextWithoutRequest();
const as = (userId: string): RequestContext => ({
  ...SERVICE,
  claims: { userId, sessionId: userId } as RequestContext["claims"],
});
const recalled = async (query: string, roomId?: string, service = memories) =>
  (await service.recallForAnswer({ userId: ada, query, first: 5, roomId }, SERVICE)).map(
    ({ memory }) => memory.text,
  );

describe("memories for an answer [S1]", () => {
  test("are recalled for the user alone, and the time of the last recall is recorded", async () => {
    const memory = await memories.create({ text: "My cello is from 1890" }, as(ada));
    await memories.create({ text: "Another instrument than the cello" }, as(bob));
    expect(await recalled("how old is my cello?")).toEqual(["My cello is from 1890"]);
    const [after] = (await memories.list({ first: 1 }, as(ada))).nodes;
    expect(after!.lastRecalledAt).not.toBeNull();
    // A recall is no change.
    expect({ ...after, lastRecalledAt: null }).toEqual(memory);
  });

  test.each([
    ["the user's own room with the AI", "own", true],
    ["a room with another user", "shared", false],
    ["a public room", "public", false],
    ["a room of other users", "foreign", false],
    ["a room that does not exist", "missing", false],
  ])("in %s: %s", async (_, name, isAllowed) => {
    const [room] = await asOwner<{ id: string }>(
      "insert into rooms.chat_rooms (creator_id, name, is_public, ai_enabled) values ($1, $2, $2 = 'public', true) returning id",
      [ada, name],
    );
    const members = { own: [ada], shared: [ada, bob], public: [ada], foreign: [bob], missing: [ada] }[name]!;
    for (const member of [...members, null])
      await asOwner(
        `insert into rooms.room_members (room_id, user_id, role) values ($1, $2, case when $2::uuid is null then 'ai' else 'member' end)
         on conflict (room_id, user_id) do nothing`,
        [room!.id, member],
      );
    if (name === "missing") await asOwner("delete from rooms.chat_rooms where id = $1", [room!.id]);
    expect(await recalled("cello", room!.id)).toEqual(isAllowed ? ["My cello is from 1890"] : []);
  });
});

describe("keys [S1, H11]", () => {
  test("a rotated master key changes neither texts nor hashes, and recall goes on", async () => {
    const before = await asOwner("select content, word_hashes from llm.memories order by id", []);
    const masterKeys = parseMasterKeys(NEW_KEYS);
    await withClient(db.url("owner"), (client) => rotateSealed({ client, masterKeys }));
    expect(await asOwner("select content, word_hashes from llm.memories order by id", [])).toEqual(before);
    expect(await recalled("cello", undefined, serviceWith(NEW_KEYS).memories)).toEqual([
      "My cello is from 1890",
    ]);
    // A server that was not restarted with the new key fails, and hides nothing.
    await expect(recalled("cello")).rejects.toMatchObject({ code: "MASTER_KEY_MISSING" });
    ({ memories, userKeys } = serviceWith(NEW_KEYS));
  });

  test("a wrong master key opens and finds nothing", async () => {
    const stranger = `${generateMasterKey(1)},${generateMasterKey(2)}`;
    await expect(recalled("cello", undefined, serviceWith(stranger).memories)).rejects.toMatchObject({
      code: "UNSEALABLE",
    });
  });

  test("hashes depend on the user's key and on the word, and show no order", () => {
    const [one, two] = ["A".repeat(43), "B".repeat(43)].map((key) => createHashWords(`${key}=`));
    expect(one!(["tea", "green", "tea"])).toEqual(one!(["green", "tea"]));
    expect(one!(["tea"])).not.toEqual(one!(["teas"]));
    expect(one!(["tea"])).not.toEqual(two!(["tea"]));
    expect(one!(["tea"])).toEqual([expect.stringMatching(/^[\w-]{16}$/)]);
  });
});

describe("10,000 memories of a user", () => {
  const COUNT = 10_000;
  const TOPICS = ["garden", "travel", "work", "music", "family"];
  let pagesReadBy: (words: string[]) => Promise<number>;
  let pagesOfTable: number;

  beforeAll(async () => {
    await asOwner("delete from llm.memories where user_id = $1", [ada]);
    const key = await userKeys.findOrMake(ada, SERVICE);
    const rows = Array.from({ length: COUNT }, (_, n) =>
      sealText(key, `Note ${n} about ${TOPICS[n % TOPICS.length]}${n === 4_321 ? " and a xylophone" : ""}`),
    );
    await asOwner(
      `insert into llm.memories (user_id, key_id, content, word_hashes)
       select $1, $2, r.content, string_to_array(r.hashes, ',') from unnest($3::text[], $4::text[]) as r (content, hashes)`,
      [ada, key.id, rows.map(({ content }) => content), rows.map(({ word_hashes }) => word_hashes.join())],
    );
    await asOwner("analyze llm.memories", []);
    // The pending list of the index is read by every search until vacuum or this merges it.
    await asOwner("select gin_clean_pending_list('llm.memories_word_hashes_idx')", []);
    const [size] = await asOwner<{ pages: number }>(
      "select (pg_table_size('llm.memories') / 8192)::integer as pages",
      [],
    );
    pagesOfTable = size!.pages;
    pagesReadBy = (words) =>
      withClient(db.url("owner"), async (client) => {
        const search = "select * from private.search_memories($1, $2, '{}', '{}', 100)";
        const values = [ada, createHashWords(key.key)(words)];
        return blocksRead(async (explain) => (await client.query(`${explain} ${search}`, values)).rows);
      });
  });

  test("a rare word reads a few pages of the index, not the table", async () => {
    expect(pagesOfTable).toBeGreaterThan(500);
    expect(await pagesReadBy(["xylophon"])).toBeLessThan(20);
    expect(await recalled("where is my xylophone")).toEqual(["Note 4321 about travel and a xylophone"]);
  });

  test("a common word reads each page of the table once, and the best are returned", async () => {
    expect(await pagesReadBy(["garden"])).toBeLessThan(1.5 * pagesOfTable);
    const found = await memories.recall("garden xylophone", 100, as(ada));
    expect(found).toHaveLength(100);
    expect(found[0]!.memory.text).toContain("xylophone");
  });

  test("all pages of the list together have each memory once", async () => {
    const ids = new Set<string>();
    for await (const page of memories.pages(as(ada))) for (const { id } of page) ids.add(id);
    expect(ids.size).toBe(COUNT);
  });
});

test("fusion rewards agreement and keeps what only one search found", () => {
  expect(fuse(["a", "b", "c"], ["c", "d"]).map(({ id }) => id)).toEqual(["c", "a", "b", "d"]);
  expect(fuse(["a"], [])).toEqual([{ id: "a", score: 1 / 61, places: [1, undefined] }]);
});

describe("the embeddings endpoint", () => {
  const answers: Record<string, [status: number, body: unknown]> = {
    "fewer vectors": [200, { data: [{ index: 0, embedding: [1] }] }],
    "two vectors of one text": [200, { data: [0, 0].map((index) => ({ index, embedding: [1] })) }],
    "no numbers": [200, { data: [0, 1].map((index) => ({ index, embedding: ["1"] })) }],
    "different dimensions": [
      200,
      { data: [0, 1].map((index) => ({ index, embedding: Array(index + 1).fill(1) })) },
    ],
    "an error with status 200": [200, { error: { message: "no" } }],
    "a limit": [429, {}],
    "a wrong key": [401, {}],
    "a failure": [500, {}],
  };
  let url: string;
  let answer: [status: number, body: unknown, headers?: Record<string, string>];
  const server = createServer((_request, response) => {
    response.writeHead(answer[0], answer[2]);
    response.end(JSON.stringify(answer[1]));
  });
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));
  const embed = (dimensions?: number) =>
    createEmbedder({ url, key: undefined, model: "m", dimensions })!.embed(["one", "two"]);

  test.each(Object.keys(answers))("is not believed: %s", async (name) => {
    answer = answers[name]!;
    await expect(embed()).rejects.toMatchObject({ code: "EMBEDDINGS_FAILED" });
  });

  test("rejects texts with another 4xx status, is not followed elsewhere, and must keep the dimensions", async () => {
    answer = [400, {}];
    await expect(embed()).rejects.toMatchObject({ code: "EMBEDDINGS_REFUSED" });
    answer = [307, {}, { location: url }];
    await expect(embed()).rejects.toMatchObject({ code: "EMBEDDINGS_FAILED" });
    answer = [200, { data: [1, 0].map((index) => ({ index, embedding: [index, 5] })) }];
    expect(await embed()).toEqual([
      [0, 5],
      [1, 5],
    ]);
    await expect(embed(3)).rejects.toMatchObject({ code: "EMBEDDINGS_FAILED" });
    expect(createEmbedder({ url, key: undefined, model: "m", dimensions: 3 })!.model).toBe("m 3");
    expect(createEmbedder(undefined)).toBeUndefined();
  });
});
