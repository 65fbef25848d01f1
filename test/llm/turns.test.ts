import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { addModel, registerUser } from "../support/accounts.ts";
import {
  connect,
  connectAs,
  expireLease,
  type Message,
  startChat,
  type UserConnection,
} from "../support/chat.ts";
import { createTestDatabase, expectSqlState, type TestDatabase } from "../support/database.ts";
import { brokenLawsAt } from "../support/ledger.ts";
import { makeRandom, SEED } from "../support/random.ts";

// Streamed answers: started once, appended without a gap, ended once, billed once, whichever process is killed.

let db: TestDatabase;
let ada: UserConnection;
let bob: UserConnection;
let adaId: string;
let model: string;
let secretModel: string;
let service: Awaited<ReturnType<typeof connect>>;
let owner: Awaited<ReturnType<typeof connect>>;
let worker: Awaited<ReturnType<typeof connect>>;
beforeAll(async () => {
  db = await createTestDatabase();
  adaId = await registerUser(db, "ada");
  ada = await connectAs(db, adaId);
  bob = await connectAs(db, await registerUser(db, "bob"));
  model = await addModel(db, { isPublic: true });
  secretModel = await addModel(db, { isPublic: false });
  service = await connect(db, "service");
  owner = await connect(db, "owner");
  worker = await connect(db, "worker");
  await service.rows(
    "select private.grant_tokens($1, 10000000, 'purchase', null, 100, null, null, 'enough')",
    [adaId],
  );
});
afterAll(async () => {
  for (const connection of [ada, bob, service, owner, worker]) await connection.end();
  await db.drop();
});
afterEach(async () => {
  expect(await brokenLawsAt(db.url("owner"))).toEqual([]);
});

/** A lease that no test outlasts: those that need its end set it, and the job would count the others. */
const START = "select * from llm.start_turn($1, $2, lease_seconds => 3600)";
const start = async (chat: string) => (await ada.rows<Message>(START, [chat, model]))[0]!;
const append = (message: string, sequence: number | null, text: string) =>
  ada.rows<{ n: number }>("select llm.append_delta($1, $2, $3) as n", [message, sequence, text]);
const read = async (message: string) =>
  (await ada.rows<Message>("select * from llm.messages where id = $1", [message]))[0]!;
/** The ledger's view of an answer: [input, output] summed over events, and the state of its hold. */
const billed = async (message: string) =>
  (
    await owner.rows<{ input: number; output: number; hold: string }>(
      `select coalesce(sum(e.input_tokens), 0)::integer as input, coalesce(sum(e.output_tokens), 0)::integer as output,
         (select h.state from billing.token_holds h where h.idempotency_key = 'turn:' || $1::text) as hold
       from billing.usage_events e
       where e.hold_id = (select h.id from billing.token_holds h where h.idempotency_key = 'turn:' || $1::text)
         or e.idempotency_key = 'turn:' || $1::text`,
      [message],
    )
  )[0]!;

