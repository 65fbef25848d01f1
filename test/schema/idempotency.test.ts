import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { addModel, grantRole, registerUser } from "../support/accounts.ts";
import { connect, connectAs, startChat, type UserConnection } from "../support/chat.ts";
import { addItem } from "../support/content.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

// Every function that takes a key for repeated requests, read from the catalogue: the same request gets the same answer,
// and a request that differs in any argument is a conflict.

type Args = Readonly<Record<string, unknown>>;
interface Case {
  /** Arguments of a first request, without the key. */
  readonly request: Args;
  /** Another value for each argument that belongs to the request. */
  readonly others: Args;
  /** Arguments that a key belongs to, or that are not part of the request. */
  readonly apart?: readonly string[];
  readonly by?: "service";
  /** The key, if it is not a uuid. */
  readonly key?: unknown;
}

const KEYS = ["idempotency_key", "event_key", "event_id", "source_key", "provider_event_id", "sequence"];
/** Functions whose arguments of these names are not keys. */
const NO_KEYS = [
  "private.process_payment_event", // names an existing event
  "private.receive_payment_event", // a provider resends an event with other counters in it
];

let db: TestDatabase;
let ada: UserConnection;
let service: Awaited<ReturnType<typeof connect>>;
let owner: Awaited<ReturnType<typeof connect>>;
const cases = new Map<string, Case>();

const TOOL = { type: "function", function: { name: "weather", parameters: {} } };

