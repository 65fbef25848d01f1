import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { decryptFernet } from "../../src/auth/fernet.ts";
import { generateMasterKey, parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import {
  type Api,
  codeOf,
  type GraphqlError,
  MASTER_KEYS,
  type SignedIn,
  send,
  signUp,
  startApi,
} from "../support/api.ts";
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

const FIELDS = "memory version createdAt updatedAt";
const get = (token?: string, from = api) => from.ask(`{ conversationMemory { ${FIELDS} } }`, { token });
const set = (input: object, token?: string, to = api) =>
  to.ask(
    `mutation ($input: SetConversationMemoryInput!) { setConversationMemory(input: $input) { conversationMemory { ${FIELDS} } } }`,
    { token, variables: { input } },
  );
const remove = (token?: string) => api.ask("mutation { deleteConversationMemory { wasDeleted } }", { token });
const written = async (input: object, token: string, to = api) => {
  const answer = await set(input, token, to);
  if (!answer.data?.setConversationMemory) throw new Error(answer.text);
  return answer.data.setConversationMemory.conversationMemory;
};
const asOwner = rowsAs("owner", () => db);

describe("a memory [S1]", () => {
  test.each([
    ["an object", { facts: ["likes tea", { deep: [1, 2.5, null, true] }], "": "empty name" }],
    ["text", "Grüße \u0000 \ud83d\ude00"],
    ["a number", 42],
    ["false", false],
    ["a list", [[], {}]],
    ["names that every object has", JSON.parse('{"__proto__": {"a": 1}, "constructor": 1}')],
  ])("is kept unchanged: %s", async (_, memory) => {
    const stored = await written({ memory }, ada.token);
    expect(JSON.stringify(stored.memory)).toBe(JSON.stringify(memory));
    expect((await get(ada.token)).data.conversationMemory).toEqual(stored);
    expect(new Date(stored.updatedAt).getTime()).toBeGreaterThanOrEqual(new Date(stored.createdAt).getTime());
  });

  test("is accepted as a literal in the query", async () => {
    const answer = await api.ask(
      'mutation { setConversationMemory(input: { memory: { a: [1, "x", null] } }) { conversationMemory { memory } } }',
      { token: ada.token },
    );
    expect(answer.data?.setConversationMemory.conversationMemory.memory).toEqual({ a: [1, "x", null] });
  });

  test("is null if there is none, and private to each user", async () => {
    await written({ memory: "ada's" }, ada.token);
    expect((await get(bob.token)).data).toEqual({ conversationMemory: null });
    await written({ memory: "bob's" }, bob.token);
    expect((await get(ada.token)).data.conversationMemory.memory).toBe("ada's");
    expect((await remove(bob.token)).data.deleteConversationMemory.wasDeleted).toBe(true);
    expect((await remove(bob.token)).data.deleteConversationMemory.wasDeleted).toBe(false);
    expect((await get(bob.token)).data.conversationMemory).toBeNull();
    expect((await get(ada.token)).data.conversationMemory.memory).toBe("ada's");
  });

  test("requires a signed-in user", async () => {
    for (const answer of [await get(), await set({ memory: 1 }), await remove()])
      expect(codeOf(answer)).toBe("UNAUTHENTICATED");
  });

  test("has a limit, exact in bytes", async () => {
    const fits = "é".repeat((256 * 1024 - 2) / 2);
    await written({ memory: fits }, ada.token);
    expect((await get(ada.token)).data.conversationMemory.memory).toBe(fits);
    for (const memory of [`${fits}x`, { a: fits }]) {
      const answer = await set({ memory }, ada.token);
      expect([codeOf(answer), answer.errors![0]!.extensions.field]).toEqual(["BAD_USER_INPUT", "memory"]);
    }
    expect((await get(ada.token)).data.conversationMemory.memory).toBe(fits);
  });

  test("is unchanged by bad input", async () => {
    await written({ memory: "kept" }, ada.token);
    for (const input of [
      {},
      { memory: null },
      { memory: "x", expectedVersion: "" },
      { memory: "x", expectedVersion: "-1" },
      { memory: "x", expectedVersion: "1; drop table users" },
      { memory: "x", expectedVersion: "9".repeat(30) },
      { memory: "x", expectedVersion: "1\u0000" },
      { memory: "x", expectedVersion: 1.5 },
      { memory: "x", userId: bob.userId },
    ])
      expect(codeOf(await set(input, ada.token))).toMatch(/^(BAD_USER_INPUT|GRAPHQL_VALIDATION_FAILED)$/);
    expect((await get(ada.token)).data.conversationMemory.memory).toBe("kept");
    // Too deep to be read back, or read back: never an internal error.
    for (const depth of [500, 20_000]) {
      const memory = "[".repeat(depth) + "]".repeat(depth);
      const query = JSON.stringify(
        "mutation ($memory: JSON!) { setConversationMemory(input: { memory: $memory }) { conversationMemory { version } } }",
      );
      const { json } = await send(api.url, {
        body: `{"query":${query},"variables":{"memory":${memory}}}`,
        headers: { authorization: `Bearer ${ada.token}` },
      });
      const codes = (json.errors ?? []).map((error: GraphqlError) => error.extensions.code);
      expect([[], ["BAD_USER_INPUT"]]).toContainEqual(codes);
      expect((await get(ada.token)).errors).toBeUndefined();
    }
  });
});

describe("concurrent writes [S1]", () => {
  test("get a conflict for an outdated version and lose nothing", async () => {
    const first = await written({ memory: 1 }, ada.token);
    const second = await written({ memory: 2, expectedVersion: first.version }, ada.token);
    expect(second.version).not.toBe(first.version);
    const late = await set({ memory: 3, expectedVersion: first.version }, ada.token);
    expect([codeOf(late), late.errors![0]!.extensions.field]).toEqual(["CONFLICT", "expectedVersion"]);
    expect((await get(ada.token)).data.conversationMemory.memory).toBe(2);
    expect(codeOf(await set({ memory: 3, expectedVersion: "0" }, ada.token))).toBe("CONFLICT");
    // A memory that was deleted and written again is another memory, even with the same content.
    await remove(ada.token);
    expect(codeOf(await set({ memory: 3, expectedVersion: second.version }, ada.token))).toBe("CONFLICT");
    await written({ memory: 1, expectedVersion: "0" }, ada.token);
    expect(codeOf(await set({ memory: 3, expectedVersion: first.version }, ada.token))).toBe("CONFLICT");
  });

  test("have one winner among many that replace one version or create the first", async () => {
    for (const expectedVersion of [(await written({ memory: "start" }, ada.token)).version, "0"]) {
      if (expectedVersion === "0") await remove(ada.token);
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, n) =>
          set({ memory: n, expectedVersion }, ada.token, n % 2 ? api : otherApi),
        ),
      );
      const won = answers.filter(({ errors }) => !errors);
      expect(won).toHaveLength(1);
      expect(answers.filter(({ errors }) => errors).map(codeOf)).toEqual(Array(11).fill("CONFLICT"));
      expect((await get(ada.token)).data.conversationMemory).toEqual(
        won[0]!.data.setConversationMemory.conversationMemory,
      );
    }
  });

  test("never lose increments under versions", async () => {
    await written({ memory: 0 }, ada.token);
    const increment = async (from: Api) => {
      for (;;) {
        const { memory, version } = (await get(ada.token, from)).data.conversationMemory;
        const answer = await set({ memory: memory + 1, expectedVersion: version }, ada.token, from);
        if (!answer.errors) return;
        expect(codeOf(answer)).toBe("CONFLICT");
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, n) => increment(n % 2 ? api : otherApi)));
    expect((await get(ada.token)).data.conversationMemory.memory).toBe(8);
  });

  test("use the same key when two servers create a user's key at once", async () => {
    const users = await Promise.all(["k1", "k2", "k3", "k4"].map((name) => signUp(api, name)));
    for (const { token, userId } of users) {
      await Promise.all(
        Array.from({ length: 6 }, (_, n) => written({ memory: n }, token, n % 2 ? api : otherApi)),
      );
      expect((await get(token)).errors).toBeUndefined();
      expect(await asOwner("select from private.user_keys where user_id = $1", [userId])).toHaveLength(1);
    }
  });

  test("keep an acknowledged memory readable, even if its key is shredded in between", async () => {
    // A write takes the next key when its own is shredded, at most four times: as often as this happens here.
    const outcomes = await Promise.all(
      Array.from({ length: 30 }, async (_, n) => {
        if (n % 7 === 6) return (await remove(ada.token)).errors;
        return (await set({ memory: n }, ada.token, n % 2 ? api : otherApi)).errors;
      }),
    );
    expect(outcomes.filter(Boolean)).toEqual([]);
    const read = await get(ada.token);
    expect(read.errors).toBeUndefined();
    await written({ memory: "after" }, ada.token);
    expect((await get(ada.token)).data.conversationMemory.memory).toBe("after");
  });
});