describe("a turn", () => {
  test("streams in, is readable meanwhile and ends as one message", async () => {
    const { chat, question } = await startChat(ada);
    const turn = await start(chat);
    expect(turn).toMatchObject({
      role: "assistant",
      state: "streaming",
      parent_id: question,
      depth: 2,
      content: "",
    });
    expect(await append(turn.id, 1, "A ")).toEqual([{ n: 1 }]);
    await ada.rows("select llm.append_delta($1, 2, null, 'hm')", [turn.id]);
    await append(turn.id, 3, "base.");
    const deltasAfter = (sequence: number) =>
      ada.rows("select sequence, content, thinking from llm.message_deltas_after($1, $2)", [
        turn.id,
        sequence,
      ]);
    expect(await deltasAfter(0)).toEqual([
      { sequence: 1, content: "A ", thinking: "" },
      { sequence: 2, content: "", thinking: "hm" },
      { sequence: 3, content: "base.", thinking: "" },
    ]);
    expect(await deltasAfter(2)).toHaveLength(1);
    expect(
      await ada.rows("select llm.messages_current_content(m) as text from llm.messages m where id = $1", [
        turn.id,
      ]),
    ).toEqual([{ text: "A base." }]);
    const [finished] = await ada.rows<Message>("select * from llm.finish_turn($1, 'stop', 3, $2, 5)", [
      turn.id,
      JSON.stringify([{ name: "f" }]),
    ]);
    expect(finished).toMatchObject({
      state: "complete",
      finish_reason: "stop",
      content: "A base.",
      thinking: "hm",
      last_sequence: 3,
      tokens_used: 5,
      tool_calls: [{ name: "f" }],
    });
    // A reader that lags still receives them.
    expect(await deltasAfter(1)).toHaveLength(2);
  });

  test("is readable, writable and endable only by its owner", async () => {
    const { chat } = await startChat(ada);
    const turn = await start(chat);
    await append(turn.id, 1, "secret");
    expect(await bob.rows("select from llm.message_deltas_after($1)", [turn.id])).toEqual([]);
    expect(await bob.rows("select from llm.message_deltas")).toEqual([]);
    for (const id of [turn.id, randomUUID()])
      for (const sql of [
        "select llm.append_delta($1, 2, 'x')",
        "select llm.finish_turn($1)",
        "select llm.break_off_turn($1)",
        "select llm.cancel_turn($1)",
      ])
        await expectSqlState(bob.rows(sql, [id]), "PL404");
    await expectSqlState(bob.rows(START, [chat, model]), "PL404");
    await expectSqlState(ada.rows("insert into llm.message_deltas default values"), "42501");
    await expectSqlState(ada.rows("select private.append_delta($1, 2, 'x')", [turn.id]), "42501");
    await ada.rows("select llm.cancel_turn($1)", [turn.id]);
  });

  test("requires a model that its reader may use and a place in the chat", async () => {
    const { chat } = await startChat(ada);
    const other = await startChat(ada);
    for (const id of [secretModel, randomUUID(), null])
      await expectSqlState(ada.rows(START, [chat, id]), "PL404");
    await expectSqlState(
      ada.rows("select * from llm.start_turn($1, $2, $3)", [chat, model, other.question]),
      "PL404",
    );
    for (const [column, value] of [
      ["max_tokens", 0],
      ["lease_seconds", 1],
      ["idempotency_key", ""],
    ])
      await expectSqlState(
        ada.rows(`select * from llm.start_turn($1, $2, ${column} => $3)`, [chat, model, value]),
        "PL422",
      );
  });

  test("is the only one in a chat, also for concurrent starts", async () => {
    const { chat } = await startChat(ada);
    const second = await connectAs(db, adaId);
    const results = await Promise.allSettled([
      ada.rows<Message>(START, [chat, model]),
      second.rows<Message>(START, [chat, model]),
    ]);
    await second.end();
    expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const rejected = results.find(({ status }) => status === "rejected") as PromiseRejectedResult;
    expect(rejected.reason).toMatchObject({ code: "PL409" });
    // Not even around the functions.
    await expect(
      owner.rows(
        "insert into llm.messages (chat_id, user_id, depth, role, state) values ($1, $2, 1, 'assistant', 'streaming')",
        [chat, adaId],
      ),
    ).rejects.toMatchObject({ constraint: "messages_one_turn_a_chat_idx" });
    // No other message is inserted in between either.
    await expectSqlState(ada.rows("select llm.send_chat_message($1, 'and?')", [chat]), "PL409");
  });

  test("is returned again for its key, at once and later", async () => {
    const { chat } = await startChat(ada);
    const connections = await Promise.all(Array.from({ length: 4 }, () => connectAs(db, adaId)));
    const sql = "select * from llm.start_turn($1, $2, idempotency_key => 'one')";
    const turns = await Promise.all(connections.map((one) => one.rows<Message>(sql, [chat, model])));
    expect(new Set(turns.map(([turn]) => turn!.id)).size).toBe(1);
    const id = turns[0]![0]!.id;
    await append(id, 1, "x");
    await ada.rows("select llm.finish_turn($1)", [id]);
    expect(await ada.rows<Message>(sql, [chat, model])).toMatchObject([{ id, state: "complete" }]);
    const other = await startChat(ada);
    await expectSqlState(ada.rows(sql, [other.chat, model]), "PL409");
    await Promise.all(connections.map((one) => one.end()));
  });
});