beforeAll(async () => {
  db = await createTestDatabase();
  const id = await registerUser(db, "ada");
  const bob = await registerUser(db, "bob");
  await grantRole(db, id, "admin");
  ada = await connectAs(db, id);
  service = await connect(db, "service");
  owner = await connect(db, "owner");
  const one = async (sql: string, params: unknown[] = [], connection: Pick<UserConnection, "rows"> = owner) =>
    Object.values((await connection.rows<Record<string, string>>(sql, params))[0]!)[0]!;
  await service.rows("select private.grant_tokens($1, 1000000, 'purchase', null, 100, null, null, 'much')", [
    id,
  ]);
  const [model, model2] = [await addModel(db, { isPublic: true }), await addModel(db, { isPublic: true })];
  const room = await one("select id from rooms.create_room('room', ai_enabled => true)", [], ada);
  await one("insert into rooms.room_members (room_id, user_id) values ($1, $2) returning user_id", [
    room,
    bob,
  ]);
  const first = await one("select id from rooms.post_room_message($1, 'first')", [room], ada);
  const chats: { chat: string; question: string }[] = [];
  for (let n = 0; n < 10; n++) chats.push(await startChat(ada));
  const [chat, other, ofService, otherOfService, deltas, serviceDeltas, edits] = chats as typeof chats &
    { chat: string; question: string }[];
  const turn = await one("select id from llm.start_turn($1, $2)", [deltas!.chat, model], ada);
  const serviceTurn = await one(
    "select id from private.start_turn($1, $2, $3)",
    [id, serviceDeltas!.chat, model],
    service,
  );
  const second = await one("select id from llm.send_chat_message($1, 'more')", [edits!.chat], ada);
  const prompt = (name: string) =>
    one("insert into llm.prompts (name, content) values ($1, 'text') returning id", [name], ada);
  const plan = (code: string) =>
    one(
      "insert into billing.subscription_plans (code, plan_name, price_cents) values ($1, $1, 100) returning id",
      [code],
    );
  const [video, video2] = [await addItem(db, "video"), await addItem(db, "video-2")];
  await one(
    "update learning.content_items set publish_from = now() - interval '1 day' where id = $1 returning id",
    [video],
  );
  const skill = await one("insert into learning.skills (skill_name) values ('empathy') returning id");
  const usage = async () =>
    one("select id from private.record_usage($1, $2, 5, 5, $3)", [id, model, randomUUID()], service);
  const [event, event2] = [await usage(), await usage()];
  const message = {
    others: {
      content: "another",
      reply_to_id: null,
      mentions: null,
      recipients: [bob],
      metadata: { a: 2 },
    },
    request: { content: "hello", reply_to_id: first, mentions: [bob], metadata: { a: 1 } },
  };
  const started = {
    others: {
      chat_id: other!.chat,
      model_id: model2,
      parent_id: null,
      max_tokens: 99,
      lease_seconds: 61,
    },
    request: { chat_id: chat!.chat, model_id: model, parent_id: chat!.question, max_tokens: 100 },
  };
  for (const [name, value] of Object.entries<Case>({
    "rooms.post_room_message": {
      request: { room_id: room, ...message.request },
      others: message.others,
      apart: ["room_id"],
    },
    "private.post_ai_message": {
      request: { room_id: room, ...message.request, output_tokens: 5 },
      others: {
        ...message.others,
        model_id: model,
        input_tokens: 7,
        output_tokens: 6,
        cached_input_tokens: 1,
        reasoning_tokens: 1,
        billed_user_id: bob,
      },
      apart: ["room_id", "audience_version"],
      by: "service",
    },
    "rooms.create_room": {
      request: { name: "a room", description: "what for" },
      others: {
        name: "another",
        room_type: "private",
        description: "",
        is_public: true,
        ai_enabled: true,
        history_is_shared: false,
      },
    },
    "rooms.post_general_chat_message": { request: { content: "hello" }, others: { content: "another" } },
    "llm.send_chat_message": {
      request: {
        chat_id: chat!.chat,
        content: "hello",
        attachments: JSON.stringify([
          { url: "https://example.com/a", mimeType: "text/plain", sizeBytes: 1, name: "a" },
        ]),
      },
      others: { chat_id: other!.chat, content: "another", parent_id: chat!.question, attachments: "[]" },
    },
    "llm.edit_chat_message": {
      request: { message_id: edits!.question, content: "hello" },
      others: { message_id: second, content: "another", attachments: "[]" },
    },
    "llm.start_turn": started,
    "llm.request_answer": {
      request: {
        ...started.request,
        chat_id: chats[7]!.chat,
        parent_id: chats[7]!.question,
        tools: JSON.stringify([TOOL]),
      },
      others: {
        chat_id: chats[8]!.chat,
        model_id: model2,
        parent_id: null,
        max_tokens: 99,
        tools: JSON.stringify([TOOL, TOOL]),
      },
    },
    "private.start_turn": {
      request: {
        ...started.request,
        user_id: id,
        chat_id: ofService!.chat,
        parent_id: ofService!.question,
      },
      others: { ...started.others, chat_id: otherOfService!.chat, input_tokens: 1 },
      apart: ["user_id"],
      by: "service",
    },
    "llm.append_delta": {
      request: { message_id: turn, content: "a", thinking: "b" },
      others: { content: "c", thinking: "c" },
      apart: ["message_id"],
      key: 1,
    },
    "private.append_delta": {
      request: { message_id: serviceTurn, content: "a", thinking: "b" },
      others: { content: "c", thinking: "c" },
      apart: ["message_id"],
      by: "service",
      key: 1,
    },
    "llm.use_prompt": {
      request: { prompt_id: await prompt("one") },
      others: { prompt_id: await prompt("two") },
    },
    "billing.reserve_tokens": {
      request: { model_id: model, max_tokens: 10 },
      others: { model_id: model2, max_tokens: 11 },
    },
    "private.reserve_tokens": {
      request: { user_id: id, model_id: model, max_tokens: 10 },
      others: { model_id: model2, max_tokens: 11, ttl: "1 minute" },
      apart: ["user_id", "at"],
      by: "service",
    },
    "billing.grant_subscription": {
      request: { user_id: bob, plan_id: await plan("one") },
      others: { plan_id: await plan("two") },
      apart: ["user_id"],
    },
    "private.grant_tokens": {
      request: {
        user_id: id,
        amount: 5,
        source: "purchase",
        source_id: randomUUID(),
        priority: 1,
        starts_at: "2026-01-01T00:00:00Z",
        expires_at: "2099-01-01T00:00:00Z",
      },
      others: {
        amount: 6,
        source: "manual",
        source_id: randomUUID(),
        priority: 2,
        starts_at: "2026-01-02T00:00:00Z",
        expires_at: "2099-01-02T00:00:00Z",
      },
      apart: ["user_id", "at"],
      by: "service",
    },
    "private.record_usage": {
      request: { user_id: id, model_id: model, input_tokens: 5, output_tokens: 5 },
      others: {
        model_id: model2,
        input_tokens: 6,
        output_tokens: 6,
        cached_input_tokens: 1,
        reasoning_tokens: 1,
        occurred_at: "2026-01-01T00:00:00Z",
        message_id: chat!.question,
      },
      apart: ["user_id", "at"],
      by: "service",
    },
    "private.correct_usage": {
      request: { event_id: event, input_tokens: 3, output_tokens: 3 },
      others: {
        event_id: event2,
        input_tokens: 2,
        output_tokens: 2,
        cached_input_tokens: 1,
        reasoning_tokens: 1,
      },
      apart: ["at"],
      by: "service",
    },
    "private.close_plan_grant": {
      request: {
        user_id: id,
        source_id: randomUUID(),
        closed_at: new Date(Date.now() - 1000),
        rollover_limit: 5,
        rollover_expires_at: null,
      },
      others: {
        source_id: randomUUID(),
        closed_at: new Date(Date.now() - 2000),
        rollover_limit: 6,
        rollover_expires_at: "2099-01-01T00:00:00Z",
      },
      apart: ["user_id", "at"],
      by: "service",
    },
    "learning.assess_skill": {
      request: { user_id: bob, skill_id: skill, delta: 2, note: "well done" },
      others: { delta: 3, note: null },
      apart: ["user_id", "skill_id"],
    },
    "learning.record_heartbeat": {
      request: { item_id: video, from_seconds: 0, to_seconds: 10 },
      others: {
        item_id: video2,
        from_seconds: 1,
        to_seconds: 11,
        active_seconds: 12,
        occurred_at: new Date(Date.now() - 60_000),
        version: 1,
      },
    },
  }))
    cases.set(name, value);
});
afterAll(async () => {
  for (const connection of [ada, service, owner]) await connection.end();
  await db.drop();
});

