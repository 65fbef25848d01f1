import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { Answerer } from "../../src/answerer/answerer.ts";
import { connect as connectSocket, listen, makeRoom } from "../live/support.ts";
import { addModel } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { connectAs } from "../support/chat.ts";
import { rowsAs, type TestDatabase } from "../support/database.ts";
import { brokenLawsAt } from "../support/ledger.ts";
import { type ModelServer, says, startModelServer } from "../support/model-server.ts";
import { answererOf, createAnswererDatabase, giveTokens, modelAt } from "./support.ts";

// Answers of the built-in answerer as the AI of rooms.

const USAGE = { prompt_tokens: 50, completion_tokens: 5 };
const ANSWERS = `subscription ($room: UUID!, $after: BigInt) {
  roomAnswer(roomId: $room, after: $after) { contents isNew sequence state replyToId messageId errorCode }
}`;

let db: TestDatabase;
let api: Api;
let provider: ModelServer;
let answerer: Answerer;
let ada: SignedIn;
let bob: SignedIn;
let eve: SignedIn;
let model: string;
const asOwner = rowsAs("owner", () => db);
const asService = rowsAs("service", () => db);
beforeAll(async () => {
  db = await createAnswererDatabase();
  api = await startApi(db);
  provider = await startModelServer();
  for (const name of ["ada", "bob", "eve"]) {
    const user = await signUp(api, name);
    if (name === "ada") ada = user;
    else if (name === "bob") bob = user;
    else eve = user;
  }
  await giveTokens(db, ada.userId);
  model = await modelAt(db, provider.url);
  answerer = await answererOf(db, { pollMs: 50 });
});
afterAll(async () => {
  await answerer.close();
  await provider.close();
  await api.close();
  await db.drop();
});
afterEach(async () => {
  provider.calls.length = 0;
  expect(await brokenLawsAt(db.url("owner"))).toEqual([]);
});

async function ask(query: string, variables: Record<string, unknown>, { token } = ada) {
  const answer = await api.ask(query, { token, variables });
  if (answer.errors) throw new Error(answer.text);
  return answer.data;
}

const SET_MODEL = `mutation ($room: UUID!, $model: UUID) {
  updateRoom(input: { id: $room, patch: { isAiEnabled: true, modelId: $model } }) { room { modelId } }
}`;

/** A public room of ada and bob in which the AI answers with the model. */
async function aiRoom(): Promise<string> {
  const room = await makeRoom(api, [ada, bob]);
  await ask(SET_MODEL, { room, model });
  return room;
}

const post = async (room: string, content: string, user = ada): Promise<string> =>
  (
    await ask(
      "mutation ($room: UUID!, $content: String!) { postRoomMessage(input: { roomId: $room, content: $content }) { result { id } } }",
      { room, content },
      user,
    )
  ).postRoomMessage.result.id;

const messages = (room: string) =>
  asOwner<{ id: string; content: string; sender_type: string; reply_to_id: string | null }>(
    "select id, content, sender_type, reply_to_id from rooms.room_messages where room_id = $1 order by sequence",
    [room],
  );
const answerOf = async (room: string) =>
  (
    await asOwner<{ state: string; error_code: string | null; pieces: string[] }>(
      "select state, error_code, pieces from rooms.room_answers where room_id = $1",
      [room],
    )
  )[0];
const ended = (room: string) =>
  until(async () => ["complete", "broken_off"].includes((await answerOf(room))?.state ?? ""), {
    everyMs: 20,
  });
const charged = (room: string) =>
  asOwner(
    `select e.user_id, e.input_tokens::integer as input, e.output_tokens::integer as output
     from rooms.room_messages m
     join billing.token_holds h on h.idempotency_key like 'room:' || m.reply_to_id || ':%'
     join billing.usage_events e on e.hold_id = h.id
     where m.room_id = $1 and m.sender_type = 'ai'`,
    [room],
  );