describe("the database [S1, C11]", () => {
  const CANARY = "kanarienvogel-7f3a";
  const sealer = createSealer(parseMasterKeys(MASTER_KEYS));
  const stored = async (userId: string) =>
    (
      await asOwner<{ memory: string; wrapped_key: string }>(
        "select memory, wrapped_key from llm.conversation_memories m join private.user_keys k on k.id = m.key_id where m.user_id = $1",
        [userId],
      )
    )[0]!;

  test("contains no memory in clear text, in any table or column", async () => {
    const { userId, token } = await signUp(api, "carol");
    await written({ memory: { note: CANARY } }, token);
    expect(await tablesWith(db, CANARY)).toEqual([]);
    // The search would have found it.
    await asOwner(
      "update identity.users set profile_data = jsonb_build_object('x', $1::text) where id = $2",
      [CANARY, userId],
    );
    expect(await tablesWith(db, CANARY)).toEqual(["identity.users"]);
    await asOwner("update identity.users set profile_data = '{}' where id = $1", [userId]);
    expect(api.logLines.filter((line) => JSON.stringify(line).includes(CANARY))).toEqual([]);
  });

  test("opens nothing without the master key; with it, each user's key opens only that user's memory", async () => {
    await written({ memory: CANARY }, ada.token);
    await written({ memory: "bob's" }, bob.token);
    const [hers, his] = [await stored(ada.userId), await stored(bob.userId)];
    const key = sealer.unseal("user key", hers.wrapped_key, ada.userId).toString();
    expect(decryptFernet(key, hers.memory).toString()).toBe(JSON.stringify(CANARY));
    expect(() => decryptFernet(key, his.memory)).toThrow(expect.objectContaining({ code: "FERNET_INVALID" }));
    expect(() => sealer.unseal("user key", hers.wrapped_key, bob.userId)).toThrow(
      expect.objectContaining({ code: "UNSEALABLE" }),
    );
    const stranger = createSealer(parseMasterKeys(generateMasterKey(1)));
    expect(() => stranger.unseal("user key", hers.wrapped_key, ada.userId)).toThrow(
      expect.objectContaining({ code: "UNSEALABLE" }),
    );
  });

  test("loses a memory with its shredded key, and no remaining key opens a copy", async () => {
    const { userId, token } = await signUp(api, "dora");
    await written({ memory: CANARY }, token);
    const copy = await stored(userId);
    await remove(token);
    expect(await asOwner("select from llm.conversation_memories where user_id = $1", [userId])).toEqual([]);
    expect(await asOwner("select from private.user_keys where user_id = $1", [userId])).toEqual([]);
    expect(await tablesWith(db, copy.wrapped_key)).toEqual([]);
    await written({ memory: "new" }, token);
    const keys = await asOwner<{ user_id: string; wrapped_key: string }>(
      "select user_id, wrapped_key from private.user_keys",
    );
    for (const { user_id, wrapped_key } of keys)
      expect(() =>
        decryptFernet(sealer.unseal("user key", wrapped_key, user_id).toString(), copy.memory),
      ).toThrow(expect.objectContaining({ code: "FERNET_INVALID" }));
    const events = await asOwner(
      "select from security.security_audit_log where user_id = $1 and event_type = 'user_key_shredded'",
      [userId],
    );
    expect(events).toHaveLength(1);
  });

  test("deletes key and memory with the account [S14]", async () => {
    const { userId, token } = await signUp(api, "emil");
    await written({ memory: CANARY }, token);
    await asOwner("delete from identity.users where id = $1", [userId]);
    for (const table of ["llm.conversation_memories", "private.user_keys"])
      expect(await asOwner(`select from ${table} where user_id = $1`, [userId])).toEqual([]);
  });

  test("completes concurrent deletions of accounts and keys and concurrent writes without a deadlock", async () => {
    const users = await Promise.all(Array.from({ length: 6 }, (_, n) => signUp(api, `racer${n}`)));
    for (const { token } of users) await written({ memory: 1 }, token);
    const statements = await Promise.allSettled(
      users.flatMap(({ userId, token }) => [
        written({ memory: 2 }, token),
        remove(token),
        asOwner("delete from identity.users where id = $1", [userId]),
        written({ memory: 3 }, token, otherApi),
      ]),
    );
    const reasons = statements.flatMap((outcome) =>
      outcome.status === "rejected" ? [String(outcome.reason)] : [],
    );
    expect(
      reasons.filter((reason) => /deadlock|40P01|INTERNAL|changed in between|Another change/.test(reason)),
    ).toEqual([]);
    expect(
      await asOwner("select from llm.conversation_memories where user_id = any ($1)", [
        users.map((u) => u.userId),
      ]),
    ).toEqual([]);
  });

  test("stores only encrypted content", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const insert = (memory: string) =>
        tx.attempt("update llm.conversation_memories set memory = $1 where user_id = $2", [
          memory,
          ada.userId,
        ]);
      await tx.attempt("select 1");
      await tx.rows("select 1");
      for (const memory of ['{"note": "x"}', "", "plain", "gBBBB".padEnd(100, "A")])
        await expectSqlState(insert(memory), "23514");
      await insert("gAAAAABpk".padEnd(100, "A"));
    });
  });
});

