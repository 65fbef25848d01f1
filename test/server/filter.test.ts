import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
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

test("orders and filters chats by the columns that a list of chats shows", async () => {
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

test("filters plans by whether they are on offer today, as documented in docs/api.md", async () => {
  const { data } = await api.ask(
    "{ subscriptionPlans(filter: { supersededAt: { isNull: true }, isActive: { equalTo: true } }, orderBy: CODE_ASC) { nodes { code } } }",
    { token: ada.token },
  );
  expect(data.subscriptionPlans.nodes).toEqual([{ code: "free" }, { code: "premium" }]);
});

describe("null in a filter", () => {
  const ALL = ["Alpha", "Beta", "Gamma"];
  const count = async (filter: string) => {
    const { data, errors } = await api.ask(`{ chats(orderBy: TITLE_ASC, ${filter}) { nodes { title } } }`, {
      token: ada.token,
    });
    expect(errors).toBeUndefined();
    return data.chats.nodes.map((chat: { title: string }) => chat.title);
  };

  test.each([
    "filter: null",
    "filter: {}",
    "filter: { title: null }",
    "filter: { title: {} }",
    "filter: { title: { equalTo: null } }",
    "filter: { title: { isNull: null } }",
    "filter: { title: { in: null } }",
    "filter: { title: { includes: null } }",
    "filter: { and: null }",
    "filter: { and: [] }",
    "filter: { and: [{}] }",
    "filter: { or: null }",
    "filter: { or: [] }",
    "filter: { or: [{ title: { equalTo: null } }] }",
    "filter: { not: null }",
    "filter: { not: {} }",
    "filter: { not: { title: { equalTo: null } } }",
    "filter: { user: null }",
    "filter: { user: {} }",
    "filter: { user: { username: { equalTo: null } } }",
  ])("counts as not given: %s", async (filter) => {
    expect(await count(filter)).toEqual(ALL);
  });

  test("keeps the other conditions in force", async () => {
    for (const filter of [
      'filter: { title: { equalTo: "Beta", notEqualTo: null, in: null } }',
      'filter: { title: { equalTo: "Beta" }, or: null, not: null, user: null }',
      'filter: { or: [{ title: { equalTo: null } }, { title: { equalTo: "Beta" } }] }',
      'filter: { and: [{}, { title: { equalTo: "Beta" } }] }',
      'filter: { not: { title: { in: ["Alpha", "Gamma"], equalTo: null } } }',
    ])
      expect([filter, await count(filter)]).toEqual([filter, ["Beta"]]);
  });

  test("counts as not given in an unset variable", async () => {
    const query = `query ($a: String, $b: [String!], $c: Boolean, $f: ChatFilter) {
      chats(filter: { title: { equalTo: $a, in: $b, isNull: $c }, and: [{ title: { includes: $a } }] }) { totalCount }
      other: chats(filter: $f) { totalCount }
    }`;
    const three = { chats: { totalCount: 3 }, other: { totalCount: 3 } };
    expect((await api.ask(query, { token: ada.token })).data).toEqual(three);
    const nulls = { a: null, b: null, c: null, f: null };
    expect((await api.ask(query, { token: ada.token, variables: nulls })).data).toEqual(three);
  });

  test("can be tested with isNull", async () => {
    expect(await count("filter: { title: { isNull: true } }")).toEqual([]);
    expect(await count("filter: { title: { isNull: false } }")).toEqual(ALL);
    expect(await count("filter: { title: { in: [] } }")).toEqual([]);
  });
});

test("searches for a text literally", async () => {
  const user = await signUp(api, "files");
  const names = ["50%", "C:\\dir", "a_b", "axb", "end\\", "\\start", "%_\\"];
  for (const title of names)
    await api.ask(
      "mutation ($title: String!) { createChat(input: { chat: { title: $title } }) { clientMutationId } }",
      {
        token: user.token,
        variables: { title },
      },
    );
  const find = async (operator: string, text: string): Promise<string[]> => {
    const { data } = await api.ask(
      `query ($text: String!) { chats(filter: { title: { ${operator}: $text } }) { nodes { title } } }`,
      { token: user.token, variables: { text } },
    );
    return data.chats.nodes.map((chat: { title: string }) => chat.title);
  };
  const tests: Record<string, (title: string, text: string) => boolean> = {
    includes: (title, text) => title.includes(text),
    startsWith: (title, text) => title.startsWith(text),
    endsWith: (title, text) => title.endsWith(text),
  };
  for (const [name, matches] of Object.entries(tests))
    for (const text of ["\\", "%", "_", "\\%", "\\_", "\\\\", "\\d", "%_\\"])
      for (const suffix of ["", "Insensitive"]) {
        const not = `not${name[0]!.toUpperCase()}${name.slice(1)}`;
        expect([name, text, (await find(name + suffix, text)).sort()]).toEqual([
          name,
          text,
          names.filter((title) => matches(title, text)).sort(),
        ]);
        expect([not, text, (await find(not + suffix, text)).sort()]).toEqual([
          not,
          text,
          names.filter((title) => !matches(title, text)).sort(),
        ]);
      }
});

test.each(['["Alpha", "Alpha", $title]', '[$title, "Alpha", $title, "Alpha"]'])(
  "filters by the list %s, which holds a value twice",
  async (list) => {
    const { data } = await api.ask(
      `query ($title: String!) {
         chats(filter: { title: { in: ${list} } }, orderBy: TITLE_ASC) { nodes { title } }
       }`,
      { token: ada.token, variables: { title: "Beta" } },
    );
    expect(data.chats.nodes).toEqual([{ title: "Alpha" }, { title: "Beta" }]);
  },
);
