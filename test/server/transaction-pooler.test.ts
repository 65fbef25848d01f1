import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { Client } from "graphql-ws";
import { connect, contents, listen, makeRoom, post, ROOM_EVENTS } from "../live/support.ts";
import { type Api, type SignedIn, signIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { openSocket } from "../support/socket.ts";
import { startTransactionPooler, type TransactionPooler } from "../support/transaction-pooler.ts";

/** A server with a direct connection, and a server whose service URL leads through a pooler in transaction mode. */
let db: TestDatabase;
let direct: Api;
let pooler: TransactionPooler;
let pooled: Api;
let ada: SignedIn;
const clients: Client[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  direct = await startApi(db);
  ada = await signUp(direct, "ada");
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.dispose();
});
afterAll(async () => {
  await direct.close();
  await db.drop();
});

async function startPooled(isDropping: boolean): Promise<void> {
  pooler = await startTransactionPooler(db.url("service"), { isDropping });
  pooled = await startApi({ ...db, url: (role) => pooler.urlThrough(db.url(role)) });
}
async function stopPooled(): Promise<void> {
  await pooled.close();
  await pooler.close();
}

const checks = async (): Promise<Record<string, string>> =>
  ((await (await fetch(`${pooled.url}/readyz`)).json()) as { checks: Record<string, string> }).checks;

async function untilChecks(wanted: { revocations: string; live: string }): Promise<void> {
  await until(async () => {
    const { revocations, live } = await checks();
    return revocations === wanted.revocations && live === wanted.live;
  });
}

const isAccepted = async (token: string): Promise<boolean> =>
  (await pooled.ask("{ currentUser { id } }", { token })).status === 200;

const logout = ({ token }: SignedIn) => direct.ask("mutation { logout(input: {}) { result } }", { token });

describe("behind a pooler that drops them all, a server", () => {
  beforeAll(() => startPooled(true));
  afterAll(stopPooled);

  test("asks the database about each token when notifications never arrive", async () => {
    expect(await checks()).toMatchObject({ revocations: "asking the database", live: "polling" });
    expect(await isAccepted(ada.token)).toBe(true);
    const session = await signIn(direct, "ada");
    await logout(session);
    expect(await isAccepted(session.token)).toBe(false);
  });

  test("closes the open sockets of a revoked session when notifications never arrive", async () => {
    const session = await signIn(direct, "ada");
    const socket = await openSocket(pooled, session.token);
    await logout(session);
    expect((await socket.closed).code).toBe(4403);
  });

  test("sends news to subscribers when notifications never arrive", async () => {
    const room = await makeRoom(direct, [ada]);
    const client = connect(pooled, ada);
    clients.push(client);
    const heard = listen(client, ROOM_EVENTS, { room });
    await until(() => heard.answers.length > 0);
    for (const text of ["one", "two"]) {
      await post(direct, ada, room, text);
      await until(() => contents(heard).includes(text));
    }
    expect(contents(heard)).toEqual(["one", "two"]);
  });
});

test("notices when notifications stop and when they arrive again", async () => {
  await startPooled(false);
  try {
    await untilChecks({ revocations: "listening", live: "listening" });
    pooler.setDropping(true);
    await untilChecks({ revocations: "asking the database", live: "polling" });
    const session = await signIn(direct, "ada");
    expect(await isAccepted(session.token)).toBe(true);
    await logout(session);
    expect(await isAccepted(session.token)).toBe(false);
    pooler.setDropping(false);
    await untilChecks({ revocations: "listening", live: "listening" });
    expect(await isAccepted(session.token)).toBe(false);
  } finally {
    await stopPooled();
  }
});
