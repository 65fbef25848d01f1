import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { Answerer } from "../../src/answerer/answerer.ts";
import { registerUser } from "../support/accounts.ts";
import { until } from "../support/api.ts";
import { connect, connectAs, type Message, type UserConnection } from "../support/chat.ts";
import { expectSqlState, type TestDatabase } from "../support/database.ts";
import { brokenLawsAt } from "../support/ledger.ts";
import { type ModelServer, says, saysForever, startModelServer } from "../support/model-server.ts";
import {
  answererOf,
  createAnswererDatabase,
  ended,
  giveTokens,
  modelAt,
  readMessage,
  requestAnswer,
} from "./support.ts";

// The built-in answerer against a scripted provider.

const KEY = "sk-secret-of-the-provider";
const USAGE = {
  prompt_tokens: 1_200,
  completion_tokens: 340,
  prompt_tokens_details: { cached_tokens: 1_000 },
  completion_tokens_details: { reasoning_tokens: 300 },
};

let db: TestDatabase;
let provider: ModelServer;
let answerer: Answerer;
let ada: UserConnection;
let model: string;
let owner: Awaited<ReturnType<typeof connect>>;
const lines: Record<string, unknown>[] = [];
beforeAll(async () => {
  db = await createAnswererDatabase();
  provider = await startModelServer();
  const id = await registerUser(db, "ada");
  await giveTokens(db, id);
  ada = await connectAs(db, id);
  model = await modelAt(db, provider.url, KEY);
  owner = await connect(db, "owner");
  answerer = await answererOf(db, { lines });
});
afterAll(async () => {
  await answerer.close();
  await provider.close();
  for (const connection of [ada, owner]) await connection.end();
  await db.drop();
});
beforeEach(() => {
  provider.calls.length = 0;
});
afterEach(async () => {
  expect(await brokenLawsAt(db.url("owner"))).toEqual([]);
  expect(JSON.stringify(lines)).not.toContain(KEY);
});

/** The ledger's view of an answer. */
const ledger = async (id: string) =>
  (
    await owner.rows<Record<string, number | string>>(
      `select h.state, h.max_tokens::integer as held, e.input_tokens::integer as input, e.output_tokens::integer as output,
         e.cached_input_tokens::integer as cached, e.reasoning_tokens::integer as reasoning
       from billing.token_holds h left join billing.usage_events e on e.id = h.usage_event_id
       where h.idempotency_key = 'turn:' || $1::text`,
      [id],
    )
  )[0]!;

