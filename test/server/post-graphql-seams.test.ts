import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "@jest/globals";
import { GraphQLError } from "graphql";
import type { CompiledDocuments } from "../../src/graphql/compiled-documents.ts";
import { createAllowedOrigins } from "../../src/http/allowed-origins.ts";
import { createErrorDescription } from "../../src/http/error-responses.ts";
import type { FindDocument } from "../../src/http/find-document.ts";
import { HttpError } from "../../src/http/http-error.ts";
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
async function start({
  compiled,
  findDocument = (body) => body,
}: Partial<Pick<PostGraphqlParts, "compiled" | "findDocument">>): Promise<string> {
  const parseAndValidate = (query: string) => {
    parsed.push(query);
    return { errors: [new GraphQLError("not found", { extensions: { code: "GRAPHQL_PARSE_FAILED" } })] };
  };
  const handler = createPostGraphql({
    compiled,
    findDocument,
    config: { bodyLimitBytes: 1_000 },
    logger,
    logRequest: createRequestLog(logger, () => {}),
    describeError: createErrorDescription(logger, () => {}),
    countError: () => {},
    addressOf: ({ socket }) => socket.remoteAddress,
    origins: createAllowedOrigins({ listed: [], allowLoopback: false, logger }),
    authenticator: { authenticate: async () => null, isStillValid: async () => true },
    rateLimit: {
      count: async () => ({ isOverLimit: false, headers: {} }),
      settle: async () => {},
    } as unknown as PostGraphqlParts["rateLimit"],
    engine: { parseAndValidate } as unknown as PostGraphqlParts["engine"],
  });
  server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Finds any id's document: the id as a field. */
const findDocument: FindDocument = (body) => {
  const { documentId } = body as { documentId?: string };
  return documentId === undefined ? body : { ...body, query: `{ ${documentId} }` };
};

test("executes the document that the body names", async () => {
  const url = await start({ findDocument });
  const { status, code } = await send(url, { body: '{"documentId":"stored"}' });
  expect([status, code, parsed]).toEqual([200, "GRAPHQL_PARSE_FAILED", ["{ stored }"]]);
});

test("returns the error for a document that is not found", async () => {
  const url = await start({
    findDocument() {
      throw new HttpError(400, "DOCUMENT_NOT_FOUND", "Unknown document.");
    },
  });
  const { status, code } = await send(url, { body: '{"documentId":"unknown"}' });
  expect([status, code, parsed]).toEqual([400, "DOCUMENT_NOT_FOUND", []]);
});

test("a document that a client names is known, one that it sends is not", async () => {
  const named: boolean[] = [];
  const answer: CompiledDocuments["answer"] = (_operation, _context, isNamed = false) => {
    named.push(isNamed);
    return undefined;
  };
  const url = await start({ findDocument, compiled: { answer } });
  await send(url, { body: '{"documentId":"stored"}' });
  await send(url, { body: '{"query":"{ sent }"}' });
  expect(named).toEqual([true, false]);
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