describe("deltas", () => {
  test("have no gap, and a repeated one changes nothing", async () => {
    const { chat } = await startChat(ada);
    const { id } = await start(chat);
    await append(id, 1, "one");
    expect(await append(id, 1, "one")).toEqual([{ n: 1 }]);
    await expectSqlState(append(id, 1, "two"), "PL409");
    for (const sequence of [0, -1, 3, null]) await expectSqlState(append(id, sequence, "x"), "PL409");
    await append(id, 2, "two");
    // A late repetition of the first reports the current number.
    expect(await append(id, 1, "one")).toEqual([{ n: 2 }]);
    await expectSqlState(append(id, 3, ""), "PL422");
    await expectSqlState(append(id, 3, "x".repeat(65_537)), "PL422");
    await expectSqlState(ada.rows("select llm.finish_turn($1, 'stop', 3)", [id]), "PL409");
    await expectSqlState(ada.rows("select llm.finish_turn($1, 'because')", [id]), "PL422");
    const [message] = await ada.rows<Message>("select * from llm.finish_turn($1, 'length', 2)", [id]);
    expect(message).toMatchObject({ content: "onetwo", finish_reason: "length" });
    await expectSqlState(append(id, 3, "more"), "PL409");
    expect(await append(id, 2, "two")).toEqual([{ n: 2 }]);
  });

  test("are limited to a megabyte, and earlier ones are kept", async () => {
    const { chat } = await startChat(ada);
    const { id } = await start(chat);
    const piece = "x".repeat(65_536);
    for (let sequence = 1; sequence <= 15; sequence++) await append(id, sequence, piece);
    await expectSqlState(append(id, 16, piece), "PL422");
    const [message] = await ada.rows<Message>("select * from llm.finish_turn($1, 'length')", [id]);
    expect(message!.content).toHaveLength(15 * 65_536);
  });

  test("are appended once each when twenty clients send them at once", async () => {
    const { chat } = await startChat(ada);
    const { id } = await start(chat);
    const connections = await Promise.all(Array.from({ length: 20 }, () => connectAs(db, adaId)));
    for (let sequence = 1; sequence <= 5; sequence++)
      await Promise.all(
        connections.map((one) =>
          one.rows("select llm.append_delta($1, $2, $3)", [id, sequence, `${sequence} `]),
        ),
      );
    await Promise.all(connections.map((one) => one.end()));
    const [message] = await ada.rows<Message>("select * from llm.finish_turn($1, 'stop', 5)", [id]);
    expect(message!.content).toBe("1 2 3 4 5 ");
  });

  test("are announced when they commit, and so is the end", async () => {
    const { default: pg } = await import("pg");
    const listener = new pg.Client(db.url("owner"));
    await listener.connect();
    const heard: string[] = [];
    listener.on("notification", ({ payload }) => heard.push(payload!));
    await listener.query("listen plinth_live");
    const { chat } = await startChat(ada);
    const { id } = await start(chat);
    await append(id, 1, "x");
    await append(id, 2, "y");
    await ada.rows("select llm.cancel_turn($1)", [id]);
    await listener.query("select 1");
    expect(heard).toEqual([0, 1, 2, 2].map((sequence) => `turn:${id} ${sequence}`));
    await listener.end();
  });

  test("are deleted a day after the end, when the message is complete", async () => {
    const { chat } = await startChat(ada);
    const { id } = await start(chat);
    await append(id, 1, "kept");
    await ada.rows("select llm.finish_turn($1)", [id]);
    const running = await start(chat).catch(() => undefined);
    expect(await worker.rows("select private.delete_ended_turns() as n")).toEqual([{ n: 0 }]);
    await owner.rows(
      "update private.turns set ended_at = now() - interval '25 hours' where ended_at is not null",
    );
    const [{ n }] = (await worker.rows("select private.delete_ended_turns() as n")) as [{ n: number }];
    expect(n).toBeGreaterThan(0);
    expect(await ada.rows("select from llm.message_deltas_after($1)", [id])).toEqual([]);
    expect(await read(id)).toMatchObject({ content: "kept", state: "complete", last_sequence: 1 });
    // A repeated end after that time.
    expect(await ada.rows("select * from llm.finish_turn($1)", [id])).toMatchObject([{ content: "kept" }]);
    if (running) await ada.rows("select llm.cancel_turn($1)", [running.id]);
  });
});

