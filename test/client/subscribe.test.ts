import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { graphql } from "../../client/graphql.ts";
import { createClient, type PlinthClient } from "../../client/index.ts";
import { type Api, PASSWORD, startApi, until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { freePorts } from "../support/ports.ts";

let db: TestDatabase;
let api: Api;
const clients: PlinthClient[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  const [port] = await freePorts(1);
  api = await startApi(db, { PLINTH_PORT: String(port) });
});
afterAll(async () => {
  for (const client of clients) client.close();
  await api.close();
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);

/** The sockets of all clients, to cut them off. */
const sockets: WebSocket[] = [];
class TrackedSocket extends WebSocket {
  constructor(...args: ConstructorParameters<typeof WebSocket>) {
    super(...args);
    sockets.push(this);
  }
}

async function signUp(username: string): Promise<PlinthClient> {
  const client = createClient({ url: api.url, timeoutMs: 240_000, WebSocket: TrackedSocket });
  clients.push(client);
  await client.auth.register({ username, password: PASSWORD });
  return client;
}

const CREATE = graphql(`mutation ($input: CreateRoomInput!) { createRoom(input: $input) { result { id } } }`);
async function makeRoom(client: PlinthClient): Promise<string> {
  const { createRoom } = await client.request(CREATE, {
    input: { name: "room", roomType: "group", isPublic: true },
  });
  return createRoom!.result!.id;
}

const POST = graphql(
  `mutation ($input: PostRoomMessageInput!) { postRoomMessage(input: $input) { clientMutationId } }`,
);
const post = (client: PlinthClient, roomId: string, content: string) =>
  client.request(POST, { input: { roomId, content, idempotencyKey: crypto.randomUUID() } });

const EVENTS = graphql(`subscription ($room: UUID!, $after: BigInt) {
  roomEvents(roomId: $room, after: $after) { sequence events { sequence kind message { content } } }
}`);

/** Collects what a subscription sends, in the background. */
function collect<Value, Collected>(values: AsyncIterable<Value>, read: (value: Value) => Collected[]) {
  const collected: Collected[] = [];
  const state = { collected, outcome: undefined as unknown };
  (async () => {
    for await (const value of values) collected.push(...read(value));
    return "done";
  })().then(
    (outcome) => {
      state.outcome = outcome;
    },
    (error: unknown) => {
      state.outcome = error;
    },
  );
  return state;
}
const contents = (client: PlinthClient, room: string, signal?: AbortSignal) =>
  collect(client.subscribe(EVENTS, { room, after: "0" }, { signal }), ({ roomEvents }) =>
    roomEvents!.events.flatMap(({ message }) => message?.content ?? []),
  );

test("events arrive once and in order, across lost connections, a restart and a new password", async () => {
  const ada = await signUp("ada");
  const room = await makeRoom(ada);
  const heard = contents(ada, room);
  const expected: string[] = [];
  const say = async () => {
    expected.push(`message ${expected.length}`);
    await post(ada, room, expected.at(-1)!);
  };
  await say();
  await until(() => heard.collected.length === 1);
  for (let round = 0; round < 60; round++) {
    if (round % 20 === 10) sockets.at(-1)!.close();
    await say();
  }
  await api.close();
  api = await startApi(db, { PLINTH_PORT: new URL(api.url).port });
  await say();
  // Revokes the token of the socket, which the server closes.
  await ada.auth.changePassword({ currentPassword: PASSWORD, newPassword: `${PASSWORD} again` });
  for (let round = 0; round < 60; round++) await say();
  await until(() => heard.collected.length >= expected.length);
  expect(heard.collected).toEqual(expected);
  expect(heard.outcome).toBeUndefined();
});

test("a caller who takes nothing for a while misses nothing", async () => {
  const ada = await signUp("slow");
  const room = await makeRoom(ada);
  const answers = ada.subscribe(EVENTS, { room, after: "0" });
  await answers.next();
  for (let count = 0; count < 100; count++) await post(ada, room, String(count));
  // Many more answers than are kept for the caller.
  const taken: string[] = [];
  for await (const { roomEvents } of answers) {
    taken.push(...roomEvents!.events.flatMap(({ message }) => message?.content ?? []));
    if (taken.length === 100) break;
  }
  expect(taken).toEqual(Array.from({ length: 100 }, (_, count) => String(count)));
});

test("a state is sent whole at the start and after a reconnection", async () => {
  const ada = await signUp("reader");
  const bob = await signUp("writer");
  const room = await makeRoom(ada);
  const JOIN = graphql("mutation ($input: JoinRoomInput!) { joinRoom(input: $input) { result { id } } }");
  await bob.request(JOIN, { input: { roomId: room } });
  const UNREAD = graphql("subscription { unreadCounts { isWhole counts { roomId unreadCount } } }");
  const heard = collect(ada.subscribe(UNREAD), ({ unreadCounts }) => [unreadCounts!]);
  await until(() => heard.collected.length === 1);
  expect(heard.collected[0]).toMatchObject({ isWhole: true, counts: [{ roomId: room }] });
  await post(bob, room, "hello");
  await until(() => heard.collected.length >= 2);
  sockets.at(-1)!.close();
  await until(() => heard.collected.length >= 3);
  expect(heard.collected[2]).toMatchObject({ isWhole: true, counts: [{ roomId: room }] });
});

describe("a subscription ends", () => {
  test("when the caller leaves the loop, and the connection with the last one", async () => {
    const ada = await signUp("leaving");
    const room = await makeRoom(ada);
    const [first, second] = [0, 1].map(() => ada.subscribe(EVENTS, { room, after: "0" }));
    await first!.next();
    await second!.next();
    await first!.return!();
    expect(ada.connection.current).toBe("open");
    await second!.return!();
    expect(ada.connection.current).toBe("idle");
  });

  test("when its signal is aborted", async () => {
    const ada = await signUp("aborting");
    const leave = new AbortController();
    const heard = contents(ada, await makeRoom(ada), leave.signal);
    await until(() => ada.connection.current === "open");
    leave.abort();
    await until(() => heard.outcome !== undefined);
    expect(heard.outcome).toMatchObject({ name: "AbortError" });
    expect(ada.connection.current).toBe("idle");
  });

  test("with the error of the server", async () => {
    const heard = contents(await signUp("stranger"), crypto.randomUUID());
    await until(() => heard.outcome !== undefined);
    expect(heard.outcome).toMatchObject({ name: "PlinthClientError", code: "NOT_FOUND" });
  });

  test("quietly when the user signs out", async () => {
    const ada = await signUp("signing-out");
    const heard = contents(ada, await makeRoom(ada));
    await until(() => ada.connection.current === "open");
    await ada.auth.signOut();
    await until(() => heard.outcome !== undefined);
    expect(heard.outcome).toBe("done");
  });

  test("with UNAUTHENTICATED when the server ends the session", async () => {
    const ada = await signUp("ended");
    const heard = [contents(ada, await makeRoom(ada)), contents(ada, await makeRoom(ada))];
    await until(() => heard.every(({ collected }) => collected !== undefined));
    await until(() => ada.connection.current === "open");
    await asOwner(
      `update identity.user_sessions set ended_at = now(), end_reason = 'expired'
       where user_id = (select id from identity.users where username = 'ended')`,
    );
    await until(() => heard.every(({ outcome }) => outcome !== undefined));
    for (const { outcome } of heard) expect(outcome).toMatchObject({ code: "UNAUTHENTICATED" });
    expect(ada.session.current).toEqual({ status: "signed-out", reason: "ended" });
  });

  test("with an explanation when it could not resume", async () => {
    const ada = await signUp("careless");
    const room = await makeRoom(ada);
    const withoutCursor = "subscription ($room: UUID!) { roomEvents(roomId: $room) { sequence } }";
    await expect(ada.subscribe(withoutCursor, { room }).next()).rejects.toThrow(
      "Declare the variable $after",
    );
    const withoutSequence =
      "subscription ($room: UUID!, $after: BigInt) { roomEvents(roomId: $room, after: $after) { events { kind } } }";
    await expect(ada.subscribe(withoutSequence, { room }).next()).rejects.toThrow("select `sequence`");
  });
});