describe("a requested answer", () => {
  test("streams in with the model's thinking, and the ledger has the usage that the provider reported", async () => {
    provider.script((response) => {
      response.delta({ role: "assistant", content: "" });
      response.delta({ reasoning_content: "A plinth? " });
      response.delta({ reasoning_content: "A base." });
      response.delta({ content: "A base \0for " });
      response.delta({ content: "a column." });
      response.end({ usage: USAGE });
    });
    const { id } = await requestAnswer(ada, model);
    expect(await ended(ada, id)).toMatchObject({
      state: "complete",
      finish_reason: "stop",
      content: "A base for a column.",
      thinking: "A plinth? A base.",
      last_sequence: 4,
      tokens_used: 340,
    });
    expect(await ledger(id)).toEqual({
      state: "settled",
      held: 1_005,
      input: 1_200,
      output: 340,
      cached: 1_000,
      reasoning: 300,
    });
    const [call] = provider.calls;
    expect(call).toMatchObject({
      url: "/v1/chat/completions",
      body: {
        model: "model",
        stream: true,
        stream_options: { include_usage: true },
        max_tokens: 1_000,
        messages: [{ role: "user", content: "What is a plinth?" }],
      },
    });
    expect(call!.headers.authorization).toBe(`Bearer ${KEY}`);
  });

  test("with more tool calls than an answer may have is broken off", async () => {
    provider.script((response) => {
      const input = JSON.stringify({ text: "x".repeat(20_000) });
      for (let index = 0; index < 30; index++)
        response.delta({
          tool_calls: [
            { index, id: `call_${index}`, type: "function", function: { name: "note", arguments: input } },
          ],
        });
      response.end({ usage: USAGE });
    });
    const { id } = await requestAnswer(ada, model);
    expect(await ended(ada, id)).toMatchObject({
      state: "broken_off",
      error_code: "model_failed",
      tool_calls: null,
    });
  });

  test("reserves tokens before, and returns the same answer for the same key", async () => {
    provider.script(says(["ok"], USAGE));
    const { chat, id } = await requestAnswer(ada, model);
    await ended(ada, id);
    const poor = await connectAs(db, await registerUser(db, "poor"));
    await expectSqlState(requestAnswer(poor, model, { maxTokens: 1_000_000_000 }), "PL402");
    await poor.end();
    const request = "select id from llm.request_answer($1, $2, idempotency_key => 'one')";
    await ada.rows("insert into llm.messages (chat_id, role, content) values ($1, 'user', 'And then?')", [
      chat,
    ]);
    const [first] = await ada.rows<{ id: string }>(request, [chat, model]);
    await ended(ada, first!.id);
    expect(await ada.rows(request, [chat, model])).toEqual([first]);
  });

  test("stores tool calls as data, and the application's result is the input of the next answer", async () => {
    const tool = {
      type: "function",
      function: { name: "weather", description: "The weather.", parameters: { type: "object" } },
    };
    provider.script(
      (response) => {
        response.delta({
          tool_calls: [{ index: 0, id: "call_1", function: { name: "weather", arguments: '{"day":' } }],
        });
        response.delta({ tool_calls: [{ index: 0, function: { arguments: '"today"}' } }] });
        response.end({ finishReason: "tool_calls", usage: USAGE });
      },
      says(["Sunny."], USAGE),
    );
    const { chat, id } = await requestAnswer(ada, model, { tools: [tool] });
    const calls = [
      { id: "call_1", type: "function", function: { name: "weather", arguments: '{"day":"today"}' } },
    ];
    expect(await ended(ada, id)).toMatchObject({
      finish_reason: "tool_calls",
      tool_calls: calls,
      content: "",
    });
    expect(provider.calls[0]!.body.tools).toEqual([tool]);

    await ada.rows("insert into llm.messages (chat_id, role, content) values ($1, 'tool', 'sunny')", [chat]);
    const [next] = await ada.rows<Message>("select * from llm.request_answer($1, $2)", [chat, model]);
    expect((await ended(ada, next!.id)).content).toBe("Sunny.");
    expect(provider.calls[1]!.body.messages).toEqual([
      { role: "user", content: "What is a plinth?" },
      { role: "assistant", content: null, tool_calls: calls },
      { role: "tool", tool_call_id: "call_1", content: "sunny" },
    ]);
  });

  test.each([
    ["no list", {}],
    ["an empty list", []],
    ["another type", [{ type: "web_search" }]],
    ["a name with spaces", [{ type: "function", function: { name: "a b", parameters: {} } }]],
    ["no parameters", [{ type: "function", function: { name: "a" } }]],
  ])("rejects tools that are %s", async (_, tools) => {
    await expectSqlState(requestAnswer(ada, model, { tools: tools as object[] }), "PL422");
  });

  test("cannot be written by a client or another service", async () => {
    provider.script(saysForever());
    const { id } = await requestAnswer(ada, model);
    // So that no call is still to come when the next test counts its own.
    await until(() => provider.calls.length === 1);
    await expectSqlState(ada.rows("select llm.append_delta($1, 1, 'x')", [id]), "PL404");
    const service = await connect(db, "service");
    await expectSqlState(service.rows("select private.append_delta($1, 1, 'x')", [id]), "PL404");
    await expectSqlState(
      service.rows("select private.append_answer($1, gen_random_uuid(), 1, array['x'])", [id]),
      "PL409",
    );
    await service.end();
    await ada.rows("select llm.cancel_turn($1)", [id]);
    await until(() => provider.calls[0]!.isAborted && answerer.running === 0);
  });

  test("that is cancelled closes the provider's connection and keeps its text", async () => {
    provider.script(saysForever());
    const { id } = await requestAnswer(ada, model);
    await until(async () => provider.calls.length === 1 && answerer.running === 1);
    await until(
      async () => (await ada.rows("select from llm.message_deltas where message_id = $1", [id])).length > 3,
    );
    await ada.rows("select llm.cancel_turn($1)", [id]);
    await until(async () => provider.calls[0]!.isAborted && answerer.running === 0);
    const message = await readMessage(ada, id);
    expect(message).toMatchObject({ state: "cancelled" });
    expect(message.content).toMatch(/^1 2 3 /);
    expect((await ledger(id)).state).toBe("settled");
  });

  test("that is cancelled while the model is silent closes the provider's connection", async () => {
    provider.script(() => {});
    const { id } = await requestAnswer(ada, model);
    await until(async () => provider.calls.length === 1);
    await ada.rows("select llm.cancel_turn($1)", [id]);
    await until(async () => provider.calls[0]!.isAborted && answerer.running === 0);
  });

  test("that is cancelled before a server claims it costs nothing", async () => {
    const other = await modelAt(db, provider.url, KEY);
    await answerer.close();
    try {
      const { id } = await requestAnswer(ada, other);
      await ada.rows("select llm.cancel_turn($1)", [id]);
      expect((await ledger(id)).state).toBe("released");
    } finally {
      answerer = await answererOf(db, { lines });
    }
  });
});

