import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { createClient, memoryStorage, type PlinthClient } from "../../client/index.ts";
import { storageLock } from "../../client/session/tab-lock.ts";
import { type Api, PASSWORD, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

// Two clients of one process stand for two tabs: like these they share locks, channels and a storage. The same runs in a
// real browser in test/browser/client-in-chromium.ts.
let db: TestDatabase;
let api: Api;
let tabs: PlinthClient[] = [];
let refreshes = 0;
const page = globalThis as { document?: object; localStorage?: object; BroadcastChannel?: unknown };
const { BroadcastChannel: channel } = page;
const { locks } = navigator as { locks?: object };

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  page.document = {};
  Object.defineProperty(page, "localStorage", { value: memoryStorage(), configurable: true });
});
afterEach(() => {
  for (const tab of tabs.splice(0)) tab.close();
  page.BroadcastChannel = channel;
  setLocks(locks);
});
afterAll(async () => {
  delete page.document;
  delete page.localStorage;
  await api.close();
  await db.drop();
});

function setLocks(value: object | undefined): void {
  Object.defineProperty(navigator, "locks", { value, configurable: true });
}

function openTab(): PlinthClient {
  const tab = createClient({
    url: api.url,
    fetch: async (input, init) => {
      if (String(init?.body).includes("mutation Refresh(")) refreshes++;
      return fetch(input, init);
    },
  });
  tabs.push(tab);
  return tab;
}

/** Opens tabs of a user whose first tab is closed, so that none of them has an access token. */
async function openTabs(count: number, username: string): Promise<PlinthClient[]> {
  const first = openTab();
  await first.auth.register({ username, password: PASSWORD });
  first.close();
  tabs = [];
  refreshes = 0;
  return Array.from({ length: count }, openTab);
}

const nameOf = async (tab: PlinthClient) =>
  (await tab.request("{ currentUser { username } }")).currentUser?.username;

describe.each([
  ["with the browser's locks", () => {}],
  ["with a lock in the storage", () => setLocks(undefined)],
])("tabs %s", (what, prepare) => {
  test("refresh once for all of them", async () => {
    prepare();
    const username = what.replaceAll(/\W/g, "-");
    const names = await Promise.all((await openTabs(4, username)).map(nameOf));
    expect(new Set(names)).toEqual(new Set([username]));
    expect(refreshes).toBe(1);
  });
});

test("tabs that cannot talk refresh one after the other and keep the session", async () => {
  setLocks(undefined);
  page.BroadcastChannel = undefined;
  const opened = await openTabs(3, "silent");
  for (let round = 0; round < 2; round++)
    expect(new Set(await Promise.all(opened.map(nameOf)))).toEqual(new Set(["silent"]));
  expect(refreshes).toBe(3);
});

test("signing in and out in one tab reaches the others", async () => {
  const [first, second] = [openTab(), openTab()];
  await first!.auth.register({ username: "both", password: PASSWORD });
  await until(() => second!.session.current.status === "signed-in");
  expect(await nameOf(second!)).toBe("both");
  await first!.auth.signOut();
  expect(await nameOf(second!)).toBeUndefined();
  expect(second!.session.current).toEqual({ status: "signed-out", reason: "other-tab" });
});

describe("the lock in the storage", () => {
  test("is held by one at a time", async () => {
    const lock = storageLock("name", memoryStorage());
    let holders = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 4 }, () =>
        lock(async () => {
          most = Math.max(most, ++holders);
          await new Promise((resolve) => setTimeout(resolve, 20));
          holders--;
        }),
      ),
    );
    expect(most).toBe(1);
  });

  test("is released when its holder fails", async () => {
    const lock = storageLock("name", memoryStorage());
    await expect(lock(() => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
    expect(await lock(async () => "free")).toBe("free");
  });
});
