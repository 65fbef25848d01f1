import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { Client } from "pg";
import { type Answer, type Api, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { untilWaiting, withGrowingLimit } from "../support/waiting.ts";

// A query sees one moment of the database. `behind` waits for a lock, and another session commits meanwhile. With a single
// connection, statements that do not share a transaction run one after another, so the later one would see the commit.

const LOCK = 4_711;

let db: TestDatabase;
let single: Api;
let ada: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), (owner) =>
    owner.query(`
      create function llm.behind() returns bigint language plpgsql stable as $$
        begin
          perform pg_advisory_xact_lock_shared(${LOCK});
          return (select count(*) from llm.chats);
        end $$;
      create function llm.waits(chat llm.chats) returns boolean language plpgsql stable as $$
        begin
          perform pg_advisory_xact_lock_shared(${LOCK});
          return true;
        end $$;
      create function llm.count_chats() returns bigint language sql stable as 'select count(*) from llm.chats';
      create function llm.divide(by integer) returns integer language sql stable as 'select 1 / by';
      create function llm.sleep(seconds integer) returns integer language plpgsql stable as
        'begin perform pg_sleep(seconds); return seconds; end';
      grant execute on function llm.behind(), llm.waits(llm.chats), llm.count_chats(), llm.divide(integer),
        llm.sleep(integer) to ${db.rolePrefix}_user`),
  );
  single = await startApi(db, { PLINTH_POOL_MAX: "1" });
  ada = await signUp(single, "ada");
});
beforeEach(() => addChat("before"));
afterEach(() => withClient(db.adminUrl, (admin) => admin.query("delete from llm.chats")));
afterAll(async () => {
  await single.close();
  await db.drop();
});

const addChat = (title: string) =>
  withClient(db.adminUrl, (admin) =>
    admin.query("insert into llm.chats (user_id, title) values ($1, $2)", [ada.userId, title]),
  );

const ask = (query: string, variables: Record<string, unknown> = {}): Promise<Answer> =>
  single.ask(query, { token: ada.token, variables });

/** Asks while a lock is held, and commits a second chat as soon as the query waits for it. */
async function askAround(query: string, variables?: Record<string, unknown>): Promise<Answer> {
  return withClient(db.adminUrl, async (admin: Client) => {
    await admin.query("select pg_advisory_lock($1)", [LOCK]);
    const answer = ask(query, variables);
    await untilWaiting(db);
    await addChat("meanwhile");
    await admin.query("select pg_advisory_unlock($1)", [LOCK]);
    return answer;
  });
}

describe("a query sees one moment", () => {
  test("in two fields at its root", async () => {
    const { data } = await askAround("{ behind countChats }");
    expect(data).toEqual({ behind: "1", countChats: "1" });
    expect((await ask("{ countChats }")).data).toEqual({ countChats: "2" });
  });

  test("in a page and its total count", async () => {
    const { data } = await askAround("{ chats { nodes { title waits } totalCount } }");
    expect(data.chats).toEqual({ nodes: [{ title: "before", waits: true }], totalCount: 1 });
  });

  test("through fragments and conditions", async () => {
    const query = `query ($isIncluded: Boolean!) { ...Counts later: countChats @skip(if: $isIncluded) }
      fragment Counts on Query { behind ... @include(if: $isIncluded) { countChats } }`;
    expect((await askAround(query, { isIncluded: true })).data).toEqual({ behind: "1", countChats: "1" });
    expect((await askAround(query, { isIncluded: false })).data).toEqual({ behind: "2", later: "2" });
  });

  test("also behind a field that failed", async () => {
    const { data, errors } = await askAround("{ failed: divide(by: 0) behind countChats }");
    expect(data).toEqual({ failed: null, behind: "1", countChats: "1" });
    expect(errors).toHaveLength(1);
  });
});

describe("a field of a query", () => {
  test("fails alone, with its own error", async () => {
    const query = `{
      a: divide(by: 1) b: divide(by: 0) countChats c: divide(by: -1) d: divide(by: 0) chats { totalCount }
    }`;
    const { data, errors } = await ask(query);
    expect(data).toEqual({ a: 1, b: null, countChats: "1", c: -1, d: null, chats: { totalCount: 1 } });
    const alone = await ask("{ b: divide(by: 0) }");
    expect(errors!.map(({ path, extensions }) => [path, extensions.code])).toEqual(
      ["b", "d"].map((name) => [[name], alone.errors![0]!.extensions.code]),
    );
  });

  test("is cancelled alone", async () => {
    const answer = ask("{ sleep(seconds: 60) countChats chats { totalCount } }");
    await withClient(db.url("authenticator"), (client) =>
      until(async () => {
        const { rowCount } = await client.query(
          `select pg_cancel_backend(pid) from pg_stat_activity
           where datname = current_database() and query like '%"sleep"(%' and state = 'active' and pid <> pg_backend_pid()`,
        );
        return rowCount === 1;
      }),
    );
    const { data, errors } = await answer;
    expect(data).toEqual({ sleep: null, countChats: "1", chats: { totalCount: 1 } });
    expect(errors).toMatchObject([{ path: ["sleep"], extensions: { code: "TIMEOUT" } }]);
  });
});

test.each([1, 2])("many queries at once share %i connections and all are answered", async (max) => {
  const api = max === 1 ? single : await startApi(db, { PLINTH_POOL_MAX: String(max) });
  try {
    const queries = ["{ countChats chats { nodes { title } totalCount } }", "{ countChats }"];
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) => api.ask(queries[n % 2]!, { token: ada.token })),
    );
    expect(answers.map(({ data, errors }) => errors ?? data.countChats)).toEqual(Array(100).fill("1"));
  } finally {
    if (api !== single) await api.close();
  }
});

test("a query that takes too long is answered, and its connection returns", async () => {
  await withGrowingLimit(400, async (ms) => {
    const impatient = await startApi(db, {
      PLINTH_POOL_MAX: "1",
      PLINTH_STATEMENT_TIMEOUT_MS: String(ms),
      PLINTH_POOL_CONNECTION_TIMEOUT_MS: String(ms),
    });
    try {
      // Each statement may take this long, all together twice as long.
      const { errors } = await impatient.ask(
        `{ ${[1, 2, 3, 4].map((n) => `s${n}: sleep(seconds: ${60 + n})`).join(" ")} }`,
        { token: ada.token },
      );
      expect(errors!.map(({ path }) => path)).toEqual([["s1"], ["s2"], ["s3"], ["s4"]]);
      const query = "{ countChats chats { totalCount } }";
      await until(async () => !(await impatient.ask(query, { token: ada.token })).errors);
    } finally {
      await impatient.close();
    }
  });
});