describe("a failing provider", () => {
  test("that is busy is asked again after its Retry-After", async () => {
    const times: number[] = [];
    provider.script(
      (response) => {
        times.push(performance.now());
        response.fail(429, { "retry-after": "1" });
      },
      (response) => {
        times.push(performance.now());
        response.delta({ content: "ok" });
        response.end({ usage: USAGE });
      },
    );
    const { id } = await requestAnswer(ada, model);
    expect(await ended(ada, id)).toMatchObject({ state: "complete", content: "ok" });
    expect(times[1]! - times[0]!).toBeGreaterThan(990);
    expect((await ledger(id)).output).toBe(340);
  });

  test.each([
    [500, "model_unavailable", 3],
    [429, "model_rate_limited", 3],
    [401, "model_unauthorized", 1],
    [400, "model_rejected", 1],
  ])(
    "with status %i breaks the answer off as %s after %i requests, without a charge",
    async (status, code, requests) => {
      provider.script((response) => response.fail(status));
      const { id } = await requestAnswer(ada, model);
      const message = await ended(ada, id);
      expect(message).toMatchObject({ state: "broken_off", finish_reason: "error", error_code: code });
      expect(JSON.stringify(message)).not.toContain(KEY);
      expect(provider.calls).toHaveLength(requests);
      expect((await ledger(id)).state).toBe("released");
    },
  );

  test("that wants more time than a reader would wait is not asked again", async () => {
    provider.script((response) => response.fail(429, { "retry-after": "3600" }));
    const { id } = await requestAnswer(ada, model);
    expect((await ended(ada, id)).error_code).toBe("model_rate_limited");
    expect(provider.calls).toHaveLength(1);
  });

  test("that breaks the connection after a piece breaks the answer off with its text", async () => {
    provider.script(async (response) => {
      response.delta({ content: "half an" });
      await until(
        async () =>
          (await owner.rows("select from private.turns where ended_at is null and last_sequence > 0"))
            .length > 0,
      );
      response.raw.destroy();
    });
    const { id } = await requestAnswer(ada, model);
    expect(await ended(ada, id)).toMatchObject({
      state: "broken_off",
      content: "half an",
      error_code: "model_unavailable",
    });
    expect(provider.calls).toHaveLength(1);
    expect(await ledger(id)).toMatchObject({ state: "settled", output: 2 });
  });

  test("that ends without a finish reason breaks the answer off", async () => {
    provider.script((response) => {
      response.delta({ content: "half" });
      response.raw.end();
    });
    const { id } = await requestAnswer(ada, model);
    expect(await ended(ada, id)).toMatchObject({
      state: "broken_off",
      content: "half",
      error_code: "model_failed",
    });
  });

  test("that breaks the connection before a piece is asked again", async () => {
    provider.script((response) => void response.raw.destroy(), says(["ok"], USAGE));
    const { id } = await requestAnswer(ada, model);
    expect(await ended(ada, id)).toMatchObject({ state: "complete", content: "ok" });
  });

  test("that stays silent breaks the answer off as model_timeout", async () => {
    provider.script(() => {});
    await answerer.close();
    answerer = await answererOf(db, { lines, timeouts: { idleMs: 200 } });
    try {
      const { id } = await requestAnswer(ada, model);
      expect(await ended(ada, id)).toMatchObject({ state: "broken_off", error_code: "model_timeout" });
    } finally {
      await answerer.close();
      answerer = await answererOf(db, { lines });
    }
  });

  test("that redirects to another address is not followed", async () => {
    provider.script((response) =>
      response.fail(302, { location: "http://169.254.169.254/latest/meta-data" }),
    );
    const { id } = await requestAnswer(ada, model);
    expect(await ended(ada, id)).toMatchObject({ state: "broken_off", error_code: "model_rejected" });
    expect(provider.calls).toHaveLength(1);
  });

  test("that sends more than an answer may have ends it as length", async () => {
    provider.script((response) => {
      for (let n = 0; n < 30; n++) response.delta({ content: "ä".repeat(25_000) });
      response.end();
    });
    const { id } = await requestAnswer(ada, model);
    const message = await ended(ada, id);
    expect(message).toMatchObject({ state: "complete", finish_reason: "length" });
    expect(Buffer.byteLength(message.content)).toBe(1_000_000);
  });

  test.each([
    ["endpoint_missing", null, undefined],
    ["endpoint_refused", "http://10.0.0.1/v1", undefined],
    ["endpoint_refused", "https://user:secret@example.com/v1", undefined],
  ])("breaks the answer off as %s for the address %s", async (code, url, key) => {
    const { id } = await requestAnswer(ada, await modelAt(db, url, key));
    expect(await ended(ada, id)).toMatchObject({ state: "broken_off", error_code: code });
    expect((await ledger(id)).state).toBe("released");
  });

  test("loses its key when its address changes", async () => {
    const moved = await modelAt(db, provider.url, KEY);
    await owner.rows(
      "update llm.model_providers set api_url = api_url || '/' where id = (select provider_id from llm.models where id = $1)",
      [moved],
    );
    const { id } = await requestAnswer(ada, moved);
    expect(await ended(ada, id)).toMatchObject({ error_code: "key_missing" });
    expect(provider.calls).toHaveLength(0);
  });
});