describe("a batch of deltas", () => {
  const appendAll = (
    message: string,
    first: number | null,
    contents: unknown[],
    thinking: unknown[] | null = null,
  ) =>
    ada.rows<{ n: number }>("select llm.append_deltas($1, $2, $3, $4) as n", [
      message,
      first,
      contents,
      thinking,
    ]);

  test("equals its single deltas, and a repetition changes nothing in any split", async () => {
    const turn = await start((await startChat(ada)).chat);
    await append(turn.id, 1, "A ");
    expect(await appendAll(turn.id, 2, ["pl", null, "inth"], [null, "hm", null])).toEqual([{ n: 4 }]);
    // The client lost the response, and more deltas have arrived meanwhile.
    expect(await appendAll(turn.id, 1, ["A ", "pl", null], [null, null, "hm"])).toEqual([{ n: 4 }]);
    expect(await appendAll(turn.id, 4, ["inth", "."])).toEqual([{ n: 5 }]);
    expect(await append(turn.id, 5, ".")).toEqual([{ n: 5 }]);
    await ada.rows("select llm.finish_turn($1, last_sequence => 5)", [turn.id]);
    expect(await read(turn.id)).toMatchObject({ content: "A plinth.", thinking: "hm", last_sequence: 5 });
    expect(await appendAll(turn.id, 4, ["inth", "."])).toEqual([{ n: 5 }]);
    await expectSqlState(appendAll(turn.id, 5, [".", "late"]), "PL409");
  });

  test("is rejected as a whole when one delta is", async () => {
    const turn = await start((await startChat(ada)).chat);
    expect(await appendAll(turn.id, 1, ["a", "b"])).toEqual([{ n: 2 }]);
    const refused: [string, number | null, unknown[], unknown[] | null][] = [
      ["PL409", 4, ["gap"], null],
      ["PL409", 0, ["zero", "a", "b"], null],
      ["PL409", null, ["nowhere"], null],
      ["PL409", 2, ["another", "c"], null],
      ["PL422", 3, [], null],
      ["PL422", 3, ["c", ""], null],
      ["PL422", 3, ["c", null], [null, null]],
      ["PL422", 3, ["c", "d"], ["only one"]],
      ["PL422", 3, ["c", "x".repeat(65_537)], null],
      ["PL422", 3, Array.from({ length: 1_001 }, () => "c"), null],
      ["PL422", 3, Array.from({ length: 20 }, () => "x".repeat(60_000)), null],
    ];
    for (const [code, first, contents, thinking] of refused)
      await expectSqlState(appendAll(turn.id, first, contents, thinking), code);
    expect(await ada.rows("select from llm.message_deltas_after($1)", [turn.id])).toHaveLength(2);
    await expectSqlState(bob.rows("select llm.append_deltas($1, 3, array['c'])", [turn.id]), "PL404");
    await expectSqlState(service.rows("select private.append_deltas($1, 3, array['c'])", [turn.id]), "PL404");
    await ada.rows("select llm.cancel_turn($1)", [turn.id]);
  });

  test("is appended once when twenty clients send it at once", async () => {
    const turn = await start((await startChat(ada)).chat);
    const contents = Array.from({ length: 100 }, (_, i) => `${i} `);
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const writer = await connectAs(db, adaId);
        const [row] = await writer.rows<{ n: number }>("select llm.append_deltas($1, 1, $2) as n", [
          turn.id,
          contents,
        ]);
        await writer.end();
        return row!.n;
      }),
    );
    expect(new Set(outcomes)).toEqual(new Set([100]));
    await ada.rows("select llm.finish_turn($1, last_sequence => 100)", [turn.id]);
    expect((await read(turn.id)).content).toBe(contents.join(""));
  });
});

