import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { Client } from "graphql-ws";
import { WebSocket } from "ws";
import { type Api, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { withGrowingLimit } from "../support/waiting.ts";
import {
  connect,
  contents,
  type Heard,
  killConnections,
  listen,
  makeRoom,
  post,
  ROOM_EVENTS,
} from "./support.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let bob: SignedIn;
let eve: SignedIn;
const clients: Client[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
  bob = await signUp(api, "bob");
  eve = await signUp(api, "eve");
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.dispose();
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

function client(user?: SignedIn): Client {
  const connected = connect(api, user);
  clients.push(connected);
  return connected;
}

/** Subscribes and waits until the server confirms that it listens. */
async function hear(user: SignedIn, room: string, after?: string | number): Promise<Heard> {
  const heard = listen(client(user), ROOM_EVENTS, { room, after });
  await until(() => heard.answers.length > 0 || heard.ended !== undefined);
  return heard;
}

describe("roomEvents", () => {
  test("sends members new events in order", async () => {
    const room = await makeRoom(api, [ada, bob]);
    await post(api, ada, room, "before");
    const heard = await hear(bob, room);
    expect(heard.answers[0].events).toEqual([]);
    for (const text of ["one", "two", "three"]) await post(api, ada, room, text);
    await until(() => contents(heard).length === 3);
    expect(contents(heard)).toEqual(["one", "two", "three"]);
  });

  test("resumes after any event without loss or duplicates", async () => {
    const room = await makeRoom(api, [ada]);
    const texts = Array.from({ length: 120 }, (_, i) => `message ${i}`);
    for (const text of texts.slice(0, 110)) await post(api, ada, room, text);
    const heard = await hear(ada, room, 0);
    for (const text of texts.slice(110)) await post(api, ada, room, text);
    await until(() => contents(heard).length === texts.length);
    expect(contents(heard)).toEqual(texts);
    const sequences = heard.answers.flatMap(({ events }) =>
      events.map(({ sequence }: { sequence: string }) => sequence),
    );
    expect(new Set(sequences).size).toBe(sequences.length);
    // Answers have a limit, and each carries the cursor of the next one.
    expect(Math.max(...heard.answers.map(({ events }) => events.length))).toBe(50);
    for (const { events, sequence } of heard.answers)
      if (events.length) expect(events.at(-1).sequence).toBe(sequence);
    const again = await hear(ada, room, heard.answers[0].sequence);
    await until(
      () =>
        contents(again).length === texts.length - contents({ ...heard, answers: [heard.answers[0]] }).length,
    );
  });

  test("rejects visitors, non-members, unknown rooms and a future number", async () => {
    const room = await makeRoom(api, [ada]);
    const visitor = listen(client(), ROOM_EVENTS, { room });
    await until(() => visitor.ended !== undefined);
    expect(visitor.ended).toBe("UNAUTHENTICATED");
    expect((await hear(eve, room)).ended).toBe("NOT_FOUND");
    expect((await hear(ada, "01900000-0000-7000-8000-000000000000")).ended).toBe("NOT_FOUND");
    expect((await hear(ada, room, 1_000)).ended).toBe("BAD_USER_INPUT");
  });

  test("is rejected over HTTP", async () => {
    const room = await makeRoom(api, [ada]);
    const { errors } = await api.ask(ROOM_EVENTS, { token: ada.token, variables: { room } });
    expect(errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
  });

  test("ends for a removed member, who receives nothing more", async () => {
    const room = await makeRoom(api, [ada, bob]);
    const heard = await hear(bob, room);
    await post(api, ada, room, "for both");
    await until(() => contents(heard).length === 1);
    const removed = await api.ask(
      "mutation ($room: UUID!, $user: UUID!) { removeRoomMember(input: { roomId: $room, userId: $user }) { clientMutationId } }",
      { token: ada.token, variables: { room, user: bob.userId } },
    );
    expect(removed.errors).toBeUndefined();
    await post(api, ada, room, "for Ada");
    await until(() => heard.ended !== undefined);
    expect(heard.ended).toBe("NOT_FOUND");
    expect(contents(heard)).toEqual(["for both"]);
  });

  test("shows each subscriber only visible data", async () => {
    const room = await makeRoom(api, [ada, bob, eve]);
    const [adas, bobs, eves] = [await hear(ada, room), await hear(bob, room), await hear(eve, room)];
    await post(api, ada, room, "for Bob", { recipients: [bob.userId] });
    await api.ask("mutation ($user: UUID!) { blockUser(input: { userId: $user }) { clientMutationId } }", {
      token: eve.token,
      variables: { user: bob.userId },
    });
    await post(api, bob, room, "from Bob");
    await post(api, ada, room, "last");
    for (const heard of [adas, bobs, eves]) await until(() => contents(heard).includes("last"));
    expect(contents(adas)).toEqual(["for Bob", "from Bob", "last"]);
    expect(contents(bobs)).toEqual(["for Bob", "from Bob", "last"]);
    expect(contents(eves)).toEqual(["last"]);
  });

  test("ignores forged hints", async () => {
    const room = await makeRoom(api, [ada]);
    const heard = await hear(ada, room);
    await withClient(db.url("authenticator"), async (forger) => {
      for (const payload of [
        `room:${room} 999999`,
        `room:${room} -1`,
        "room: 1",
        "x",
        `room:${room} ${"9".repeat(40)}`,
      ])
        await forger.query("select pg_notify('plinth_live', $1)", [payload]);
    });
    await post(api, ada, room, "true");
    await until(() => contents(heard).length === 1);
    expect(heard.answers).toHaveLength(2);
    expect(heard.ended).toBeUndefined();
  });

  test("outlives the execution timeout of operations", async () => {
    const room = await makeRoom(api, [ada]);
    await withGrowingLimit(300, async (ms) => {
      const quick = await startApi(db, {
        PLINTH_STATEMENT_TIMEOUT_MS: String(ms),
        PLINTH_POOL_CONNECTION_TIMEOUT_MS: String(ms),
      });
      try {
        const connected = connect(quick, ada);
        clients.push(connected);
        const heard = listen(connected, ROOM_EVENTS, { room });
        await until(() => heard.answers.length === 1 || heard.ended !== undefined);
        await new Promise((resolve) => setTimeout(resolve, 2.5 * ms));
        await post(api, ada, room, "late");
        await until(() => contents(heard).length === 1 || heard.ended !== undefined);
        expect(contents(heard)).toEqual(["late"]);
      } finally {
        await quick.close();
      }
    });
  });
});

describe("after a lost connection", () => {
  test("to the database for listening, reads missed events", async () => {
    const room = await makeRoom(api, [ada, bob]);
    const heard = await hear(bob, room);
    await until(async () => (await killConnections(db, "plinth-live")) === 1);
    await post(api, ada, room, "while nobody listened");
    await until(() => contents(heard).length === 1);
    await until(async () => (await killConnections(db, "plinth-live")) === 1);
    await until(async () => {
      await post(api, ada, room, "again");
      return contents(heard).includes("again");
    });
    expect(heard.ended).toBeUndefined();
  });

  test("to the database repeatedly, loses and duplicates no event", async () => {
    const room = await makeRoom(api, [ada, bob]);
    const heard = [await hear(bob, room), await hear(ada, room), await hear(bob, room)];
    const texts = Array.from({ length: 60 }, (_, i) => `text ${i}`);
    await withClient(db.url("owner"), async (owner) => {
      for (const [i, text] of texts.entries()) {
        await owner.query("select set_config('jwt.claims.user_id', $1, false)", [ada.userId]);
        await owner.query("select rooms.post_room_message($1, $2)", [room, text]);
        if (i % 7 === 3) await killConnections(db, "plinth-api");
        if (i % 20 === 9) await killConnections(db, "plinth-live");
      }
    });
    for (const { answers: _, ...rest } of heard) expect(rest.ended).toBeUndefined();
    await until(() => heard.every((one) => contents(one).length >= texts.length));
    for (const one of heard) expect(contents(one)).toEqual(texts);
  });
});

describe("a revoked token", () => {
  test("ends its subscriptions", async () => {
    const mallory = await signUp(api, "mallory");
    const room = await makeRoom(api, [ada, mallory]);
    const heard = await hear(mallory, room);
    await api.ask("mutation { logout(input: {}) { result } }", { token: mallory.token });
    await until(() => heard.ended !== undefined);
    expect(heard.ended).toBe(4403);
    await post(api, ada, room, "after");
    expect(contents(heard)).toEqual([]);
  });

  test("drops an answer that arrives while the socket closes, without an error", async () => {
    const mallory = await signUp(api, "slow-mallory");
    const room = await makeRoom(api, [ada, mallory]);
    const heard = await hear(ada, room);
    const socket = new WebSocket(`${api.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
    const next = () => new Promise<Buffer>((resolve) => socket.once("message", resolve));
    await new Promise((resolve) => socket.once("open", resolve));
    socket.send(
      JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${mallory.token}` } }),
    );
    await next();
    const payload = { query: ROOM_EVENTS, variables: { room } };
    socket.send(JSON.stringify({ id: "1", type: "subscribe", payload }));
    expect(JSON.parse(String(await next()))).toMatchObject({ type: "next" });
    // Does not confirm the server's close, which delays it.
    socket.pause();
    await api.ask("mutation { logout(input: {}) { result } }", { token: mallory.token });
    api.logLines.length = 0;
    for (const text of ["one", "two", "three"]) await post(api, ada, room, text);
    await until(() => contents(heard).length === 3);
    socket.terminate();
    await post(api, ada, room, "four");
    await until(() => contents(heard).length === 4);
    expect(api.logLines.filter(({ level }) => Number(level) >= 50)).toEqual([]);
  });
});
