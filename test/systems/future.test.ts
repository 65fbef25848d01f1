import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { generateSigningKey } from "../../src/auth/signing-keys.ts";
import { type PlinthServer, startServer } from "../../src/http/server.ts";
import { ask, codeOf, collectLog, serverOptions, signUp } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

// The future of the AI training platform's document: what Plinth has of it beyond the tests that docs/systems.md names.

/** Tables that are not moved with a person, each with the reason. */
const NUMBERED = {
  request_digests: "Digests of idempotency keys, which no row refers to.",
  room_tallies: "Counts, which can be computed from the messages.",
};

/** Two customers of a service, each with a database, a server and keys of its own on one PostgreSQL server. */
const databases: TestDatabase[] = [];
const servers: PlinthServer[] = [];
beforeAll(async () => {
  for (let tenant = 0; tenant < 2; tenant++) {
    const db = await createTestDatabase();
    databases.push(db);
    const options = { ...serverOptions(db), signingKeys: generateSigningKey(), logger: collectLog([]) };
    servers.push(await startServer(options));
  }
});
afterAll(async () => {
  for (const server of servers) await server.close();
  for (const db of databases) await db.drop();
});

const apis = () =>
  servers.map(({ url }) => ({ ask: (query: string, options = {}) => ask(url, query, options) }));
const asOwner = rowsAs("owner", () => databases[0]!);
const asAnalyst = rowsAs("analyst", () => databases[0]!);

test("tenants with databases of their own share no names, tokens or rows [A15]", async () => {
  const [first, second] = apis();
  const [mine, theirs] = [await signUp(first!, "ada"), await signUp(second!, "ada")];
  expect(mine.userId).not.toBe(theirs.userId);
  const created = await first!.ask(
    'mutation { createChat(input: { chat: { title: "secret" } }) { chat { id } } }',
    {
      token: mine.token,
    },
  );
  expect(created.errors).toBeUndefined();
  const chats = "{ chats { nodes { title } } }";
  expect((await first!.ask(chats, { token: mine.token })).data.chats.nodes).toEqual([{ title: "secret" }]);
  expect((await second!.ask(chats, { token: theirs.token })).data.chats.nodes).toEqual([]);
  expect(codeOf(await second!.ask(chats, { token: mine.token }))).toBe("UNAUTHENTICATED");
});

test("rows of users have keys that no other database gives out, so that two databases can be joined [A15]", async () => {
  const references = `
    from pg_constraint f
    where f.contype = 'f' and f.confrelid = 'identity.users'::regclass and f.conparentid = 0`;
  expect(Number((await asOwner<{ n: string }>(`select count(*) as n ${references}`))[0]!.n)).toBeGreaterThan(
    40,
  );
  const numbered = await asOwner<{ table_name: string }>(
    `select k.conrelid::regclass::text as table_name
     from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and a.attnum = any (k.conkey)
     where k.contype = 'p' and k.conrelid in (select f.conrelid ${references})
       and (a.attidentity <> '' or exists (
         select from pg_attrdef d
         where d.adrelid = a.attrelid and d.adnum = a.attnum and pg_get_expr(d.adbin, d.adrelid) like 'nextval%'))
     order by 1`,
  );
  expect(numbered.map(({ table_name: name }) => name)).toEqual(Object.keys(NUMBERED));
});

test("analysts read the behavior of each account by day, without its name, to learn a prediction from [A15]", async () => {
  const [first] = apis();
  const { userId, token } = await signUp(first!, "grace");
  const post = 'mutation { postGeneralChatMessage(input: { content: "hello" }) { result { id } } }';
  expect((await first!.ask(post, { token })).errors).toBeUndefined();
  await asOwner("select private.find_days_to_roll_up()");
  // Today, and yesterday in case the day has just begun.
  while ((await asOwner("select private.roll_up_day() as day"))[0]!.day !== null);
  const days = await asAnalyst<Record<string, unknown>>("select * from account_activity where user_id = $1", [
    userId,
  ]);
  const active = days.filter(({ room_messages: count }) => Number(count) > 0);
  expect(active).toMatchObject([{ room_messages: expect.anything(), plan_code: "free" }]);
  expect(Number(active[0]!.room_messages)).toBe(1);
  expect(JSON.stringify(days)).not.toMatch(/grace|hello/);
});