describe("the AI of a room", () => {
  test("streams its answer to the members, posts it once, and charges the sender of the question", async () => {
    let release = () => {};
    const waits = new Promise<void>((resolve) => {
      release = resolve;
    });
    provider.script(async (response) => {
      response.delta({ content: "Take " });
      response.delta({ content: "the early " });
      await waits;
      response.delta({ content: "boat." });
      response.end({ usage: USAGE });
    });
    const room = await aiRoom();
    const clients = [ada, bob].map((user) => connectSocket(api, user));
    const readers = clients.map((client) => listen(client, ANSWERS, { room }));
    const question = await post(room, "Which boat?");
    await until(() =>
      readers.every(({ answers }) => answers.flatMap((a) => a.contents).join("") === "Take the early "),
    );
    release();
    await until(() => readers.every(({ answers }) => answers.at(-1)?.state === "complete"));
    const [answer] = (await messages(room)).filter(({ sender_type }) => sender_type === "ai");
    expect(answer).toMatchObject({ content: "Take the early boat.", reply_to_id: question });
    for (const { answers } of readers) {
      expect(answers.flatMap(({ contents }) => contents).join("")).toBe("Take the early boat.");
      expect(answers.filter(({ isNew }) => isNew)).toHaveLength(1);
      expect(answers.at(-1)).toMatchObject({ replyToId: question, messageId: answer!.id, errorCode: null });
    }
    for (const client of clients) client.dispose();
    expect(await charged(room)).toEqual([{ user_id: ada.userId, input: 50, output: 5 }]);
    expect(provider.calls.at(-1)!.body.messages.at(-1)).toEqual({
      role: "user",
      content: "ada: Which boat?",
    });
  });

  test("is silent in rooms without a model, which are left to the application's own worker", async () => {
    const room = await makeRoom(api, [ada]);
    await ask(SET_MODEL, { room, model: null });
    await post(room, "Hello?");
    expect(await asService("select * from private.claim_room_answers()")).toEqual([]);
    expect(await answerOf(room)).toBeUndefined();
  });

  test("starts again for the new audience when a member joins meanwhile, shows them no earlier piece, and charges once", async () => {
    const room = await aiRoom();
    const client = await connectAs(db, eve.userId);
    const seen: unknown[] = [];
    provider.script(
      async (response) => {
        response.delta({ content: "A secret. " });
        await until(async () => (await answerOf(room))?.pieces.length === 1);
        const join = "mutation ($room: UUID!) { joinRoom(input: { roomId: $room }) { clientMutationId } }";
        await ask(join, { room }, eve);
        seen.push(...(await client.rows("select from rooms.room_answers where room_id = $1", [room])));
        response.delta({ content: "More." });
        response.end({ usage: USAGE });
      },
      says(["Hello."], USAGE),
    );
    await post(room, "Who is there?");
    await ended(room);
    expect(seen).toEqual([]);
    expect(await client.rows("select state from rooms.room_answers where room_id = $1", [room])).toEqual([
      { state: "complete" },
    ]);
    await client.end();
    const answers = (await messages(room)).filter(({ sender_type }) => sender_type === "ai");
    expect(answers.map(({ content }) => content)).toEqual(["Hello."]);
    expect(await charged(room)).toHaveLength(1);
  });

  test("calls the model at most three times for a question while members come and go", async () => {
    const room = await aiRoom();
    const change = (name: string) =>
      ask(
        `mutation ($room: UUID!) { ${name}(input: { roomId: $room }) { clientMutationId } }`,
        { room },
        eve,
      );
    provider.calls.length = 0;
    provider.script(async (response) => {
      response.delta({ content: "A piece. " });
      await until(async () => (await answerOf(room))?.pieces.length === 1);
      if (provider.calls.length > 1) await change("leaveRoom");
      await change("joinRoom");
      response.delta({ content: "More." });
      response.end({ usage: USAGE });
    });
    await post(room, "Will this ever end?");
    await ended(room);
    expect(await answerOf(room)).toMatchObject({ state: "broken_off", error_code: "writer_lost" });
    expect(provider.calls).toHaveLength(3);
  });

  test("breaks off without a call when the sender of the question cannot pay", async () => {
    const room = await aiRoom();
    await asOwner("update billing.subscription_plans set is_active = false where code = 'free'");
    const poor = await signUp(api, "poor");
    await ask(
      "mutation ($room: UUID!) { joinRoom(input: { roomId: $room }) { clientMutationId } }",
      { room },
      poor,
    );
    await post(room, "For free?", poor);
    await ended(room);
    expect(await answerOf(room)).toMatchObject({ state: "broken_off", error_code: "quota_exceeded" });
    expect(provider.calls).toHaveLength(0);
    // The next question is answered.
    provider.script(says(["Yes."], USAGE));
    await post(room, "And for me?");
    await until(async () => (await answerOf(room))?.state === "complete", { everyMs: 20 });
  });

  test("says nothing about a question whose sender a member has blocked", async () => {
    const room = await aiRoom();
    await giveTokens(db, bob.userId);
    await ask("mutation ($user: UUID!) { blockUser(input: { userId: $user }) { clientMutationId } }", {
      user: bob.userId,
    });
    await post(room, "Hidden?", bob);
    await ended(room);
    expect(await answerOf(room)).toMatchObject({ state: "broken_off", error_code: "not_answered" });
    expect(provider.calls).toHaveLength(0);
    await ask("mutation ($user: UUID!) { unblockUser(input: { userId: $user }) { clientMutationId } }", {
      user: bob.userId,
    });
  });

  test("breaks off when the provider fails, and posts nothing", async () => {
    provider.script((response) => response.fail(500));
    const room = await aiRoom();
    await post(room, "Hello?");
    await ended(room);
    expect(await answerOf(room)).toMatchObject({ state: "broken_off", error_code: "model_unavailable" });
    expect((await messages(room)).filter(({ sender_type }) => sender_type === "ai")).toEqual([]);
    expect(await charged(room)).toEqual([]);
  });

  test("has a model that its moderator may use, chosen by a moderator", async () => {
    const room = await aiRoom();
    const secret = await addModel(db, { isPublic: false });
    const attempt = async (id: string, { token }: SignedIn) =>
      codeOf(await api.ask(SET_MODEL, { token, variables: { room, model: id } }));
    expect(await attempt(secret, ada)).toBe("NOT_FOUND");
    expect(await attempt(model, bob)).toBe("NOT_FOUND");
  });

  test("streams nothing to users who are not members", async () => {
    const room = await aiRoom();
    const client = connectSocket(api, eve);
    const heard = listen(client, ANSWERS, { room });
    await until(() => heard.ended !== undefined);
    expect(heard).toMatchObject({ ended: "NOT_FOUND", answers: [] });
    client.dispose();
  });
});

