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

const sum = (numbers: readonly number[]) => numbers.reduce((all, each) => all + each, 0);

/** Eight subscribers receive five messages. Returns how often each was read and tried. */
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
    const counts: { reads: number; tries: number }[] = [];
    for (const [i, text] of texts.entries()) {
      const before = { reads: reads.mock.calls.length, tries: tries.mock.calls.length };
      await post(api, people[0]!, room, text);
      await until(() => heard.every((one) => contents(one).length === i + 1));
      counts.push({
        reads: reads.mock.calls.length - before.reads,
        tries: tries.mock.calls.length - before.tries,
      });
    }
    for (const one of heard) expect(contents(one)).toEqual(texts);
    return { reads: counts.map((count) => count.reads), tries: sum(counts.map((count) => count.tries)) };
  } finally {
    for (const client of clients) await client.dispose();
    await api.close();
  }
}

test("subscribers share reads by default", async () => {
  const { reads, tries } = await countReads({});
  // Eight each without sharing. Where a server's notifications took seconds, every subscriber looks for those that it missed.
  const usual = reads.toSorted((a, b) => a - b)[2];
  expect(usual).toBeLessThan(4);
  expect(tries).toBeGreaterThan(0);
});

test("with PLINTH_LIVE_SHARING=false, each subscriber reads for itself", async () => {
  const { reads, tries } = await countReads({ PLINTH_LIVE_SHARING: "false" });
  expect(sum(reads)).toBeGreaterThanOrEqual(40);
  expect(tries).toBe(0);
});
