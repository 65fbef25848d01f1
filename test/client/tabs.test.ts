import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { createClient, memoryStorage, type PlinthClient } from "../../client/index.ts";
import type { TokenStorage } from "../../client/session/storage.ts";
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
const everybodys: TokenStorage = memoryStorage();
let storageOfTab = () => everybodys;
let beforeAnswer: (() => void) | undefined;
const { BroadcastChannel: channel } = page;
const { locks } = navigator as { locks?: object };

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  page.document = {};
});
afterEach(() => {
  storageOfTab = () => everybodys;
  beforeAnswer = undefined;
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
  Object.defineProperty(page, "localStorage", { value: storageOfTab(), configurable: true });
  const tab = createClient({
    url: api.url,
    timeoutMs: 240_000,
    fetch: async (input, init) => {
      if (!String(init?.body).includes("mutation Refresh(")) return fetch(input, init);
      refreshes++;
      const response = await fetch(input, init);
      beforeAnswer?.();
      return response;
    },
  });
  tabs.push(tab);
  return tab;
}

/** Storages that show at once what their own tab writes, and what others write when it arrives, as in a browser with a process for each tab. */
function lateStorage() {
  const views: { own: Map<string, string | null>; known: Map<string, string> }[] = [];
  const written = new Map<string, string>();
  const arrive = () => {
    for (const view of views) {
      view.known = new Map(written);
      view.own.clear();
    }
  };
  const open = () => {
    const view = { own: new Map<string, string | null>(), known: new Map(written) };
    views.push(view);
    const set = (key: string, value: string | null) => {
      view.own.set(key, value);
      if (value === null) written.delete(key);
      else written.set(key, value);
    };
    return {
      getItem: (key: string) => (view.own.has(key) ? view.own.get(key)! : (view.known.get(key) ?? null)),
      setItem: (key: string, value: string) => set(key, value),
      removeItem: (key: string) => set(key, null),
    };
  };
  return { open, arrive };
}

/** Opens tabs of a user whose first tab is closed, so that none of them has an access token. */
async function openTabs(
  count: number,
  username: string,
  storage = () => everybodys,
): Promise<PlinthClient[]> {
  storageOfTab = storage;
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

describe("tabs whose storage shows late what another tab wrote", () => {
  test("refresh once for all of them", async () => {
    const late = lateStorage();
    const opened = await openTabs(3, "late", late.open);
    expect(await Promise.all(opened.map(nameOf))).toEqual(["late", "late", "late"]);
    late.arrive();
    expect(await Promise.all(opened.map(nameOf))).toEqual(["late", "late", "late"]);
    expect(refreshes).toBe(1);
  });

  test("stay signed in without the browser's locks, though each of them may refresh", async () => {
    setLocks(undefined);
    const late = lateStorage();
    const opened = await openTabs(3, "late-and-unlocked", late.open);
    beforeAnswer = late.arrive;
    expect(new Set(await Promise.all(opened.map(nameOf)))).toEqual(new Set(["late-and-unlocked"]));
  });

  test("stay signed in if it arrives during a refresh of their own", async () => {
    page.BroadcastChannel = undefined;
    const late = lateStorage();
    const [first, second] = await openTabs(2, "late-and-silent", late.open);
    expect(await nameOf(first!)).toBe("late-and-silent");
    beforeAnswer = late.arrive;
    expect(await nameOf(second!)).toBe("late-and-silent");
    expect(second!.session.current.status).toBe("signed-in");
    expect(refreshes).toBe(2);
  });

  test("go on with the session that another tab signed in to during a refresh", async () => {
    page.BroadcastChannel = undefined;
    const late = lateStorage();
    const [first, second] = await openTabs(2, "late-before", late.open);
    await first!.auth.register({ username: "late-after", password: PASSWORD });
    beforeAnswer = late.arrive;
    expect(await nameOf(second!)).toBe("late-after");
  });
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