describe("the end of a turn", () => {
  test("by an error keeps the content so far and the error", async () => {
    const { chat } = await startChat(ada);
    const { id } = await start(chat);
    await append(id, 1, "half an ans");
    const [message] = await ada.rows<Message>(
      "select * from llm.break_off_turn($1, 'overloaded', 'Try later.')",
      [id],
    );
    expect(message).toMatchObject({
      state: "broken_off",
      finish_reason: "error",
      error_code: "overloaded",
      error_message: "Try later.",
      content: "half an ans",
    });
    // Only once: a later end returns the first one.
    expect(await ada.rows("select * from llm.finish_turn($1)", [id])).toMatchObject([
      { state: "broken_off" },
    ]);
    expect(await ada.rows("select * from llm.cancel_turn($1)", [id])).toMatchObject([
      { state: "broken_off" },
    ]);
  });

  test("by its reader stops the service that writes it", async () => {
    const { chat } = await startChat(ada);
    const [turn] = await service.rows<Message>("select * from private.start_turn($1, $2, $3)", [
      adaId,
      chat,
      model,
    ]);
    await service.rows("select private.append_delta($1, 1, 'Well')", [turn!.id]);
    // The reader's client is not its writer.
    await expectSqlState(append(turn!.id, 2, "x"), "PL404");
    await expectSqlState(ada.rows("select llm.finish_turn($1)", [turn!.id]), "PL404");
    expect(await ada.rows("select * from llm.cancel_turn($1)", [turn!.id])).toMatchObject([
      { state: "cancelled", finish_reason: "cancelled", content: "Well" },
    ]);
    await expectSqlState(service.rows("select private.append_delta($1, 2, ' …')", [turn!.id]), "PL409");
    expect(await service.rows("select * from private.finish_turn($1)", [turn!.id])).toMatchObject([
      { state: "cancelled", content: "Well" },
    ]);
  });

  test("follows a silent writer's lease at the next start or by the job", async () => {
    const { chat } = await startChat(ada);
    const first = await start(chat);
    await append(first.id, 1, "The writer was kill");
    await expectSqlState(ada.rows(START, [chat, model]), "PL409");
    expect(await worker.rows("select private.break_off_expired_turns() as n")).toEqual([{ n: 0 }]);
    await expireLease(db, first.id);
    const second = await start(chat);
    expect(await read(first.id)).toMatchObject({
      state: "broken_off",
      finish_reason: "expired",
      content: "The writer was kill",
    });
    expect(second.parent_id).toBe(first.id);
    await expireLease(db, second.id);
    expect(await worker.rows("select private.break_off_expired_turns() as n")).toEqual([{ n: 1 }]);
    expect(await read(second.id)).toMatchObject({ state: "broken_off", content: "" });
    await expectSqlState(append(second.id, 1, "late"), "PL409");
  });

  test("that fails does not block that of others", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) {
      const { chat } = await startChat(ada);
      ids.push((await start(chat)).id);
      await expireLease(db, ids[i]!);
    }
    await owner.rows(
      `create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'no' using errcode = 'PL409'; end $$`,
    );
    const [first] = await owner.rows<{ message_id: string }>(
      "select message_id from private.turns where message_id = any ($1) order by chat_id limit 1",
      [ids],
    );
    await owner.rows(
      `create trigger refuse before update on llm.messages for each row when (old.id = '${first!.message_id}') execute function public.refuse()`,
    );
    expect(await worker.rows("select private.break_off_expired_turns() as n")).toEqual([{ n: 2 }]);
    await owner.rows("drop function public.refuse() cascade");
    expect(await worker.rows("select private.break_off_expired_turns() as n")).toEqual([{ n: 1 }]);
    for (const id of ids) expect((await read(id)).state).toBe("broken_off");
  });

  test("does not follow while deltas arrive, however long the turn takes", async () => {
    const { chat } = await startChat(ada);
    const { id } = await start(chat);
    await expireLease(db, id);
    await append(id, 1, "still here");
    expect(await worker.rows("select private.break_off_expired_turns() as n")).toEqual([{ n: 0 }]);
    await ada.rows("select llm.finish_turn($1)", [id]);
  });
});

