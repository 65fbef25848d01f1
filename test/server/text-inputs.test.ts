import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type Api, type SignedIn, send, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const post = async (query: string, variables: string, headers = {}) =>
  send(api.url, {
    headers: { authorization: `Bearer ${ada.token}`, ...headers },
    body: `{ "query": ${JSON.stringify(query)}, "variables": ${variables} }`,
  });

const CREATE = "mutation ($v: String!) { createChat(input: { chat: { title: $v } }) { chat { title } } }";
const CREATE_BY_INPUT = "mutation ($v: CreateChatInput!) { createChat(input: $v) { chat { title } } }";
const SET_PROFILE =
  "mutation ($v: JSON!) { setConversationMemory(input: { memory: $v }) { conversationMemory { memory } } }";

describe("half a character, which would be stored as U+FFFD, is rejected with its place", () => {
  test.each([
    ["a text", CREATE, '"a\\ud83d"', "v"],
    ["the second half", CREATE, '"\\ude00"', "v"],
    ["halves in the wrong order", CREATE, '"\\ude00\\ud83d"', "v"],
    ["a text in an input", CREATE_BY_INPUT, '{ "chat": { "title": "\\ud83d" } }', "chat.title"],
    ["an id", "query ($v: ID!) { node(nodeId: $v) { nodeId } }", '"\\ud83d"', "v"],
    ["a search", "query ($v: String!) { searchContent(query: $v) { totalCount } }", '"\\ud83d"', "v"],
    ["a cursor", "query ($v: Cursor!) { chats(after: $v) { totalCount } }", '"\\ud83d"', "v"],
    ["JSON", SET_PROFILE, '"\\ud83d"', "v"],
    ["a text in JSON", SET_PROFILE, '{ "a": ["x", { "b": "\\ud83d" }] }', "a.1.b"],
    ["a key in JSON", SET_PROFILE, '{ "a": { "\\ud83d": 1 } }', "a"],
  ])("%s", async (_where, query, json, field) => {
    const { code, json: answer } = await post(query, `{ "v": ${json} }`);
    expect(code).toBe("BAD_USER_INPUT");
    expect(answer.errors[0].extensions.field).toBe(field);
    expect(answer.errors[0].message).toMatch(/lone surrogate/);
  });

  test("in a document, which does not parse", async () => {
    for (const title of ['"\\ud83d"', '"\ud83d"', '"""\ud83d"""', '"\\u{d83d}"'])
      expect(
        (
          await post(
            `mutation { createChat(input: { chat: { title: ${title} } }) { clientMutationId } }`,
            "{}",
          )
        ).code,
      ).toBe("GRAPHQL_PARSE_FAILED");
  });

  test("but whole characters are accepted in any notation", async () => {
    for (const title of ['"\\ud83d\\ude00"', '"\u{1f600}"']) {
      const { json } = await post(CREATE, `{ "v": ${title} }`);
      expect(json.data.createChat.chat.title).toBe("\u{1f600}");
    }
  });

  test("bytes that are not UTF-8, which would be read as U+FFFD, are rejected as a body", async () => {
    for (const bytes of [[0xed, 0xa0, 0xbd], [0xff], [0xc3], [0xc0, 0x80]]) {
      const [before, after] = JSON.stringify({ query: CREATE, variables: { v: "|" } }).split("|");
      const response = await fetch(`${api.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${ada.token}` },
        body: Buffer.concat([Buffer.from(before!), Buffer.from(bytes), Buffer.from(after!)]),
      });
      const { errors } = (await response.json()) as { errors: { extensions: { code: string } }[] };
      expect([response.status, errors[0]!.extensions.code]).toEqual([400, "BAD_REQUEST"]);
    }
  });

  test("bytes that are not UTF-8 are rejected as a WebSocket message", async () => {
    const socket = new WebSocket(`${api.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
    const code = await new Promise<number>((resolve) => {
      socket.onopen = () =>
        socket.send(
          Buffer.concat([
            Buffer.from('{"type":"ping","payload":{"a":"'),
            Buffer.from([0xed, 0xa0, 0xbd]),
            Buffer.from('"}}'),
          ]),
        );
      socket.onclose = (event) => resolve(event.code);
    });
    expect(code).toBe(4400);
  });

  test("half a character in a text is rejected over WebSocket", async () => {
    const socket = new WebSocket(`${api.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
    const answer = await new Promise<string>((resolve) => {
      socket.onopen = () =>
        socket.send(`{"type":"connection_init","payload":{"authorization":"Bearer ${ada.token}"}}`);
      socket.onmessage = ({ data }) => {
        if (String(data).includes("connection_ack"))
          socket.send(
            JSON.stringify({
              id: "1",
              type: "subscribe",
              payload: { query: CREATE, variables: { v: "\ud83d" } },
            }),
          );
        else if (/"(next|error)"/.test(String(data))) resolve(String(data));
      };
    });
    socket.close();
    expect(answer).toContain("BAD_USER_INPUT");
  });
});

test("a word without quotes is rejected as JSON, at any depth", async () => {
  for (const literal of ["WORD", "{ a: WORD }", "[WORD]", "{ a: [{ b: WORD }] }"]) {
    const { code, text } = await post(
      `mutation { setConversationMemory(input: { memory: ${literal} }) { __typename } }`,
      "{}",
    );
    expect([code, text.includes("WORD")]).toEqual(["GRAPHQL_VALIDATION_FAILED", true]);
  }
});

test("other values are not read as text", async () => {
  const id = JSON.stringify(ada.userId);
  for (const [type, field] of [
    ["UUID", "id"],
    ["Datetime", "createdAt"],
  ])
    for (const json of [`[${id}]`, "{}", "5", "true"])
      expect(
        (
          await post(
            `query ($v: ${type}) { chats(filter: { ${field}: { equalTo: $v } }) { totalCount } }`,
            `{ "v": ${json} }`,
          )
        ).code,
      ).toBe("BAD_USER_INPUT");
});