describe("roles [S1]", () => {
  test("show users that they have a memory, only their own, and never the ciphertext", async () => {
    await written({ memory: 1 }, ada.token);
    await written({ memory: 1 }, bob.token);
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada.userId);
      expect(await tx.rows("select user_id from llm.conversation_memories")).toEqual([
        { user_id: ada.userId },
      ]);
      for (const sql of [
        "select memory from llm.conversation_memories",
        "select * from llm.conversation_memories",
        "update llm.conversation_memories set version = default",
        "delete from llm.conversation_memories",
        `insert into llm.conversation_memories (user_id, key_id, memory) values ('${ada.userId}', '${randomUUID()}', 'x')`,
        "select * from private.user_keys",
        "select private.delete_user_key(plinth.current_user_id())",
        "select * from private.find_conversation_memory(plinth.current_user_id())",
        "select private.find_lookup_key('email')",
      ])
        await expectSqlState(tx.attempt(sql), "42501");
    });
  });

  test("find no table of memories in the schema", async () => {
    const answer = await api.ask("{ __schema { types { name } } }");
    const names = answer.data.__schema.types.map(({ name }: { name: string }) => name);
    expect(names).toContain("ConversationMemory");
    expect(
      names.filter((name: string) =>
        /UserKey|LookupKey|ConversationMemor(y|ies)(Connection|Condition|Patch)/.test(name),
      ),
    ).toEqual([]);
  });
});
