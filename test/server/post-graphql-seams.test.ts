import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "@jest/globals";
import { createAllowedOrigins } from "../../src/http/allowed-origins.ts";
import { createErrorDescription, HttpError } from "../../src/http/http-error.ts";
import { createPostGraphql, type PostGraphqlParts } from "../../src/http/post-graphql/handler.ts";
import { createRequestLog } from "../../src/http/steps/log.ts";
import { collectLog, send } from "../support/api.ts";

const logger = collectLog([]);
let server: Server | undefined;
/** Documents that reached the parser; it rejects all of them. */
const parsed: string[] = [];

afterEach(() => {
  server?.close();
  server?.closeAllConnections();
  parsed.length = 0;
});

/** Starts a handler without a database, whose caller is a visitor within the limit. */
async function start(parts: Pick<PostGraphqlParts, "compiled" | "resolveBody">): Promise<string> {
  const parseAndValidate = (query: string) => {
    parsed.push(query);
    return { errors: [{ message: "not found", extensions: { code: "GRAPHQL_PARSE_FAILED" } }] };
  };
  const handler = await createPostGraphql({
    ...parts,
    config: { bodyLimitBytes: 1_000 },
    logger,
    logRequest: createRequestLog(logger),
    describeError: createErrorDescription(logger, () => {}),
    addressOf: ({ socket }) => socket.remoteAddress,
    origins: createAllowedOrigins({ listed: [], allowLoopback: false, logger }),
    authenticator: { authenticate: async () => null, isStillValid: async () => true },
    rateLimit: {
      count: async () => ({ isOverLimit: false, headers: {} }),
      settle: async () => {},
    } as unknown as PostGraphqlParts["rateLimit"],
    serv: {
      getExecutionConfig: async () => ({ parseAndValidate }),
      dynamicOptions: { maskPayload: (payload: unknown) => payload },
    } as unknown as PostGraphqlParts["serv"],
  });
  server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("executes the body that resolveBody returns", async () => {
  const url = await start({ resolveBody: async ({ documentId }) => ({ query: `{ ${documentId} }` }) });
  const { status, code } = await send(url, { body: '{"documentId":"stored"}' });
  expect([status, code, parsed]).toEqual([200, "GRAPHQL_PARSE_FAILED", ["{ stored }"]]);
});

test("returns the error that resolveBody throws", async () => {
  const url = await start({
    resolveBody() {
      throw new HttpError(400, "DOCUMENT_NOT_FOUND", "Unknown document.");
    },
  });
  const { status, code } = await send(url, { body: '{"documentId":"unknown"}' });
  expect([status, code, parsed]).toEqual([400, "DOCUMENT_NOT_FOUND", []]);
});

test("passes only JSON objects to resolveBody", async () => {
  const url = await start({ resolveBody: () => ({ query: "{ never }" }) });
  await send(url, { body: "[]" });
  await send(url, { body: "{}", headers: { "content-type": "text/plain" } });
  expect(parsed).toEqual([]);
});

test("sends a compiled response unchanged and executes nothing else", async () => {
  const operation = { query: "{ known }", variables: { a: 1 }, operationName: "known" };
  const asked: unknown[] = [];
  const url = await start({
    compiled: {
      answer({ query, variables, operationName }, { clientIp }) {
        asked.push({ query, variables, operationName }, clientIp);
        return Promise.resolve('{"data":{"known":"yes \u00fc"}}');
      },
    },
  });
  const { status, text, headers } = await send(url, {
    body: JSON.stringify(operation),
    headers: { accept: "application/graphql-response+json" },
  });
  expect([status, text, parsed]).toEqual([200, '{"data":{"known":"yes \u00fc"}}', []]);
  expect(headers.get("content-type")).toBe("application/graphql-response+json;charset=utf-8");
  expect(asked).toEqual([operation, "127.0.0.1"]);
});

test("executes operations that are not compiled", async () => {
  const url = await start({ compiled: { answer: () => undefined } });
  await send(url, { body: '{"query":"{ other }"}' });
  expect(parsed).toEqual(["{ other }"]);
});

test("reports a compiled operation that fails as an internal error", async () => {
  const url = await start({ compiled: { answer: () => Promise.reject(new Error("broken")) } });
  const { status, code, text } = await send(url);
  expect([status, code]).toEqual([500, "INTERNAL"]);
  expect(text).not.toContain("broken");
});
