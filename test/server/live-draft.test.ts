import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { createClient } from "graphql-ws";
import { type Api, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { makeDoubles } from "../support/live-doubles.ts";

let db: TestDatabase; let api: Api; let ada: SignedIn; let bob: SignedIn; let room: string;
beforeAll(async () => {
  db = await createTestDatabase();
  await makeDoubles(db);
  api = await startApi(db, {});
  ada = await signUp(api, "ada"); bob = await signUp(api, "bob");
  room = await withClient(db.url("owner"), async (c) => {
    const { rows } = await c.query("insert into rooms.rooms (name) values ('r') returning id");
    await c.query("insert into rooms.members values ($1, $2), ($1, $3)", [rows[0].id, ada.userId, bob.userId]);
    return rows[0].id;
  });
});
afterAll(async () => { await api.close(); await db.drop(); });
const post = (text: string) => withClient(db.url("owner"), (c) => c.query("select rooms.double_post($1,$2,$3)", [room, ada.userId, text]));

test("draft", async () => {
  const client = createClient({ url: `${api.url.replace("http", "ws")}/graphql`, connectionParams: { authorization: `Bearer ${bob.token}` }, retryAttempts: 0 });
  const got: any[] = [];
  client.subscribe({ query: `subscription { roomEvents(roomId: "${room}") { sequence events { sequence kind message { content user { username } } } } }` },
    { next: (r) => { got.push(r); console.log(JSON.stringify(r)); }, error: (e) => { got.push(e); console.log(JSON.stringify(e)); }, complete: () => got.push("complete") });
  await new Promise((r) => setTimeout(r, 1500));
  await post("hello"); await post("hello2");
  await new Promise((r) => setTimeout(r, 500));
  console.log(JSON.stringify(api.logLines.filter((l) => Number(l.level) >= 40), null, 1));
  const h = await api.ask(`subscription { roomEvents(roomId: "${room}") { sequence } }`, { token: bob.token });
  console.log(h.status, h.text);
  await client.dispose();
}, 20000);
