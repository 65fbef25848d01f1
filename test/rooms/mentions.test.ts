import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { connectPerson, makeUsers, type Person } from "./support.ts";

// The rule of mentions (docs/rooms.md), one text per row.

let db: TestDatabase;
let ada: Person;
let room: string;
beforeAll(async () => {
  db = await createTestDatabase();
  const [id, ...others] = await makeUsers(db, ["ada", "john", "john.doe", "mary-ann", "j_smith", "outsider"]);
  ada = await connectPerson(db, id!);
  room = (await ada.call<{ id: string }>("create_room", { name: "room", is_public: true })).id;
  for (const other of others.slice(0, -1)) {
    const person = await connectPerson(db, other);
    await person.call("join_room", { room_id: room });
    await person.close();
  }
});
afterAll(async () => {
  await ada.close();
  await db.drop();
});

async function mentioned(content: string): Promise<string[]> {
  const { id } = await ada.call<{ id: string }>("post_room_message", { room_id: room, content });
  const rows = await ada.rows<{ username: string }>(
    `select p.username from rooms.room_message_mentions m join identity.profiles p on p.id = m.user_id
     where m.message_id = $1 order by 1`,
    [id],
  );
  return rows.map(({ username }) => username);
}

describe.each<[string, [string, ...string[]][]]>([
  [
    "names",
    [
      ["@john", "john"],
      ["@JOHN and @Mary-Ann", "john", "mary-ann"],
      ["@john @john", "john"],
      ["@ada is the sender"],
      ["@outsider is no member"],
      ["@nobody"],
      ["@ john"],
      ["@@john"],
    ],
  ],
  [
    "punctuation around names",
    [
      ["(@john), [@mary-ann]!", "john", "mary-ann"],
      ["_thanks @john_", "john"],
      ["_@john_ **@j_smith**", "j_smith", "john"],
      ["@john... @john- @john's", "john"],
      [".@john", "john"],
      ["@john/@mary-ann", "john", "mary-ann"],
      ["@john.Please", "john"],
      ["@john.doe.", "john.doe"],
      ["@john.doe.Please", "john.doe"],
      ["@john-smith @johnny @john_smith"],
    ],
  ],
  [
    "letters beside names",
    [
      ["你好@john", "john"],
      ["@john你好", "john"],
      ["你好@john你好", "john"],
      ["こんにちは@john、한국어@mary-ann", "john", "mary-ann"],
      ["สวัสดี@john", "john"],
      ["привет @john", "john"],
      ["привет@john"],
      ["café@john"],
      ["@johné"],
      ["@johnмир"],
    ],
  ],
  [
    "code",
    [
      ["`@john`"],
      ["``a ` @john`` @mary-ann", "mary-ann"],
      ["`a` @john `b`", "john"],
      ["`unclosed @john", "john"],
      ["`ends\n\n@john` not in the next paragraph", "john"],
      ["```\n@john\n```\n@mary-ann", "mary-ann"],
      ["~~~js\n@john\n```\n~~~\n@mary-ann", "mary-ann"],
      ["````\n```\n@john\n````"],
      ["```\n@john, never closed"],
      ["```js @john``` is code between backticks"],
    ],
  ],
  [
    "addresses",
    [
      ["https://example.com/@john"],
      ["HTTP://example.com?q=@john and @mary-ann", "mary-ann"],
      ["<https://example.com/@john>@mary-ann", "mary-ann"],
      ["medium.com/@john/a-text"],
      ["john@john.com, x+tag@john, 1@john"],
      ["你好a@john"],
      ["@john@example.social"],
      ["mail john@example.com or @john", "john"],
    ],
  ],
])("%s", (_kind, table) => {
  test.each(table)("%j mentions %j", async (content, ...names) => {
    expect(await mentioned(content)).toEqual(names);
  });
});

test.each([
  ["names", "@b ".repeat(13_000)],
  ["single backticks", `${"` ".repeat(19_000)}@john`],
  ["backticks of many lengths", Array.from({ length: 270 }, (_, i) => `${"`".repeat(i + 1)} `).join("")],
  ["addresses", "a@".repeat(19_000)],
  ["dots", `${"a.".repeat(19_000)}/@john`],
  ["fences", "```\n@john\n".repeat(3_900)],
])("reads a message of only %s before the test times out", async (_what, content) => {
  await mentioned(content);
});
