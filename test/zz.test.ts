import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { seedActors } from "./support/access-seed.ts";
import { type Api, signUp, startApi } from "./support/api.ts";
import { createTestDatabase, type TestDatabase } from "./support/database.ts";

let db: TestDatabase;
let api: Api;
let plain: Api;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  plain = await startApi(db, { PLINTH_COMPILED_DOCUMENTS: "false" });
});
afterAll(async () => {
  await api.close();
  await plain.close();
  await db.drop();
});
const Q = [
  "{ chats(first: 20, orderBy: [UPDATED_AT_DESC]) { nodes { id title updatedAt nodeId messages(first: 10, orderBy: [CREATED_AT_DESC]) { nodes { id role content createdAt model { id displayName } } } } } }",
  "{ chats(last: 1) { totalCount edges { cursor node { __typename title } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } nodes { id } } }",
  '{ chats(filter: { title: { includes: "a" }, not: { isPinned: { equalTo: true } } }) { totalCount edges { cursor node { __typename title user { username tier role} } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } nodes { id } } }',
  "{ chats(first: 0) { pageInfo { hasNextPage hasPreviousPage startCursor endCursor } nodes { id } } }",
];
test("x", async () => {
  const actors = await seedActors(db);
  const ada = actors.get("ada")!;
  const { signIn } = (await import("./support/api.ts")) as any;
  const s = await signUp(api, "zoe1");
  await api.ask(`mutation { createChat(input: { chat: { title: "ab\\"c" } }) { chat { id } } }`, {
    token: s.token,
  });
  await api.ask(`mutation { createChat(input: { chat: { title: "äß" } }) { chat { id } } }`, {
    token: s.token,
  });
  const out: string[] = [];
  for (const q of Q) {
    for (let i = 0; i < 3; i++) await api.ask(q, { token: s.token });
    const a = await api.ask(q, { token: s.token });
    const b = await plain.ask(q, { token: s.token });
    out.push(q, a.text, b.text, String(a.text === b.text));
  }
  writeFileSync(
    "/tmp/zz.txt",
    out.join("\n") + "\n" + JSON.stringify(api.logLines.filter((l: any) => l.level >= 40)),
  );
});
