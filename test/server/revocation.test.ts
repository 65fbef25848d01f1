import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { pino } from "pino";
import type { Revocation } from "../../src/accounts/revocation/revocation-list.ts";
import { RevocationListener } from "../../src/accounts/revocation/revocation-listener.ts";
import { createAccessTokens } from "../../src/auth/access-token.ts";
import { parseSigningKeys } from "../../src/auth/signing-keys.ts";
import { createNotifier } from "../../src/request/notifier.ts";
import {
  type Api,
  PASSWORD,
  SIGNING_KEYS,
  type SignedIn,
  signIn,
  signUp,
  startApi,
  until,
} from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { openSocket } from "../support/socket.ts";
import { withGrowingLimit } from "../support/waiting.ts";

/** Two servers on one database, as behind a load balancer. */
let db: TestDatabase;
let here: Api;
let there: Api;
let names = 0;
let ada: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  [here, there] = await Promise.all([startApi(db), startApi(db)]);
});
afterAll(async () => {
  await Promise.all([here.close(), there.close()]);
  await db.drop();
});
beforeEach(async () => {
  ada = await signUp(here, `ada${++names}`);
});

const asOwner = rowsAs("owner", () => db);

const isAccepted = async (api: Api, token = ada.token): Promise<boolean> =>
  (await api.ask("{ currentUser { id } }", { token })).status === 200;

describe("a revocation reaches every server", () => {
  test.each<[string, () => Promise<unknown>]>([
    ["logout", () => here.ask("mutation { logout(input: {}) { result } }", { token: ada.token })],
    [
      "logout everywhere",
      () => here.ask("mutation { logoutEverywhere(input: {}) { result } }", { token: ada.token }),
    ],
    [
      "a changed password",
      () =>
        here.ask(
          `mutation { changePassword(input: { currentPassword: "${PASSWORD}", newPassword: "a whole new sentence" }) { accessToken } }`,
          { token: ada.token },
        ),
    ],
    [
      "a disabled account",
      () => asOwner("update identity.users set account_status = 'disabled' where id = $1", [ada.userId]),
    ],
    [
      "a raised token version",
      () =>
        asOwner("update identity.users set token_version = token_version + 1 where id = $1", [ada.userId]),
    ],
    ["a deleted account", () => asOwner("delete from identity.users where id = $1", [ada.userId])],
  ])("after %s", async (_what, revoke) => {
    expect(await isAccepted(there)).toBe(true);
    const socket = await openSocket(there, ada.token);
    await revoke();
    for (const api of [there, here]) await until(async () => !(await isAccepted(api)));
    expect(await socket.closed).toEqual({ code: 4403, reason: "The access token has been revoked." });
  });
});

/** The readings of a listener of its own, before and after it hears of a logout. */
async function hearLogout() {
  const notifier = createNotifier({ url: db.url("service"), onError: () => {} });
  const reads: unknown[] = [];
  const lost: string[] = [];
  const arrived = Promise.withResolvers<Revocation>();
  const listener = new RevocationListener({
    url: db.url("service"),
    logger: pino({}, { write: (line: string) => void lost.push(line) }),
    notifier: {
      ...notifier,
      query(text, values) {
        reads.push(values[0]);
        return notifier.query(text, values);
      },
    },
    onRevocation: (revocation) => void (revocation.subjectId === sessionId && arrived.resolve(revocation)),
  });
  const { token } = await signIn(here, `ada${names}`);
  const [{ id: sessionId }] = (await asOwner(
    "select id from identity.user_sessions where user_id = $1 order by created_at desc limit 1",
    [ada.userId],
  )) as [{ id: string }];
  try {
    await listener.start();
    const listensAtOnce = listener.isListening;
    await until(() => listener.isListening);
    const atFirst = reads.splice(0);
    await here.ask("mutation { logout(input: {}) { result } }", { token });
    const { kind } = await arrived.promise;
    return { listensAlways: listensAtOnce && lost.length === 0, kind, reads: [atFirst, [...reads]] };
  } finally {
    await listener.close();
    await notifier.close();
  }
}

test("is read once, when another server is notified, and waits for no poll; bench/revocation.ts measures the time", async () => {
  let heard: Awaited<ReturnType<typeof hearLogout>>;
  // A listener that a busy machine lets wait for two seconds gives its connection up, and polls meanwhile.
  do heard = await hearLogout();
  while (!heard.listensAlways);
  expect(heard.kind).toBe("session");
  // While it listens, only a notification makes it read; after a lost connection, it would read everything.
  expect(heard.reads).toEqual([["1 day 5 minutes"], ["10 minutes"]]);
});

