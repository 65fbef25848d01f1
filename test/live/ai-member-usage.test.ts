import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { startFakeModel } from "../../src/answerer/fake-model.ts";
import { connectPerson, makeUsers, type Person } from "../rooms/support.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { startAiMember } from "../support/own-writer/ai-member.ts";
import { startTransactionPooler, type TransactionPooler } from "../support/transaction-pooler.ts";

let db: TestDatabase;
let ada: Person;
let pooler: TransactionPooler;
const asOwner = rowsAs("owner", () => db);

beforeAll(async () => {
  db = await createTestDatabase();
  pooler = await startTransactionPooler(db.url("service"));
  const [id] = await makeUsers(db, ["ada"]);
  ada = await connectPerson(db, id!);
});
afterAll(async () => {
  await ada.close();
  await pooler.close();
  await db.drop();
});

test("answers without notifications in an application's own AI and charges the usage to the asking user", async () => {
  const model = await startFakeModel({ wordMs: 0, answer: () => "Because it is so." });
  const member = startAiMember({
    serviceUrl: pooler.urlThrough(db.url("service")),
    model: { url: model.url, name: "echo" },
  });
  try {
    const room = await ada.call<{ id: string }>("create_room", { name: "room", ai_enabled: true });
    await ada.call("post_room_message", { room_id: room.id, content: "Why is it so?" });
    const usage = () =>
      asOwner(
        "select input_tokens::integer as input, output_tokens::integer as output from billing.usage_events where user_id = $1",
        [ada.id],
      );
    await until(async () => (await usage()).length > 0, { everyMs: 100 });
    // "ada: Why is it so?" and "Because it is so.", word by word.
    expect(await usage()).toEqual([{ input: 5, output: 4 }]);
  } finally {
    await member.close();
    await model.close();
  }
});
