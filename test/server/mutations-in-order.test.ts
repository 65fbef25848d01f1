import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { type Api, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { untilWaiting } from "../support/waiting.ts";

// The mutations of one document run one after another, each in its own transaction.

const LOCK = 4_712;

let db: TestDatabase;
let api: Api;
let ada: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), (owner) =>
    owner.query(`
      create function llm.wait_for_lock() returns bigint language plpgsql volatile as $$
        begin
          perform pg_advisory_xact_lock(${LOCK});
          return (select count(*) from llm.chats);
        end $$;
      create function llm.fail_late() returns integer language plpgsql volatile as $$
        begin
          insert into llm.chats (title) values ('undone');
          return 1 / 0;
        end $$;
      grant execute on function llm.wait_for_lock(), llm.fail_late() to ${db.rolePrefix}_user`),
  );
  api = await startApi(db);
  ada = await signUp(api, "ada");
});
afterEach(() => withClient(db.adminUrl, (admin) => admin.query("delete from llm.chats")));
afterAll(async () => {
  await api.close();
  await db.drop();
});

const ask = (query: string) => api.ask(query, { token: ada.token });
const create = (alias: string, title: string) =>
  `${alias}: createChat(input: { chat: { title: ${JSON.stringify(title)} } }) { chat { title } }`;
const titles = async (): Promise<string[]> =>
  withClient(db.adminUrl, async (admin) =>
    (await admin.query("select title from llm.chats order by created_at, title")).rows.map(
      ({ title }) => title,
    ),
  );

test("a mutation is committed before the next one of its document starts", async () => {
  await withClient(db.adminUrl, async (admin) => {
    await admin.query("select pg_advisory_lock($1)", [LOCK]);
    const answer = ask(
      `mutation { ${create("first", "one")} waitForLock(input: {}) { result } ${create("last", "two")} }`,
    );
    await untilWaiting(db);
    expect(await titles()).toEqual(["one"]);
    await admin.query("select pg_advisory_unlock($1)", [LOCK]);
    const { data, errors } = await answer;
    expect(errors).toBeUndefined();
    expect(data.waitForLock.result).toBe("1");
    expect(await titles()).toEqual(["one", "two"]);
  });
});

test("when a mutation fails, those before it stay and those behind it run", async () => {
  const { data, errors } = await ask(`mutation {
    ${create("first", "one")}
    second: failLate(input: {}) { result }
    ${create("third", "three")}
  }`);
  expect(errors?.map(({ path }) => path)).toEqual([["second"]]);
  expect(data).toEqual({
    first: { chat: { title: "one" } },
    second: null,
    third: { chat: { title: "three" } },
  });
  expect(await titles()).toEqual(["one", "three"]);
});
