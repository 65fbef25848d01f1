import { afterAll, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { TOTP } from "otpauth";
import {
  type ClientOptions,
  createClient,
  type PlinthClient,
  type SessionState,
  type TokenStorage,
} from "../../client/index.ts";
import { type Api, PASSWORD, startApi, until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { wrongCode } from "../support/totp.ts";
import { withGrowingLimit } from "../support/waiting.ts";

let db: TestDatabase;
let api: Api;

/** Half a minute before its end, a token is stale for the client and still valid. A new one stays fresh during all tests. */
const TOKEN_SECONDS = 3_600;

/** Lets time pass, so that the tokens of before are stale. */
function makeStale(): void {
  const { now } = Date;
  jest.spyOn(Date, "now").mockImplementation(() => now() + (TOKEN_SECONDS - 15) * 1_000);
}

interface Connected {
  readonly client: PlinthClient;
  readonly states: SessionState[];
  refreshes: number;
  /** Called before each request; may throw what `fetch` throws. */
  onRequest(body: string): void;
  /** The client gets the response when this has ended. */
  onResponse(body: string): void | Promise<void>;
  onHeaders(headers: Headers): void;
}
const clients: PlinthClient[] = [];

function connect(options: Partial<ClientOptions> = {}): Connected {
  const client = createClient({
    url: api.url,
    timeoutMs: 240_000,
    ...options,
    fetch: async (input, init) => {
      const body = String(init?.body);
      if (body.includes("mutation Refresh(")) connected.refreshes++;
      connected.onRequest(body);
      const headers = new Headers(init?.headers);
      if (headers.has("authorization")) connected.onHeaders(headers);
      const response = await fetch(input, { ...init, headers });
      await connected.onResponse(body);
      return response;
    },
  });
  const connected: Connected = {
    client,
    states: [],
    refreshes: 0,
    onRequest() {},
    onResponse() {},
    onHeaders() {},
  };
  clients.push(client);
  client.session.subscribe((state) => connected.states.push(state));
  return connected;
}

async function signUp(username: string, options?: Partial<ClientOptions>): Promise<Connected> {
  const connected = connect(options);
  await connected.client.auth.register({ username, password: PASSWORD });
  return connected;
}

/** Users who sign up before time passes. */
const stale: Record<"concurrent" | "lost" | "offline" | "ended" | "leaving" | "waiting", Connected> =
  {} as never;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, { PLINTH_ACCESS_TOKEN_SECONDS: String(TOKEN_SECONDS) });
  for (const name of ["concurrent", "lost", "ended", "waiting"] as const) stale[name] = await signUp(name);
  stale.leaving = await signUp("stale-leaving");
  stale.offline = await signUp("offline", { retries: 0 });
});
afterAll(async () => {
  for (const client of clients) client.close();
  await api.close();
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);
const ME = "{ currentUser { username } }";
const nameOf = async (client: PlinthClient) => (await client.request(ME)).currentUser?.username;
const networkError = () => {
  throw new TypeError("fetch failed");
};

describe("a refresh", () => {
  beforeAll(makeStale);
  afterAll(() => {
    jest.restoreAllMocks();
  });

  test("happens once for all concurrent requests, before the token expires", async () => {
    const { client, states } = stale.concurrent;
    const names = await Promise.all(Array.from({ length: 20 }, () => nameOf(client)));
    expect(new Set(names)).toEqual(new Set(["concurrent"]));
    expect(stale.concurrent.refreshes).toBe(1);
    expect(states).toHaveLength(1);
  });

  test("whose answer is lost is repeated and keeps the session", async () => {
    stale.lost.onResponse = (body) => {
      if (body.includes("mutation Refresh(") && stale.lost.refreshes === 1) networkError();
    };
    expect(await nameOf(stale.lost.client)).toBe("lost");
    expect(stale.lost.refreshes).toBe(2);
  });

  test("is not waited for once the signal of a request is aborted", async () => {
    const { client } = stale.waiting;
    const leave = new AbortController();
    stale.waiting.onRequest = () => leave.abort(new Error("left"));
    await expect(client.request(ME, {}, { signal: leave.signal })).rejects.toThrow("left");
    expect(stale.waiting.refreshes).toBe(1);
    stale.waiting.onRequest = () => {};
    expect(await nameOf(client)).toBe("waiting");
    expect(stale.waiting.refreshes).toBe(1);
  });

  test("that finds no server fails the request and keeps the session", async () => {
    const { client } = stale.offline;
    stale.offline.onRequest = networkError;
    await expect(client.request(ME)).rejects.toMatchObject({ code: "NETWORK" });
    expect(client.session.current.status).toBe("signed-in");
    stale.offline.onRequest = () => {};
    expect(await nameOf(client)).toBe("offline");
  });

  test("of an ended session is one change of state, and requests continue as a visitor's", async () => {
    const { client, states } = stale.ended;
    await asOwner(
      `update identity.user_sessions set ended_at = now(), end_reason = 'expired'
       where user_id = (select id from identity.users where username = 'ended')`,
    );
    const names = await Promise.all(Array.from({ length: 5 }, () => nameOf(client)));
    expect(new Set(names)).toEqual(new Set([undefined]));
    expect(states.slice(1)).toEqual([{ status: "signed-out", reason: "ended" }]);
    expect(stale.ended.refreshes).toBe(1);
    await expect(client.chat.create()).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  test("follows the rejection of a fresh token, and the request is sent once more", async () => {
    const ada = await signUp("rejected");
    const before = await ada.client.token();
    let rejections = 1;
    ada.onHeaders = (headers) => {
      // As after a change of the server's keys.
      if (rejections-- > 0) headers.set("authorization", "Bearer a.b.c");
    };
    expect(await nameOf(ada.client)).toBe("rejected");
    expect(ada.refreshes).toBe(1);
    expect(await ada.client.token()).not.toBe(before);
    rejections = 9;
    await expect(ada.client.request(ME)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    expect(ada.refreshes).toBe(2);
    expect(ada.client.session.current.status).toBe("signed-in");
  });
});

test("a session survives the page in its storage, without the access token", async () => {
  const values = new Map<string, string>();
  const storage: TokenStorage = {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => void values.set(key, value),
    removeItem: (key) => void values.delete(key),
  };
  const first = await signUp("ada", { storage });
  expect([...values.values()].join()).not.toContain(await first.client.token());
  const second = connect({ storage });
  expect(second.client.session.current).toEqual(first.client.session.current);
  expect(await nameOf(second.client)).toBe("ada");
  await second.client.auth.signOut();
  expect(values.size).toBe(0);
  expect(second.states).toEqual([{ status: "signed-out", reason: "signed-out" }]);
  expect(connect({ storage }).client.session.current).toEqual({ status: "signed-out", reason: "none" });
});

test("signing out ends the session here at once, and on the server if it can be reached", async () => {
  const ada = await signUp("leaving");
  const token = await ada.client.token();
  const leaving = ada.client.auth.signOut();
  expect(ada.client.session.current).toEqual({ status: "signed-out", reason: "signed-out" });
  await leaving;
  await until(async () => (await api.ask(ME, { token })).status === 401);
  const offline = await signUp("leaving-offline");
  offline.onRequest = networkError;
  await offline.client.auth.signOut();
  expect(offline.states.at(-1)).toEqual({ status: "signed-out", reason: "signed-out" });
  expect(await offline.client.token()).toBeUndefined();
});

test("signing out with a stale token ends the session on the server, too", async () => {
  makeStale();
  await stale.leaving.client.auth.signOut();
  jest.restoreAllMocks();
  const [session] = await asOwner(
    `select end_reason from identity.user_sessions
     where user_id = (select id from identity.users where username = 'stale-leaving')`,
  );
  expect(session).toEqual({ end_reason: "logout" });
});

test("a changed password keeps this session signed in", async () => {
  const { client } = await signUp("changing");
  const newPassword = "another sentence nobody guesses";
  await client.auth.changePassword({ currentPassword: PASSWORD, newPassword });
  expect(await nameOf(client)).toBe("changing");
  await expect(
    connect().client.auth.signIn({ identifier: "changing", password: PASSWORD }),
  ).rejects.toMatchObject({ code: "INVALID_CREDENTIALS" });
});

describe("second factors", () => {
  /** The code of the next step, which works for a minute at least. A code works once, so the last one is forgotten. */
  const codeOf = async (secret: string) => {
    await asOwner("update private.totp_secrets set last_used_step = null");
    return new TOTP({ secret }).generate({ timestamp: Date.now() + 30_000 });
  };

  test("are enrolled, required to sign in, and confirm the user's identity", async () => {
    const { client } = await signUp("careful");
    const { secret, factorId } = await client.auth.startTotp("Phone");
    const recoveryCodes = await client.auth.confirmTotp({ factorId, code: await codeOf(secret) });
    expect(recoveryCodes).toHaveLength(10);

    const { client: other, states } = connect();
    const result = await other.auth.signIn({ identifier: "careful", password: PASSWORD });
    if (result.status !== "second-factor") throw new Error("No second factor is required.");
    expect(result.methods).toEqual(["totp", "recovery_code"]);
    expect(states).toEqual([]);
    await expect(result.complete({ code: wrongCode(new TOTP({ secret })) })).rejects.toMatchObject({
      code: "INVALID_CREDENTIALS",
    });
    await result.complete({ code: await codeOf(secret) });
    expect(await nameOf(other)).toBe("careful");
    await expect(other.auth.reauthenticate({ password: PASSWORD })).rejects.toMatchObject({
      code: "BAD_USER_INPUT",
    });
    await other.auth.reauthenticate({ recoveryCode: recoveryCodes![0]! });
  });

  test("need a browser for passkeys, and say so", async () => {
    const { client } = await signUp("without-browser");
    await expect(client.auth.addPasskey()).rejects.toThrow("Passkeys need a browser and HTTPS.");
    await expect(client.auth.signInWithPasskey()).rejects.toThrow("Passkeys need a browser and HTTPS.");
  });
});

describe("a mutation that needs a recent sign-in", () => {
  const EXPORT = "mutation { requestDataExport(input: {}) { result { status } } }";
  const makeOld = (username: string) =>
    asOwner(
      `update identity.user_sessions set authenticated_at = now() - interval '1 hour'
       where user_id = (select id from identity.users where username = $1)`,
      [username],
    );

  test("asks for one confirmation and is sent again", async () => {
    let asked = 0;
    const { client } = await signUp("confirming", {
      confirmIdentity: async () => {
        asked++;
        return { password: PASSWORD };
      },
    });
    await makeOld("confirming");
    const exports = await Promise.all([client.request(EXPORT), client.request(EXPORT)]);
    for (const { requestDataExport } of exports) expect(requestDataExport.result.status).toBe("pending");
    expect(asked).toBe(1);
  });

  test.each([
    ["confirmed", { password: PASSWORD }, { status: "fulfilled" }],
    ["cancelled", undefined, { reason: { code: "FORBIDDEN" } }],
  ])("does not ask again for a request that was sent before the user %s", async (what, proof, outcome) => {
    let asked = 0;
    const connected = await signUp(what, {
      confirmIdentity: async () => {
        asked++;
        return proof;
      },
    });
    const { client } = connected;
    await makeOld(what);
    const answered = Promise.withResolvers<void>();
    connected.onResponse = (body) => (body.includes("late:") ? answered.promise : undefined);
    const late = client.request(EXPORT.replace("requestDataExport", "late: requestDataExport"));
    const first = client.request(EXPORT).finally(answered.resolve);
    expect(await Promise.allSettled([first, late])).toMatchObject([outcome, outcome]);
    expect(asked).toBe(1);
  });

  test.each([
    ["the client has no callback", undefined],
    ["the user cancels", async () => undefined],
  ])("fails where %s", async (what, confirmIdentity) => {
    const username = what.replaceAll(" ", "-");
    const { client } = await signUp(username, confirmIdentity && { confirmIdentity });
    await makeOld(username);
    await expect(client.request(EXPORT)).rejects.toMatchObject({
      code: "FORBIDDEN",
      hint: "Confirm it is you with reauthenticate.",
    });
  });
});

test("an API token acts without a session", async () => {
  const { client } = await signUp("program");
  const created = await client.request(
    'mutation { createApiToken(input: { name: "t", scopes: [read] }) { token } }',
  );
  const program = connect({ apiToken: created.createApiToken.token });
  expect(await nameOf(program.client)).toBe("program");
  expect(program.client.session.current).toEqual({ status: "signed-out", reason: "none" });
  const wrong = connect({ apiToken: "pla_wrong" });
  await expect(wrong.client.request(ME)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
});

test("a subscription continues when its token expires", async () => {
  // The shortest life that the server takes, and a longer one for a machine on which the token ends before the socket is open.
  await withGrowingLimit(10_000, async (ms) => {
    await using brief = new AsyncDisposableStack();
    const server = await startApi(db, { PLINTH_ACCESS_TOKEN_SECONDS: String(ms / 1_000) });
    brief.defer(() => server.close());
    const listening = await signUp(`listening-${ms}`, { url: server.url });
    brief.defer(() => listening.client.close());
    const heard: { state: unknown; refreshes: number }[] = [];
    for await (const { unreadCounts } of listening.client.subscribe(
      "subscription { unreadCounts { isWhole } }",
    )) {
      heard.push({ state: unreadCounts, refreshes: listening.refreshes });
      // The server closes the socket; the next one starts with the whole state.
      if (heard.length === 2) break;
    }
    expect(heard).toEqual([0, 1].map((refreshes) => ({ state: { isWhole: true }, refreshes })));
    expect(listening.states).toHaveLength(1);
  });
});