test("does not affect other sessions and accounts", async () => {
  const other = await signIn(here, `ada${names}`);
  const eve = await signUp(here, `eve${names}`);
  const socket = await openSocket(there, other.token);
  let isClosed = false;
  void socket.closed.then(() => {
    isClosed = true;
  });
  await here.ask("mutation { logout(input: {}) { result } }", { token: ada.token });
  await until(async () => !(await isAccepted(there)));
  expect(await isAccepted(there, other.token)).toBe(true);
  expect(await isAccepted(there, eve.token)).toBe(true);
  expect(isClosed).toBe(false);
});

test("costs no statement per request while the listener works", async () => {
  // Any query would be rejected now.
  const service = `${db.rolePrefix}_service`;
  await asOwner(
    `revoke execute on function private.is_token_live(uuid, uuid, uuid, integer) from ${service}`,
  );
  try {
    // A listener is down while its notifications are late.
    await until(() => isAccepted(there));
  } finally {
    await asOwner(`grant execute on function private.is_token_live(uuid, uuid, uuid, integer) to ${service}`);
  }
});

describe("while the listener is down", () => {
  const LISTENERS = "application_name = 'plinth-revocations' and datname = current_database()";
  /** Ends the listening connections and blocks new ones, while the service's open connections work on. */
  async function silenceListeners(): Promise<void> {
    await asOwner(
      `revoke execute on function private.list_revocations(interval) from ${db.rolePrefix}_service`,
    );
    await withClient(db.adminUrl, (client) =>
      client.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${LISTENERS}`),
    );
    await until(async () => (await readiness(there)).revocations !== "listening");
  }
  async function restoreListeners(): Promise<void> {
    await asOwner(`grant execute on function private.list_revocations(interval) to ${db.rolePrefix}_service`);
    await until(async () => (await readiness(here)).revocations === "listening");
    await until(async () => (await readiness(there)).revocations === "listening");
  }
  const readiness = async (api: Api): Promise<{ revocations: string }> =>
    ((await (await fetch(`${api.url}/readyz`)).json()) as { checks: { revocations: string } }).checks;

  test("asks the database and catches up on missed revocations", async () => {
    const socket = await openSocket(there, ada.token);
    const survivor = await signIn(here, `ada${names}`);
    await silenceListeners();
    expect(await isAccepted(there)).toBe(true);
    await here.ask("mutation { logout(input: {}) { result } }", { token: ada.token });
    expect(await isAccepted(there)).toBe(false);
    expect(await isAccepted(there, survivor.token)).toBe(true);
    await restoreListeners();
    expect(await isAccepted(there)).toBe(false);
    expect(await isAccepted(there, survivor.token)).toBe(true);
    // The socket stayed open all the time and closes when the list arrives.
    expect((await socket.closed).code).toBe(4403);
  });

  test("keeps the server ready", async () => {
    await silenceListeners();
    // Nor is it ready while the database answers late.
    await until(async () => (await fetch(`${there.url}/readyz`)).status === 200);
    expect((await readiness(there)).revocations).toBe("asking the database");
    await restoreListeners();
  });
});

test("is known to a server that starts later", async () => {
  await here.ask("mutation { logout(input: {}) { result } }", { token: ada.token });
  const late = await startApi(db);
  expect(await isAccepted(late)).toBe(false);
  await late.close();
});

describe("a socket", () => {
  test("is closed when its access token expires", async () => {
    const { sessionId, userId } = await sessionOf(ada);
    // It must open first. A token lives up to a second less, because its times are whole seconds.
    await withGrowingLimit(2_000, async (ms) => {
      const tokens = createAccessTokens({
        keys: parseSigningKeys(SIGNING_KEYS),
        issuer: "plinth",
        audience: "plinth",
        ttlSeconds: ms / 1_000,
      });
      const { token } = tokens.sign({ userId, sessionId, tokenVersion: 1 });
      const socket = await openSocket(here, token);
      expect(await socket.closed).toEqual({ code: 4401, reason: "The access token has expired." });
    });
  });

  test.each([
    ["a forged token", "eyJhbGciOiJub25lIn0.e30."],
    ["nonsense", "nonsense"],
    ["an empty token", ""],
  ])("with %s is rejected", async (_what, token) => {
    const socket = await openSocket(here, token);
    expect((await socket.closed).code).toBe(4401);
  });

  test("with a revoked token is rejected", async () => {
    await here.ask("mutation { logout(input: {}) { result } }", { token: ada.token });
    await until(async () => !(await isAccepted(here)));
    expect((await (await openSocket(here, ada.token)).closed).code).toBe(4401);
  });

  async function sessionOf({ token }: SignedIn): Promise<{ userId: string; sessionId: string }> {
    const { data } = await here.ask("{ currentUser { id sessions { nodes { id } } } }", { token });
    return { userId: data.currentUser.id, sessionId: data.currentUser.sessions.nodes[0].id };
  }
});