describe("the ledger", () => {
  test.each([
    ["settled", "select private.settle_hold(id, 5, 7)", { input: 5, output: 7, hold: "settled" }],
    ["released", "select private.release_hold(id)", { input: 0, output: 1, hold: "released" }],
  ])("charges an answer once whose hold was %s by another process", async (_, end, expected) => {
    for (const how of ["finish", "expire", "delete"]) {
      const { chat } = await startChat(ada);
      const { id } = await start(chat);
      await append(id, 1, "text");
      await service.rows(end.replace("id", "$1"), [
        (
          await owner.rows<{ id: string }>("select id from billing.token_holds where idempotency_key = $1", [
            `turn:${id}`,
          ])
        )[0]!.id,
      ]);
      if (how === "finish") await ada.rows("select llm.finish_turn($1)", [id]);
      if (how === "expire") {
        await expireLease(db, id);
        expect(await worker.rows("select private.break_off_expired_turns() as n")).toEqual([{ n: 1 }]);
      }
      if (how === "delete") await ada.rows("delete from llm.chats where id = $1", [chat]);
      else expect((await read(id)).state).toBe(how === "finish" ? "complete" : "broken_off");
      expect(await billed(id)).toEqual(expected);
      if (how !== "delete")
        expect(
          await owner.rows("select from billing.usage_events where message_id = $1 and hold_id is null", [
            id,
          ]),
        ).toHaveLength(expected.hold === "released" ? 1 : 0);
    }
  });

  test("corrects the estimate for a released hold by the service's count", async () => {
    const { chat } = await startChat(ada);
    const [turn] = await service.rows<Message>("select * from private.start_turn($1, $2, $3)", [
      adaId,
      chat,
      model,
    ]);
    await service.rows("select private.append_delta($1, 1, 'text')", [turn!.id]);
    await owner.rows("select private.release_hold(id) from billing.token_holds where idempotency_key = $1", [
      `turn:${turn!.id}`,
    ]);
    await ada.rows("select llm.cancel_turn($1)", [turn!.id]);
    expect(await billed(turn!.id)).toEqual({ input: 0, output: 1, hold: "released" });
    await service.rows("select private.finish_turn($1, input_tokens => 3, output_tokens => 9)", [turn!.id]);
    expect((await read(turn!.id)).tokens_used).toBe(9);
    expect(
      await owner.rows(
        "select sum(input_tokens)::integer as input, sum(output_tokens)::integer as output from billing.usage_events where message_id = $1",
        [turn!.id],
      ),
    ).toEqual([{ input: 3, output: 9 }]);
  });

  test("reserves at the start and records the service's usage once", async () => {
    const { chat } = await startChat(ada);
    const [turn] = await service.rows<Message>(
      "select * from private.start_turn($1, $2, $3, max_tokens => 600, input_tokens => 90)",
      [adaId, chat, model],
    );
    expect(await billed(turn!.id)).toEqual({ input: 0, output: 0, hold: "open" });
    await service.rows("select private.append_delta($1, 1, 'x')", [turn!.id]);
    const finish = "select * from private.finish_turn($1, input_tokens => 100, output_tokens => 40)";
    for (const _ of [1, 2])
      expect(await service.rows<Message>(finish, [turn!.id])).toMatchObject([{ tokens_used: 40 }]);
    expect(await billed(turn!.id)).toEqual({ input: 100, output: 40, hold: "settled" });
  });

  test("counts the streamed part of a cancelled answer until the service reports", async () => {
    const { chat } = await startChat(ada);
    const [turn] = await service.rows<Message>(
      "select * from private.start_turn($1, $2, $3, input_tokens => 90)",
      [adaId, chat, model],
    );
    await service.rows("select private.append_delta($1, 1, $2)", [turn!.id, "x".repeat(401)]);
    await ada.rows("select llm.cancel_turn($1)", [turn!.id]);
    expect(await billed(turn!.id)).toEqual({ input: 90, output: 101, hold: "settled" });
    const told = "select * from private.finish_turn($1, input_tokens => 95, output_tokens => 120)";
    for (const _ of [1, 2]) await service.rows(told, [turn!.id]);
    expect(await billed(turn!.id)).toEqual({ input: 95, output: 120, hold: "settled" });
    expect(await read(turn!.id)).toMatchObject({ state: "cancelled", tokens_used: 120 });
  });

  test("releases everything for an empty answer and still accepts a later report", async () => {
    const { chat } = await startChat(ada);
    const [turn] = await service.rows<Message>("select * from private.start_turn($1, $2, $3)", [
      adaId,
      chat,
      model,
    ]);
    await expireLease(db, turn!.id);
    await worker.rows("select private.break_off_expired_turns()");
    expect(await billed(turn!.id)).toEqual({ input: 0, output: 0, hold: "released" });
    for (const _ of [1, 2])
      await service.rows("select * from private.break_off_turn($1, input_tokens => 7, output_tokens => 0)", [
        turn!.id,
      ]);
    expect(await billed(turn!.id)).toEqual({ input: 7, output: 0, hold: "released" });
  });

  test("accepts a service's count once for an answer that a client wrote", async () => {
    const turn = await start((await startChat(ada)).chat);
    await append(turn.id, 1, "You said it again.");
    const report = (input: number, output: number) =>
      service.rows("select private.report_turn_usage($1, $2, $3, 2, 1)", [turn.id, input, output]);
    await expectSqlState(report(12, 4), "PL409");
    await ada.rows("select llm.finish_turn($1, input_tokens => 12, output_tokens => 4)", [turn.id]);
    expect(await billed(turn.id)).toEqual({ input: 12, output: 5, hold: "settled" });
    await report(12, 4);
    await report(12, 4);
    expect(await billed(turn.id)).toEqual({ input: 12, output: 4, hold: "settled" });
    expect(await read(turn.id)).toMatchObject({ tokens_used: 4 });
    await expectSqlState(report(13, 4), "PL409");
    await expectSqlState(report(-1, 1), "PL422");
    await expectSqlState(service.rows("select private.report_turn_usage($1, 1, 1)", [randomUUID()]), "PL404");
    await expectSqlState(ada.rows("select private.report_turn_usage($1, 1, 1)", [turn.id]), "42501");
  });

  test("ignores a client's report below the streamed amount", async () => {
    const { chat } = await startChat(ada);
    const { id } = await start(chat);
    await append(id, 1, "x".repeat(400));
    await ada.rows("select * from llm.finish_turn($1, output_tokens => 1)", [id]);
    expect(await billed(id)).toEqual({ input: 0, output: 100, hold: "settled" });
  });

  test("counts the streamed part of an answer in a deleted chat", async () => {
    const { chat } = await startChat(ada);
    const { id } = await start(chat);
    await append(id, 1, "x".repeat(400));
    await ada.rows("delete from llm.chats where id = $1", [chat]);
    expect(await billed(id)).toEqual({ input: 0, output: 100, hold: "settled" });
  });

  test("rejects a turn beyond the balance without leaving a trace of it", async () => {
    const { chat, question } = await startChat(ada);
    await expectSqlState(
      ada.rows("select * from llm.start_turn($1, $2, max_tokens => 900000000)", [chat, model]),
      "PL402",
    );
    expect(await ada.rows("select id from llm.messages where chat_id = $1", [chat])).toEqual([
      { id: question },
    ]);
  });

  test("deletes a running turn with its account", async () => {
    const eveId = await registerUser(db, "eve");
    const eve = await connectAs(db, eveId);
    const { chat } = await startChat(eve);
    const [turn] = await eve.rows<Message>(START, [chat, model]);
    await eve.rows("select llm.append_delta($1, 1, 'x')", [turn!.id]);
    await owner.rows("delete from identity.users where id = $1", [eveId]);
    expect(await owner.rows("select from private.turns where message_id = $1", [turn!.id])).toEqual([]);
    await eve.end();
  });
});

