import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { registerUser } from "../support/accounts.ts";
import { connect, connectAs, startChat, type UserConnection } from "../support/chat.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

// A user's own messages are found, ranked and marked; other users' are not, and hits never contain markup.

let db: TestDatabase;
let ada: UserConnection;
let bob: UserConnection;
let owner: Awaited<ReturnType<typeof connect>>;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await connectAs(db, await registerUser(db, "ada"));
  bob = await connectAs(db, await registerUser(db, "bob"));
  owner = await connect(db, "owner");
});
afterAll(async () => {
  for (const connection of [ada, bob, owner]) await connection.end();
  await db.drop();
});

interface Found {
  readonly message_id: string;
  readonly chat_id: string;
  readonly chat_title: string;
  readonly role: string;
  readonly headline: string;
}
const search = (query: string, args = "", user = ada) =>
  user.rows<Found>(`select * from llm.search_chat_messages($1${args})`, [query]);
const say = async (text: string, user = ada) => (await startChat(user, text)).chat;

test("finds words in any form, phrases and alternatives, drops exclusions and ranks the best first", async () => {
  const boats = await say("The boats leave at noon. Boats are slow, boats are wet.");
  const boat = await say("One boat among a great many other things that have nothing at all to do with it");
  await say("A train leaves at noon");
  expect((await search("boat")).map(({ chat_id }) => chat_id)).toEqual([boats, boat]);
  expect(await search("boats -noon")).toMatchObject([{ chat_id: boat, role: "user" }]);
  expect(await search('"leaves at noon" train')).toHaveLength(1);
  expect(await search("train or slow")).toHaveLength(2);
  expect(await search("nothing-like-this")).toEqual([]);
  expect(await search("")).toEqual([]);
  expect(await search("leave", ", 1")).toHaveLength(1);
  expect(await search("leave", ", 1, 1")).toHaveLength(1);
  await expect(search("leave", ", 1000")).rejects.toMatchObject({ code: "PL422" });
});

test("finds no message of other users, not even for administrators, and nothing without a user", async () => {
  await say("platypus", bob);
  expect(await search("platypus")).toEqual([]);
  expect(await search("platypus", "", bob)).toHaveLength(1);
  expect(await owner.rows("select from llm.search_chat_messages('platypus')")).toEqual([]);
});

test("skips archived chats by default", async () => {
  const chat = await say("walrus");
  await ada.rows("update llm.chats set is_archived = true where id = $1", [chat]);
  expect(await search("walrus")).toEqual([]);
  expect(await search("walrus", ", include_archived => true")).toMatchObject([{ chat_title: "walrus" }]);
});

test("marks hits in harmless text", async () => {
  await say(
    `<img src=x onerror=alert(1)> the "otter" & 'friends' <b>otter</b> </mark><script>otter</script> \u{e000}otter\u{e001}`,
  );
  const [{ headline }] = (await search("otter")) as [Found];
  expect(headline).toContain("<mark>otter</mark>");
  const withoutMarks = headline.replaceAll("<mark>", "").replaceAll("</mark>", "");
  expect(withoutMarks).not.toMatch(/[<>"'\ue000\ue001]/);
  expect(withoutMarks).toContain("&amp;");
  expect(headline.match(/<mark>/g)!.length).toBe(headline.match(/<\/mark>/g)!.length);
});

test("finds words in the first 100,000 characters of texts of any size", async () => {
  const chat = await say(`start ${"ab cd ".repeat(15_000)} needle ${"ef ".repeat(5_000)} haystack`);
  expect(await search("needle")).toMatchObject([{ chat_id: chat }]);
  expect(await search("haystack")).toEqual([]);
  // More distinct words than one vector could hold.
  const [many] = await ada.rows<{ id: string }>("insert into llm.chats default values returning id");
  await ada.rows(
    "insert into llm.messages (chat_id, role, content) select $1, 'user', left(string_agg(to_hex(n * 7919), ' '), 990000) from generate_series(1, 120000) n",
    [many!.id],
  );
});

test("reads the index with the owner first and no message of other users", async () => {
  await owner.rows(
    `insert into llm.chats (id, user_id) select 'cccccccc-0000-7000-8000-000000000001', id from identity.users where username = 'bob';
     insert into llm.messages (chat_id, user_id, depth, role, content)
     select c.id, c.user_id, 1, 'user', 'common words number ' || n from llm.chats c, generate_series(1, 5000) n
     where c.id = 'cccccccc-0000-7000-8000-000000000001';
     analyze llm.messages`,
  );
  const plan = await owner.rows<Record<string, string>>(
    `explain select from llm.messages m
     where m.user_id = (select id from identity.users where username = 'ada') and m.role in ('user', 'assistant')
       and plinth.search_document('en', m.content) @@ plinth.search_query('en', 'common')`,
  );
  const text = plan.map((row) => row["QUERY PLAN"]).join("\n");
  expect(text).toMatch(/Bitmap Index Scan on messages_search_idx/);
  expect(text).toMatch(/Index Cond: .*user_id.*@@/);
  expect(await search("common")).toEqual([]);
});
