import { afterAll, beforeAll, beforeEach, expect, jest, test } from "@jest/globals";
import type { Client } from "graphql-ws";
import { SharedReads } from "../../src/live/shared-reads.ts";
import { type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { connect, contents, listen, makeRoom, post, ROOM_EVENTS } from "./support.ts";

let db: TestDatabase;
let created = 0;

beforeAll(async () => {
  db = await createTestDatabase();
});
beforeEach(() => {
  jest.restoreAllMocks();
});
afterAll(() => db.drop());

/** Eight subscribers receive five messages. Returns how often they were read. */
async function countReads(settings: Record<string, string>) {
  const api = await startApi(db, settings);
  const clients: Client[] = [];
  try {
    const people: SignedIn[] = [];
    for (let i = 0; i < 8; i++) people.push(await signUp(api, `user${created++}`));
    const room = await makeRoom(api, people);
    const heard = people.map((user) => {
      const client = connect(api, user);
      clients.push(client);
      return listen(client, ROOM_EVENTS, { room });
    });
    await until(() => heard.every(({ answers }) => answers.length > 0));
    const reads = jest.spyOn(SharedReads.prototype, "read");
    const tries = jest.spyOn(SharedReads.prototype, "try");
    const texts = ["one", "two", "three", "four", "five"];
    for (const [i, text] of texts.entries()) {
      await post(api, people[0]!, room, text);
      await until(() => heard.every((one) => contents(one).length === i + 1));
    }
    for (const one of heard) expect(contents(one)).toEqual(texts);
    return { reads: reads.mock.calls.length, tries: tries.mock.calls.length };
  } finally {
    for (const client of clients) await client.dispose();
    await api.close();
  }
}

test("subscribers share reads by default", async () => {
  const { reads, tries } = await countReads({});
  // 40 without sharing; a socket that is late for a batch reads for itself.
  expect(reads).toBeLessThan(20);
  expect(tries).toBeGreaterThan(0);
});

test("with PLINTH_LIVE_SHARING=false, each subscriber reads for itself", async () => {
  const { reads, tries } = await countReads({ PLINTH_LIVE_SHARING: "false" });
  expect(reads).toBeGreaterThanOrEqual(40);
  expect(tries).toBe(0);
});