describe("the claim of a room's answer", () => {
  test("is needed to write, passes to another server after the lease, and ends after three", async () => {
    await answerer.close();
    try {
      const room = await aiRoom();
      await post(room, "Hello?");
      const expire = () =>
        asOwner(
          "update private.room_turns set lease_expires_at = now() - interval '1 second' where room_id = $1",
          [room],
        );
      const claim = async () =>
        (await asService<{ claim_id: string }>("select * from private.claim_room_answers($1)", [[room]]))[0]
          ?.claim_id;
      const first = await claim();
      expect(await claim()).toBeUndefined();
      await expire();
      const second = await claim();
      expect(second).not.toBe(first);
      const append = (id: string | undefined, piece: number, content: string) =>
        asService<{ n: number }>("select private.append_room_answer($1, $2, $3, $4) as n", [
          room,
          id,
          piece,
          content,
        ]).then(
          ([row]) => row!.n,
          (error: { code: string }) => error.code,
        );
      expect(await append(first, 1, "x")).toBe("PL409");
      expect(await append(second, 2, "x")).toBe("PL409");
      expect(await append(second, 1, "x")).toBe(1);
      expect(await append(second, 1, "x")).toBe(1);
      expect(await append(second, 1, "y")).toBe("PL409");
      expect(await append(second, 2, "")).toBe("PL409");
      const call = async (text: string) =>
        Object.values((await asService<Record<string, unknown>>(text, [room, first]))[0]!)[0];
      expect(await call("select private.extend_room_lease($1, $2)")).toBe(false);
      expect(await call("select private.finish_room_answer($1, $2)")).toBeNull();
      expect(await call("select private.break_off_room_answer($1, $2, 'x')")).toBe(false);
      expect(await call("select private.release_room_answer($1, $2)")).toBe(false);
      await expire();
      expect(await claim()).toBeDefined();
      expect((await answerOf(room))!.pieces).toEqual([]);
      await expire();
      expect(await claim()).toBeUndefined();
      expect(await answerOf(room)).toMatchObject({ state: "broken_off", error_code: "writer_lost" });
      expect(await claim()).toBeUndefined();
    } finally {
      answerer = await answererOf(db, { pollMs: 50 });
    }
  });
});
