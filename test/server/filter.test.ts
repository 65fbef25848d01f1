import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Api, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
  for (const title of ["Beta", "Alpha", "Gamma"])
    await api.ask(
      "mutation ($title: String!) { createChat(input: { chat: { title: $title } }) { chat { id } } }",
      {
        token: ada.token,
        variables: { title },
      },
    );
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const titles = async (args: string): Promise<string[]> => {
  const { data } = await api.ask(`{ chats(${args}) { nodes { id title } } }`, { token: ada.token });
  return data.chats.nodes.map((chat: { title: string }) => chat.title);
};

test("chats are ordered and filtered by what a list of chats shows", async () => {
  expect(await titles("orderBy: TITLE_ASC")).toEqual(["Alpha", "Beta", "Gamma"]);
  expect(await titles("orderBy: UPDATED_AT_DESC")).toEqual(["Gamma", "Alpha", "Beta"]);
  expect(await titles('filter: { title: { startsWithInsensitive: "al" } }')).toEqual(["Alpha"]);
  expect(await titles("filter: { isArchived: { equalTo: true } }")).toEqual([]);
  const { data } = await api.ask("{ chats(first: 1, orderBy: TITLE_DESC) { nodes { id } } }", {
    token: ada.token,
  });
  await api.ask(
    "mutation ($id: UUID!) { updateChat(input: { id: $id, patch: { isArchived: true } }) { chat { id } } }",
    {
      token: ada.token,
      variables: { id: data.chats.nodes[0].id },
    },
  );
  expect(await titles("filter: { isArchived: { equalTo: true } }")).toEqual(["Gamma"]);
  expect(await titles("filter: { isArchived: { equalTo: false } }, orderBy: TITLE_ASC")).toEqual([
    "Alpha",
    "Beta",
  ]);
});

test("plans are filtered by whether they are on offer today, as docs/api.md has it", async () => {
  const { data } = await api.ask(
    "{ subscriptionPlans(filter: { supersededAt: { isNull: true }, isActive: { equalTo: true } }, orderBy: CODE_ASC) { nodes { code } } }",
    { token: ada.token },
  );
  expect(data.subscriptionPlans.nodes).toEqual([{ code: "free" }, { code: "premium" }]);
});
