import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Client } from "graphql-ws";
import { type Api, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { connect, contents, type Heard, listen, makeRoom, post, ROOM_EVENTS } from "./support.ts";

let db: TestDatabase;
let api: Api;
let people: SignedIn[];
let room: string;
const clients: Client[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  people = [await signUp(api, "ada"), await signUp(api, "bob"), await signUp(api, "eve")];
  room = await makeRoom(api, people);
});
afterAll(async () => {
  for (const client of clients) await client.dispose();
  await api.close();
  await db.drop();
});

function open(user: SignedIn, count: number): Heard[] {
  const client = connect(api, user);
  clients.push(client);
  return Array.from({ length: count }, () => listen(client, ROOM_EVENTS, { room }));
}

test("delivers the same events to a thousand subscriptions over three connections without loss", async () => {
  const [ada, bob] = people as [SignedIn, SignedIn];
  const heard = Array.from({ length: 10 }, (_, i) => open(i % 2 ? ada : bob, 100)).flat();
  await until(() => heard.every(({ answers }) => answers.length > 0));
  let most = 0;
  const posting = (async () => {
    for (const text of ["one", "two", "three"]) await post(api, ada, room, text);
  })();
  await withClient(db.adminUrl, async (client) => {
    while (!heard.every((one) => contents(one).length === 3)) {
      const { rows } = await client.query<{ count: number }>(
        `select count(*)::integer as count from pg_stat_activity
         where datname = current_database() and application_name in ('plinth-live', 'plinth-api')`,
      );
      most = Math.max(most, rows[0]!.count);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  });
  await posting;
  // One listens, two read, and the post has its own; joining and signing up left some in the pool.
  expect(most).toBeLessThanOrEqual(9);
  for (const one of heard) expect(contents(one)).toEqual(["one", "two", "three"]);

  // Both accounts have reached their limit.
  const [refused] = open(ada, 1);
  await until(() => refused!.ended !== undefined);
  expect(refused!.ended).toBe("RATE_LIMITED");
  heard[100]!.stop();
  await until(async () => {
    const [again] = open(ada, 1);
    await until(() => again!.answers.length > 0 || again!.ended !== undefined);
    return again!.answers.length > 0;
  });
});

test("limits the subscriptions of a socket and still runs other operations on it", async () => {
  const eve = people[2]!;
  const heard = open(eve, 100);
  await until(() => heard.every(({ answers }) => answers.length > 0));
  const client = clients.at(-1)!;
  const refused = listen(client, ROOM_EVENTS, { room });
  await until(() => refused.ended !== undefined);
  expect(refused.ended).toBe("RATE_LIMITED");
  const answer = listen(client, "{ currentUser { username } }");
  await until(() => answer.ended !== undefined);
  expect(answer).toMatchObject({ ended: "complete", answers: [{ username: "eve" }] });
});
