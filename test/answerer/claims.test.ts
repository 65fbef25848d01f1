import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { registerUser } from "../support/accounts.ts";
import { connect, connectAs, startChat, type UserConnection } from "../support/chat.ts";
import { expectSqlState, type TestDatabase } from "../support/database.ts";
import { createAnswererDatabase, giveTokens, modelAt, requestAnswer } from "./support.ts";

// Which requested answers a server gets, without a server: nobody's requests may keep those of others waiting.

let db: TestDatabase;
let ada: UserConnection;
let bob: UserConnection;
let owner: Awaited<ReturnType<typeof connect>>;
let service: Awaited<ReturnType<typeof connect>>;
let model: string;
let names: Map<string, string>;
beforeAll(async () => {
  db = await createAnswererDatabase();
  const ids = [await registerUser(db, "ada"), await registerUser(db, "bob")] as const;
  names = new Map([
    [ids[0], "ada"],
    [ids[1], "bob"],
  ]);
  for (const id of ids) await giveTokens(db, id);
  [ada, bob] = [await connectAs(db, ids[0]), await connectAs(db, ids[1])];
  owner = await connect(db, "owner");
  service = await connect(db, "service");
  model = await modelAt(db, "https://model.example/v1");
});
afterAll(async () => {
  for (const connection of [ada, bob, owner, service]) await connection.end();
  await db.drop();
});

const claim = async (count: number) =>
  (await service.rows<{ user_id: string }>("select user_id from private.claim_answers($1)", [count])).map(
    ({ user_id }) => names.get(user_id),
  );
const endAll = () =>
  owner.rows("update private.turns set ended_at = clock_timestamp() where ended_at is null");

test("users take turns, however many answers one of them has requested", async () => {
  for (let n = 0; n < 4; n++) await requestAnswer(ada, model);
  for (let n = 0; n < 2; n++) await requestAnswer(bob, model);
  expect((await claim(4)).sort()).toEqual(["ada", "ada", "bob", "bob"]);
  expect(await claim(4)).toEqual(["ada", "ada"]);
  await endAll();
});

test("at most five answers of a user's own model are written at the same time", async () => {
  for (let n = 0; n < 7; n++) await requestAnswer(ada, model);
  await owner.rows("update private.turns set uses_own_model = true where ended_at is null");
  await requestAnswer(bob, model);
  expect((await claim(3)).sort()).toEqual(["ada", "ada", "bob"]);
  expect(await claim(100)).toEqual(["ada", "ada", "ada"]);
  expect(await claim(100)).toEqual([]);
  await endAll();
});

test.each(["tool_calls", "extended_metadata"])(
  "%s of a message have a limit, also as the database prints them",
  async (column) => {
    const { chat } = await startChat(ada);
    const insert = (value: unknown) =>
      ada.rows(
        `insert into llm.messages (chat_id, role, content, ${column}) values ($1, 'assistant', 'x', $2)`,
        [chat, JSON.stringify(column === "tool_calls" ? [value] : value)],
      );
    // 5 characters become 309 digits.
    await expectSqlState(insert({ z: Array.from({ length: 4_000 }, () => 1e308) }), "23514");
    await insert({ z: Array.from({ length: 2_000 }, () => 1e308) });
  },
);