async function functions(): Promise<{ name: string; arguments: string[] }[]> {
  return owner.rows(
    `select n.nspname || '.' || p.proname as name, coalesce(p.proargnames[1:p.pronargs], '{}') as arguments
     from pg_proc p
     join pg_namespace n on n.oid = p.pronamespace
     where p.proargnames[1:p.pronargs] && $1::text[]
       and n.nspname not in ('pg_catalog', 'plinth')
       and exists (
         select from unnest(array['anonymous', 'user', 'service', 'worker']) as r (name)
         where has_function_privilege($2 || '_' || r.name, p.oid, 'execute'))
     order by 1`,
    [KEYS, db.rolePrefix],
  );
}

const keyOf = (args: readonly string[]) => KEYS.find((key) => args.includes(key))!;
async function call(name: string, args: Args): Promise<string> {
  const names = Object.keys(args);
  const list = names.map((arg, i) => `${arg} => $${i + 1}`).join(", ");
  const connection = cases.get(name)!.by === "service" ? service : ada;
  const [row] = await connection.rows<{ answer: unknown }>(
    `select to_jsonb(f) as answer from ${name}(${list}) f`,
    Object.values(args),
  );
  return JSON.stringify(row!.answer);
}

test("every function with a key has a case, and each of its arguments is covered", async () => {
  const found = await functions();
  expect([...cases.keys(), ...NO_KEYS].sort()).toEqual(found.map(({ name }) => name).sort());
  for (const { name, arguments: args } of found.filter(({ name }) => cases.has(name))) {
    const { others, apart = [] } = cases.get(name)!;
    expect([name, ...[...Object.keys(others), ...apart, keyOf(args)].sort()]).toEqual([
      name,
      ...args.toSorted(),
    ]);
  }
});

test("returns the same answer to the same request, and a conflict to another request with its key", async () => {
  const wrong: string[] = [];
  for (const { name, arguments: args } of (await functions()).filter(({ name }) => cases.has(name))) {
    const { request, others, key = randomUUID() } = cases.get(name)!;
    const keyed = { ...request, [keyOf(args)]: key };
    const answer = await call(name, keyed);
    if ((await call(name, keyed)) !== answer) wrong.push(`${name} answers otherwise`);
    for (const [argument, value] of Object.entries(others)) {
      const code = await call(name, { ...keyed, [argument]: value }).then(
        (again) => (again === answer ? "the old answer" : "a new answer"),
        (error: { code: string }) => error.code,
      );
      if (code !== "PL409") wrong.push(`${name} with another ${argument}: ${code}`);
    }
    if ((await call(name, keyed)) !== answer) wrong.push(`${name} answers otherwise at last`);
  }
  expect(wrong).toEqual([]);
});

