import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { context, propagation, trace } from "@opentelemetry/api";
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-node";
import { createGuardedFetch } from "../../src/answerer/guarded-fetch.ts";
import { loadConfig } from "../../src/config/config.ts";
import { startWorker } from "../../src/jobs/index.ts";
import {
  findTracer,
  inSpan,
  runInSpan,
  startRequestSpan,
  startSpan,
  traceHeaders,
} from "../../src/observability/tracing.ts";
import { createPool } from "../../src/request/pool.ts";
import { runInTransaction } from "../../src/request/transaction.ts";
import { type Api, codeOf, collectLog, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = "00f067aa0ba902b7";

const exporter = new InMemorySpanExporter();
let db: TestDatabase;
let api: Api;
let token: string;

beforeAll(async () => {
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
  db = await createTestDatabase();
  api = await startApi(db);
  ({ token } = await signUp(api, "canary_of_traces"));
});
afterEach(() => exporter.reset());
afterAll(async () => {
  await api.close();
  await db.drop();
  trace.disable();
  context.disable();
  propagation.disable();
  findTracer();
});

/** The spans of one trace, once its request has ended. */
async function spansOf(traceId: string, root = "POST"): Promise<ReadableSpan[]> {
  const of = () => exporter.getFinishedSpans().filter((span) => span.spanContext().traceId === traceId);
  await until(() => of().some(({ name }) => name === root));
  return of();
}

const parentOf = (spans: readonly ReadableSpan[], span: ReadableSpan) =>
  spans.find((each) => each.spanContext().spanId === span.parentSpanContext?.spanId)?.name;

describe("with an SDK", () => {
  test("a request continues its caller's trace, down to the statement", async () => {
    await api.ask("query Traced($name: String!) { userByUsername(username: $name) { id } }", {
      token,
      variables: { name: "canary_of_traces" },
      headers: { traceparent: `00-${TRACE}-${PARENT}-01`, "x-request-id": "traced-request" },
    });
    const spans = await spansOf(TRACE);
    const byName = (name: string) => spans.filter((span) => span.name === name);
    const [request] = byName("POST");
    expect(request!.parentSpanContext?.spanId).toBe(PARENT);
    expect(request!.attributes).toMatchObject({ "url.path": "/graphql", "http.response.status_code": 200 });
    const [operation] = byName("graphql operation");
    expect(parentOf(spans, operation!)).toBe("POST");
    expect(operation!.attributes).toEqual({
      "graphql.document.hash": expect.stringMatching(/^[0-9a-f]{64}$/),
      "graphql.operation.name": "Traced",
    });
    for (const name of ["pool wait", "statement"])
      expect(byName(name).map((span) => parentOf(spans, span))).toContain("graphql operation");
    const statement = byName("statement").find((span) => parentOf(spans, span) === "graphql operation");
    expect(statement!.attributes).toMatchObject({
      "db.system.name": "postgresql",
      "plinth.statement": expect.any(String),
    });
    const findLine = () => api.logLines.find(({ correlationId }) => correlationId === "traced-request");
    await until(() => findLine() !== undefined);
    expect(findLine()).toMatchObject({ msg: "request", traceId: TRACE });
    // Neither values nor texts of documents or statements.
    expect(JSON.stringify(spans.map(({ attributes, events }) => [attributes, events]))).not.toMatch(
      /canary|select|\$1|userByUsername/i,
    );
  });

  test("a token or a text in place of a path or a name is in no span", async () => {
    const headers = { traceparent: `00-${TRACE}-${PARENT}-01` };
    await fetch(`${api.url}/data-exports/pls_${"x".repeat(40)}`, { headers });
    await fetch(`${api.url}/graphql`, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify({ query: "{ __typename }", operationName: "my password is canary" }),
    });
    const spans = [...(await spansOf(TRACE, "GET")), ...(await spansOf(TRACE))];
    expect(spans.map(({ attributes }) => attributes["url.path"])).toContain("/data-exports/[token]");
    expect(JSON.stringify(spans.map(({ attributes }) => attributes))).not.toMatch(/pls_|canary/);
  });

  test.each([
    ["of zeros", `00-${"0".repeat(32)}-${PARENT}-01`],
    ["of another length", `00-${TRACE.slice(2)}-${PARENT}-01`],
    ["of an invalid version", `ff-${TRACE}-${PARENT}-01`],
    ["that is no traceparent", "canary"],
  ])("a traceparent %s is ignored: the request begins a trace", async (_what, traceparent) => {
    await api.ask("{ __typename }", {
      headers: { traceparent, "x-request-id": `ignored ${_what}`.replaceAll(" ", "-") },
    });
    await until(() => exporter.getFinishedSpans().some(({ name }) => name === "POST"));
    const request = exporter.getFinishedSpans().find(({ name }) => name === "POST")!;
    expect(request.parentSpanContext).toBeUndefined();
    expect(request.spanContext().traceId).toMatch(/^(?!4bf92f)[0-9a-f]{32}$/);
  });

  test("a failed statement is marked with its code, without its message", async () => {
    const answer = await api.ask(
      'mutation { createChat(input: { chat: { title: "canary" } }) { clientMutationId } }',
      { headers: { traceparent: `00-${TRACE}-${PARENT}-01` } },
    );
    expect(codeOf(answer)).toBe("UNAUTHENTICATED");
    const spans = await spansOf(TRACE);
    const failed = spans.filter(({ attributes }) => attributes["error.type"] !== undefined);
    expect(failed.map(({ attributes }) => attributes["error.type"])).toContain("42501");
    expect(
      JSON.stringify(failed.map(({ attributes, status, events }) => [attributes, status, events])),
    ).not.toMatch(/permission|canary/);
  });

  test("work outside requests, such as reading rate limits, makes no traces", async () => {
    await api.ask("{ __typename }");
    // Without what a request of an earlier test still did after its answer.
    const finished = () => exporter.getFinishedSpans().filter((span) => span.spanContext().traceId !== TRACE);
    await until(() => finished().some(({ name }) => name === "POST"));
    const ids = new Set(finished().map((span) => span.spanContext().traceId));
    const roots = finished().filter((span) => !span.parentSpanContext);
    expect(roots.map(({ name }) => name)).toEqual(["POST"]);
    expect(ids.size).toBe(1);
  });

  test("a transaction is the parent of its statements", async () => {
    const { pool: settings } = loadConfig({
      PLINTH_STATEMENT_TIMEOUT_MS: "300000",
      PLINTH_POOL_CONNECTION_TIMEOUT_MS: "300000",
    });
    const pool = createPool({
      url: db.url("service"),
      applicationName: "plinth-test",
      max: 1,
      settings,
      onError: () => {},
    });
    try {
      const traceId = await inSpan("root", {}, async (span) => {
        await runInTransaction(pool, {}, ({ query }) => query({ text: "select 'canary'", name: "one" }));
        return span!.spanContext().traceId;
      });
      const spans = await spansOf(traceId, "root");
      const tree = spans.map((span) => [span.name, parentOf(spans, span)]);
      expect(tree).toEqual([
        ["pool wait", "transaction"],
        ["statement", "transaction"],
        ["transaction", "root"],
        ["root", undefined],
      ]);
    } finally {
      await pool.end();
    }
  });

  test("a job has a trace with its statements", async () => {
    const logger = collectLog([]);
    const worker = await startWorker({ workerUrl: db.url("worker"), logger, pollingIntervalSeconds: 0.5 });
    try {
      await withClient(db.url("owner"), (client) =>
        client.query("select plinth.enqueue_job('delete-old-heartbeats')"),
      );
      const find = () => exporter.getFinishedSpans().find(({ name }) => name === "job delete-old-heartbeats");
      await until(() => find() !== undefined);
      const spans = await spansOf(find()!.spanContext().traceId, "job delete-old-heartbeats");
      expect(spans.filter(({ name }) => name === "statement").map((span) => parentOf(spans, span))).toEqual([
        "job delete-old-heartbeats",
      ]);
    } finally {
      await worker.close();
    }
  });

  test("a call of a model carries the trace on", async () => {
    const received: unknown[] = [];
    const model = createServer((request, response) => {
      received.push(request.headers.traceparent, request.headers.authorization);
      response.end();
    }).listen(0, "127.0.0.1");
    const { port } = await new Promise<AddressInfo>((resolve) =>
      model.once("listening", () => resolve(model.address() as AddressInfo)),
    );
    const url = `http://127.0.0.1:${port}`;
    const guarded = createGuardedFetch({
      rules: { privateNetworks: [], trustedUrls: [url] },
      timeouts: { connectMs: 300_000, idleMs: 300_000 },
    });
    try {
      const traceId = await inSpan("answer", {}, async (span) => {
        await guarded.fetch(`${url}/chat`, { headers: { authorization: "Bearer key" } });
        return span!.spanContext().traceId;
      });
      expect(received).toEqual([expect.stringMatching(`^00-${traceId}-[0-9a-f]{16}-01$`), "Bearer key"]);
    } finally {
      await guarded.close();
      model.close();
    }
  });
});

test("baggage of a client is passed on to no other service", () => {
  new NodeTracerProvider().register();
  findTracer();
  const headers = { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: "a=b", baggage: "user=canary" };
  expect(runInSpan(startRequestSpan(headers, "POST", "/graphql"), traceHeaders)).toEqual({
    traceparent: expect.stringContaining(TRACE),
    tracestate: "a=b",
  });
});

test("without an SDK, spans are undefined and no headers are added", async () => {
  trace.disable();
  findTracer();
  expect(startRequestSpan({ traceparent: `00-${TRACE}-${PARENT}-01` }, "POST", "/graphql")).toBeUndefined();
  expect(startSpan("statement")).toBeUndefined();
  expect(await inSpan("job", {}, async (span) => [span, traceHeaders()])).toEqual([undefined, {}]);
});