test("builds the context of a turn from its own path without replaced messages", async () => {
  const { chat, question } = await startChat(ada, "first wording");
  const [edited] = await ada.rows<Message>("select * from llm.edit_chat_message($1, 'second wording')", [
    question,
  ]);
  const turn = await start(chat);
  expect(turn.parent_id).toBe(edited!.id);
  expect(await service.rows("select content from private.turn_context($1)", [turn.id])).toEqual([
    { content: "second wording" },
  ]);
  await ada.rows("select llm.cancel_turn($1)", [turn.id]);
});

// Writers are killed at any step while readers follow and sometimes cancel. Each surviving answer must be a prefix of its
// writer's deltas, as readers saw it, and the ledger must count it once. PLINTH_SEED repeats a run.
test("survives kill -9 at any step without a gap, a duplicate or an answer billed twice", async () => {
  const random = makeRandom(SEED);
  const users = await Promise.all(
    [1, 2, 3].map(async (n) => {
      const id = await registerUser(db, `writer${n}x${random(1e9)}`);
      const connection = await connectAs(db, id);
      const { chat } = await startChat(connection);
      return { id, connection, chat };
    }),
  );
  const sent = new Map<string, string[]>();
  const seen = new Map<string, string>();
  const violations: string[] = [];
  const expected = new Set(["PL409", "PL404"]);

  /** A writer: streams answers, dies at random between or within statements, and returns as another process. */
  async function write({ id, chat }: (typeof users)[number]): Promise<void> {
    for (let answer = 0; answer < 6; answer++) {
      let connection = await connect(db, "service");
      const key = `answer ${answer}`;
      const pieces = Array.from(
        { length: 1 + random(6) },
        (_, n) => `${answer}.${n}${"x".repeat(random(50))} `,
      );
      /** Retries until it gets a result; each lost connection is a new process that knows only the key. */
      const insist = async (sql: string, params: unknown[]): Promise<Record<string, unknown>[]> => {
        for (;;) {
          const running = connection.rows(sql, params);
          if (random(5) === 0) setTimeout(() => connection.kill(), random(4));
          try {
            return await running;
          } catch (error) {
            const { code } = error as { code?: string };
            if (code && /^PL/.test(code)) throw error;
            if (code === "40P01") violations.push("deadlock");
            await connection.end();
            connection = await connect(db, "service");
          }
        }
      };
      try {
        const [turn] = await insist("select * from private.start_turn($1, $2, $3, idempotency_key => $4)", [
          id,
          chat,
          model,
          key,
        ]);
        const message = turn!.id as string;
        sent.set(message, pieces);
        const dies = random(3) === 0 ? random(pieces.length) : pieces.length;
        for (const [index, piece] of pieces.slice(0, dies).entries())
          await insist("select private.append_delta($1, $2, $3)", [message, index + 1, piece]);
        if (dies < pieces.length) {
          // The writer is dead. Another process ends its turn.
          await expireLease(db, message);
          if (random(2)) await worker.rows("select private.break_off_expired_turns()");
        }
        // More than the estimate for the deltas, so that the two differ.
        else
          await insist(
            "select * from private.finish_turn($1, 'stop', $2, input_tokens => 10, output_tokens => 200)",
            [message, pieces.length],
          );
      } catch (error) {
        const { code } = error as { code?: string };
        if (!expected.has(code ?? "")) throw error;
      }
      await connection.end();
    }
  }
  /** A reader: follows each answer by its cursor and sometimes cancels. */
  let writing = true;
  async function follow({ connection, chat }: (typeof users)[number]): Promise<void> {
    const cursors = new Map<string, number>();
    while (writing) {
      const turns = await connection.rows<Message>(
        "select * from llm.messages where chat_id = $1 and role = 'assistant'",
        [chat],
      );
      for (const { id } of turns) {
        const from = cursors.get(id) ?? 0;
        const deltas = await connection.rows<{ sequence: number; content: string }>(
          "select * from llm.message_deltas_after($1, $2, 2)",
          [id, from],
        );
        for (const [index, delta] of deltas.entries()) {
          if (delta.sequence !== from + index + 1) violations.push(`gap after ${from + index}`);
          seen.set(id, (seen.get(id) ?? "") + delta.content);
        }
        cursors.set(id, from + deltas.length);
        if (random(40) === 0) await connection.rows("select llm.cancel_turn($1)", [id]);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
  const readers = users.map(follow);
  await Promise.all(users.map(write)).finally(() => {
    writing = false;
  });
  await Promise.all(readers);
  await owner.rows(
    "update private.turns set lease_expires_at = now() - interval '1 second' where ended_at is null",
  );
  await worker.rows("select private.break_off_expired_turns()");

  expect({ seed: SEED, violations }).toEqual({ seed: SEED, violations: [] });
  expect(await owner.rows("select from llm.messages where state = 'streaming'")).toEqual([]);
  for (const { connection, chat } of users) {
    const answers = await connection.rows<Message>(
      "select * from llm.messages where chat_id = $1 and role = 'assistant'",
      [chat],
    );
    for (const answer of answers) {
      const pieces = sent.get(answer.id) ?? [];
      const whole = pieces.slice(0, answer.last_sequence).join("");
      expect({ seed: SEED, content: answer.content }).toEqual({ seed: SEED, content: whole });
      expect(whole.startsWith(seen.get(answer.id) ?? "")).toBe(true);
      if (answer.state === "complete") expect(answer.last_sequence).toBe(pieces.length);
      const { input, output, hold } = await billed(answer.id);
      expect(hold).not.toBe("open");
      expect({ input, output }).toEqual(
        answer.state === "complete" || answer.tokens_used === 200
          ? { input: 10, output: 200 }
          : { input: 0, output: Math.ceil(Buffer.byteLength(answer.content) / 4) },
      );
    }
    await connection.end();
  }
});