describe("a later change does not make a request different", () => {
  const newRoom = () =>
    ada.rows<{ id: string }>("select id from rooms.create_room('room')").then(([row]) => row!.id);
  const POST = "select id from rooms.post_room_message($1, $2, idempotency_key => $3)";

  test("matches an edited and a deleted message by its first text", async () => {
    const room = await newRoom();
    const key = randomUUID();
    const [message] = await ada.rows<{ id: string }>(POST, [room, "first", key]);
    await ada.rows("select rooms.edit_room_message($1, 'second')", [message!.id]);
    expect(await ada.rows(POST, [room, "first", key])).toEqual([message]);
    await expect(ada.rows(POST, [room, "second", key])).rejects.toMatchObject({ code: "PL409" });
    await ada.rows("select rooms.delete_room_message($1)", [message!.id]);
    expect(await ada.rows(POST, [room, "first", key])).toEqual([message]);
    await expect(ada.rows(POST, [room, "", key])).rejects.toMatchObject({ code: "PL422" });
  });

  test("matches messages and rooms that are older than the digests", async () => {
    const [roomKey, key, generalKey] = [randomUUID(), randomUUID(), randomUUID()];
    const CREATE = "select id from rooms.create_room($1, idempotency_key => $2)";
    const GENERAL = "select id from rooms.post_general_chat_message($1, $2)";
    const [room] = await ada.rows<{ id: string }>(CREATE, ["old", roomKey]);
    const [message] = await ada.rows<{ id: string }>(POST, [room!.id, "first", key]);
    const [general] = await ada.rows<{ id: string }>(GENERAL, ["first", generalKey]);
    await owner.rows("delete from private.request_digests");
    await ada.rows("select rooms.edit_room_message($1, 'second')", [message!.id]);
    await ada.rows("select rooms.edit_general_chat_message($1, 'second')", [general!.id]);
    expect(await ada.rows(POST, [room!.id, "first", key])).toEqual([message]);
    expect(await ada.rows(GENERAL, ["first", generalKey])).toEqual([general]);
    expect(await ada.rows(CREATE, ["old", roomKey])).toEqual([room]);
    for (const [sql, ...params] of [
      [POST, room!.id, "second", key],
      [GENERAL, "second", generalKey],
      [CREATE, "new", roomKey],
    ] as const)
      await expect(ada.rows(sql, params)).rejects.toMatchObject({ code: "PL409" });
  });

  test("matches a renamed room and a member who left", async () => {
    const [roomKey, key] = [randomUUID(), randomUUID()];
    const CREATE = "select id from rooms.create_room('old', idempotency_key => $1)";
    const [room] = await ada.rows<{ id: string }>(CREATE, [roomKey]);
    await ada.rows("update rooms.chat_rooms set name = 'new' where id = $1", [room!.id]);
    expect(await ada.rows(CREATE, [roomKey])).toEqual([room]);
    const cyd = await registerUser(db, `cyd${Date.now()}`);
    await owner.rows("insert into rooms.room_members (room_id, user_id) values ($1, $2)", [room!.id, cyd]);
    const MENTION = "select id from rooms.post_room_message($1, 'hi', mentions => $2, idempotency_key => $3)";
    const [message] = await ada.rows<{ id: string }>(MENTION, [room!.id, [cyd], key]);
    await owner.rows("delete from rooms.room_members where user_id = $1", [cyd]);
    expect(await ada.rows(MENTION, [room!.id, [cyd], key])).toEqual([message]);
  });

  test("deletes the digests with their account", async () => {
    const id = await registerUser(db, `dan${Date.now()}`);
    const dan = await connectAs(db, id);
    await dan.rows("select rooms.post_general_chat_message('hello', $1)", [randomUUID()]);
    await dan.end();
    const digests = "select from private.request_digests where user_id = $1";
    expect(await owner.rows(digests, [id])).toHaveLength(1);
    await owner.rows("delete from identity.users where id = $1", [id]);
    expect(
      await owner.rows(
        "select from private.request_digests d where d.general_chat_message_id in (select m.id from rooms.general_chat_messages m where m.sender_id is null)",
      ),
    ).toEqual([]);
  });
});

test("rejects only the heartbeat of a batch that reuses an id with other content", async () => {
  const [item] = await owner.rows<{ id: string }>(
    "select id from learning.content_items where slug = 'video'",
  );
  const heartbeat = (more: object) => ({
    eventId: randomUUID(),
    itemId: item!.id,
    fromSeconds: 0,
    toSeconds: 5,
    ...more,
  });
  const first = heartbeat({});
  const record = (...heartbeats: object[]) =>
    ada.rows<{ outcome: string; reason: string | null }>(
      "select outcome, reason from learning.record_heartbeats($1) order by outcome",
      [JSON.stringify(heartbeats)],
    );
  expect(await record(first)).toEqual([{ outcome: "recorded", reason: null }]);
  expect(await record(first)).toEqual([{ outcome: "repeated", reason: null }]);
  expect(await record({ ...first, toSeconds: 6 }, heartbeat({}), first)).toEqual(
    [
      { outcome: "recorded", reason: null },
      { outcome: "refused", reason: "event_id" },
      { outcome: "repeated", reason: null },
    ].sort((a, b) => a.outcome.localeCompare(b.outcome)),
  );
});
