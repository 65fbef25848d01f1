import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { get } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createClient } from "graphql-ws";
import { parse } from "yaml";
import { loadConfig } from "../../src/config/config.ts";
import { openDatabase } from "../../src/database/database.ts";
import type { PlinthServer } from "../../src/http/server.ts";
import { createDatabaseReader } from "../../src/observability/database-reading.ts";
import { createLabelLimit } from "../../src/observability/label-limit.ts";
import { createMetrics } from "../../src/observability/metrics.ts";
import { serveMetrics } from "../../src/observability/metrics-server.ts";
import { startAnswers } from "../../src/start/answers.ts";
import { serveApi } from "../../src/start/api.ts";
import { startJobs } from "../../src/start/jobs.ts";
import { databaseEnv } from "../cli/run-cli.ts";
import { ask, collectLog, MASTER_KEYS, SIGNING_KEYS, signUp, until } from "../support/api.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  withClient,
} from "../support/database.ts";
import { untilWaiting, whileLocked } from "../support/waiting.ts";

const TOKEN = "a-long-token-for-the-scraper";

let db: TestDatabase;
let server: PlinthServer;
const lines: Record<string, unknown>[] = [];
const closing: (() => Promise<unknown>)[] = [];
/** Where each process serves its metrics. */
let urls: { server: string; worker: string; answerer: string };
let token: string;

/** An API, a worker and an answerer as `plinth serve`, `plinth work` and `plinth answer` start them. */
beforeAll(async () => {
  db = await createTestDatabase();
  const config = loadConfig({
    ...databaseEnv(db),
    PLINTH_PORT: "0",
    PLINTH_METRICS: "127.0.0.1:0",
    PLINTH_JWT_KEYS: SIGNING_KEYS,
    PLINTH_MASTER_KEYS: MASTER_KEYS,
    PLINTH_SLOW_OPERATION_MS: "1",
    // No test is about these limits, which a busy machine may exceed.
    PLINTH_STATEMENT_TIMEOUT_MS: "300000",
    PLINTH_POOL_CONNECTION_TIMEOUT_MS: "300000",
  });
  const { observability } = loadConfig({ PLINTH_METRICS: "127.0.0.1:0", PLINTH_METRICS_TOKEN: TOKEN });
  const logger = collectLog(lines);
  const database = await openDatabase(config);
  server = await serveApi(config, database, logger);
  closing.push(() => server.close());
  const worker = await startJobs({ ...config, observability }, database, logger);
  closing.push(() => worker.close());
  const answerer = await startAnswers(config, database, logger);
  closing.push(() => answerer.close());
  const served = lines.filter(({ msg }) => msg === "serving metrics").map(({ url }) => url as string);
  urls = { server: served[0]!, worker: served[1]!, answerer: served[2]! };
  const api = { ask: (query: string, options = {}) => ask(server.url, query, options) };
  ({ token } = await signUp(api, "canary_of_metrics"));
});
afterAll(async () => {
  for (const close of closing.reverse()) await close();
  await db.drop();
});

async function askOnce(url: string, headers: Record<string, string>, method: string) {
  const response = await fetch(url, { headers, method });
  return { status: response.status, type: response.headers.get("content-type"), text: await response.text() };
}
/** Asks again if the connection ended, as Prometheus does: the port gives each a few seconds, for which a busy machine may stand still. */
async function scrape(url: string, headers: Record<string, string> = {}, method = "GET") {
  let answer: Awaited<ReturnType<typeof askOnce>> | undefined;
  await until(async () => {
    answer = await askOnce(url, headers, method).catch(() => undefined);
    return answer !== undefined && answer.status !== 408;
  });
  return answer!;
}
const scrapeServer = async () => (await scrape(urls.server)).text;
const scrapeWorker = async () => (await scrape(urls.worker, { authorization: `Bearer ${TOKEN}` })).text;

/** The value of a sample, by its name and labels as they are printed. */
const sampleOf = (text: string, sample: string): number | undefined => {
  const line = text.split("\n").find((each) => each.startsWith(`${sample} `));
  return line === undefined ? undefined : Number(line.slice(sample.length + 1));
};

describe("a server", () => {
  test("counts operations by type and outcome, and errors by code", async () => {
    const before = await scrapeServer();
    await ask(server.url, "{ currentUser { username } }", { token });
    await ask(server.url, "{ noSuchField }");
    await ask(server.url, 'mutation { login(input: { identifier: "x", password: "y" }) { accessToken } }');
    await fetch(`${server.url}/somewhere/else`);
    let after = "";
    const grown = (sample: string) => (sampleOf(after, sample) ?? 0) - (sampleOf(before, sample) ?? 0);
    const operations = (type: string, outcome: string) =>
      `plinth_graphql_operations_total{type="${type}",transport="http",outcome="${outcome}"}`;
    const expected = {
      [operations("query", "ok")]: 1,
      [operations("mutation", "error")]: 1,
      [operations("unknown", "error")]: 1,
      'plinth_errors_total{code="INVALID_CREDENTIALS"}': 1,
      'plinth_errors_total{code="GRAPHQL_VALIDATION_FAILED"}': 1,
      'plinth_errors_total{code="NOT_FOUND"}': 1,
      'plinth_http_requests_total{path="other",status="404"}': 1,
      'plinth_graphql_operation_duration_seconds_count{type="query"}': 1,
    };
    // A request is counted when its response has been sent, perhaps after the client has read it.
    await until(
      async () => {
        after = await scrapeServer();
        return Object.entries(expected).every(([sample, count]) => grown(sample) >= count);
      },
      { everyMs: 50 },
    );
    expect(Object.fromEntries(Object.keys(expected).map((sample) => [sample, grown(sample)]))).toEqual(
      expected,
    );
    expect(grown('plinth_http_requests_total{path="/graphql",status="200"}')).toBeGreaterThan(0);
    expect(grown('plinth_pool_wait_seconds_count{pool="api"}')).toBeGreaterThan(0);
  });

  test("counts open sockets and subscriptions until they close", async () => {
    const open = async () => {
      const text = await scrapeServer();
      return [sampleOf(text, "plinth_websockets_open"), sampleOf(text, "plinth_subscriptions_open")].join();
    };
    const url = `${server.url.replace("http", "ws")}/graphql`;
    const client = createClient({ url, connectionParams: { authorization: `Bearer ${token}` } });
    const counts = client.iterate({ query: "subscription { unreadCounts { __typename } }" });
    await counts.next();
    expect(await open()).toBe("1,1");
    expect(
      sampleOf(
        await scrapeServer(),
        'plinth_graphql_operations_total{type="subscription",transport="websocket",outcome="ok"}',
      ),
    ).toBe(1);
    await client.dispose();
    await until(async () => (await open()) === "0,0", { everyMs: 50 });
  });

  test("shows its pools, its listeners, its process and the database", async () => {
    let text = "";
    // A busy machine may lose a listener and need longer for a reading, and the partitions of the template may be of the last month.
    await until(
      async () => {
        await withClient(db.url("worker"), (client) => client.query("select private.ensure_partitions()"));
        text = await scrapeServer();
        const ones = [
          'plinth_listener_up{purpose="revocations"}',
          'plinth_listener_up{purpose="live"}',
          "plinth_database_up",
        ];
        return (
          ones.every((sample) => sampleOf(text, sample) === 1) &&
          sampleOf(text, 'plinth_partitions_ahead_months{table="security.login_attempts"}') === 3
        );
      },
      { everyMs: 100 },
    );
    expect(sampleOf(text, 'plinth_pool_connections_limit{pool="api"}')).toBe(20);
    expect(sampleOf(text, "plinth_database_size_bytes")).toBeGreaterThan(1_000_000);
    expect(sampleOf(text, "plinth_migrations_applied")).toBeGreaterThanOrEqual(24);
    expect(sampleOf(text, "process_resident_memory_bytes")).toBeGreaterThan(10_000_000);
    expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds \d/m);
  });

  test("shows no name, id, address, document or token of a request", async () => {
    await ask(server.url, "query CanaryOperation { currentUser { id username email } }", { token });
    await fetch(`${server.url}/canary-path?canary=1`, { method: "POST" });
    const text = await scrapeServer();
    expect(text).not.toMatch(/canary/i);
    expect(text).not.toContain("127.0.0.1");
    expect(text).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
  });
});

describe("a slow operation", () => {
  test("is logged with its document's hash, its costs and its trace, without variables", async () => {
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    await ask(server.url, "query SlowOne($name: String!) { userByUsername(username: $name) { id } }", {
      token,
      variables: { name: "canary_of_variables" },
      headers: { traceparent, "x-request-id": "slow-operation-1" },
    });
    const find = () => lines.find(({ operation }) => operation === "SlowOne");
    const findRequest = () =>
      lines.find(({ msg, correlationId }) => msg === "request" && correlationId === "slow-operation-1");
    await until(() => find() !== undefined && findRequest() !== undefined);
    const line = find()!;
    expect(line).toMatchObject({
      msg: "slow operation",
      correlationId: "slow-operation-1",
      traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
      document: expect.stringMatching(/^[0-9a-f]{64}$/),
      type: "query",
      statements: 1,
    });
    for (const name of ["durationMs", "poolWaitMs", "databaseMs", "rows", "bytes"])
      expect(line[name]).toEqual(expect.any(Number));
    expect(line.databaseMs as number).toBeGreaterThan(0);
    expect(findRequest()).toMatchObject({ traceId: line.traceId });
    expect(JSON.stringify(lines)).not.toContain("canary_of_variables");
  });
});

describe("a worker", () => {
  test("counts runs of jobs, and shows the last success and what waits", async () => {
    await withClient(db.url("owner"), (client) =>
      client.query("select plinth.enqueue_job('ensure-partitions')"),
    );
    const runs = 'plinth_job_runs_total{job="ensure-partitions",outcome="ok"}';
    // The timetable may start it as well.
    const completed = async () => {
      const { rows } = await withClient(db.url("owner"), (client) =>
        client.query<{ n: number }>(
          "select count(*)::integer as n from plinth_jobs.job where name = 'ensure-partitions' and state = 'completed'",
        ),
      );
      return rows[0]!.n;
    };
    await until(
      async () => {
        const counted = sampleOf(await scrapeWorker(), runs);
        return counted !== undefined && counted > 0 && counted === (await completed());
      },
      { everyMs: 100 },
    );
    const reader = createDatabaseReader({ url: db.url("worker"), intervalMs: 0, scrapeWaitMs: 300_000 });
    try {
      let { state } = await reader.read();
      while (!state) ({ state } = await reader.read());
      expect(Number(state.queues["ensure-partitions"]!.succeeded)).toBeGreaterThan(1_700_000_000);
      expect(Object.keys(state.queues)).toContain("deliver-mail");
      expect(Object.keys(state.queues).join()).not.toMatch(/__pgboss__|dead-letter/);
    } finally {
      await reader.close();
    }
  });
});

test("an answerer shows its answers, its listener and its pool", async () => {
  let text = "";
  await until(
    async () => {
      ({ text } = await scrape(urls.answerer));
      return sampleOf(text, 'plinth_listener_up{purpose="answers"}') === 1;
    },
    { everyMs: 100 },
  );
  expect(sampleOf(text, "plinth_answers_running")).toBe(0);
  expect(sampleOf(text, 'plinth_pool_connections_limit{pool="answerer"}')).toBe(4);
});

describe("access", () => {
  test("a metrics port without a token serves only callers that name this machine", async () => {
    const { port } = new URL(urls.server);
    const rebound = await new Promise<number>((resolve, reject) => {
      import("node:http").then(({ get }) =>
        get(
          { host: "127.0.0.1", port, path: "/metrics", headers: { host: "rebound.example.com" } },
          (answer) => {
            answer.resume();
            resolve(answer.statusCode!);
          },
        ).on("error", reject),
      );
    });
    expect(rebound).toBe(401);
    expect((await scrape(urls.server)).status).toBe(200);
    expect((await scrape(`http://localhost:${port}/metrics`)).status).toBe(200);
  });

  test("a metrics port with a token serves only callers that send it", async () => {
    const statuses = await Promise.all(
      ["", "Bearer wrong", TOKEN, `Bearer ${TOKEN}`].map(
        async (authorization) => (await scrape(urls.worker, { authorization })).status,
      ),
    );
    expect(statuses).toEqual([401, 401, 401, 200]);
  });

  test("a metrics port has one page and one method, and the API's port has none", async () => {
    const base = urls.server.replace("/metrics", "");
    expect((await scrape(`${base}/`)).status).toBe(404);
    expect((await scrape(urls.server, {}, "POST")).status).toBe(405);
    expect((await fetch(`${server.url}/metrics`)).status).toBe(404);
  });

  test("connections that send no request do not keep scrapes out", async () => {
    const { port } = new URL(urls.server);
    const idle: Socket[] = [];
    async function crowd(): Promise<void> {
      const sockets = Array.from({ length: 100 }, () =>
        connect(Number(port), "127.0.0.1").on("error", () => {}),
      );
      idle.push(...sockets);
      await Promise.all(sockets.map((socket) => once(socket, "connect")));
      for (const socket of sockets.slice(50)) socket.write("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ");
    }
    const scrapeAnew = () =>
      new Promise<number | undefined>((resolve) =>
        get(urls.server, { agent: false }, (answer) => resolve(answer.resume().statusCode)).on("error", () =>
          resolve(undefined),
        ),
      );
    // They are closed after two seconds, for which a busy machine may stand still.
    do await crowd();
    while ((await scrapeAnew()) !== undefined);
    await until(async () => (await scrapeAnew()) === 200, { everyMs: 100 });
    for (const socket of idle) socket.destroy();
  });

  test("a port in use is an error that names the setting", async () => {
    const settings = { host: "127.0.0.1", port: Number(new URL(urls.server).port), token: undefined };
    const metrics = createMetrics();
    await expect(serveMetrics({ settings, metrics, logger: collectLog([]) })).rejects.toMatchObject({
      code: "ADDRESS_IN_USE",
      hint: expect.stringContaining("PLINTH_METRICS"),
    });
  });

  test.each([
    [{ PLINTH_METRICS: "9464" }, { host: "127.0.0.1", port: 9464, token: undefined }],
    [{ PLINTH_METRICS: "[::1]:9464" }, { host: "::1", port: 9464, token: undefined }],
    [
      { PLINTH_METRICS: "0.0.0.0:9464", PLINTH_METRICS_TOKEN: TOKEN },
      { host: "0.0.0.0", port: 9464, token: TOKEN },
    ],
    [{}, undefined],
    [{ PLINTH_METRICS: "off" }, undefined],
  ])("the setting %j means %j", (env, expected) => {
    expect(loadConfig(env).observability.metrics).toEqual(expected);
  });

  test.each([
    [{ PLINTH_METRICS: "0.0.0.0:9464" }, /PLINTH_METRICS_TOKEN is set/],
    [{ PLINTH_METRICS: "99999" }, /PLINTH_METRICS is "99999"/],
    [{ PLINTH_METRICS: "9464", PLINTH_METRICS_TOKEN: "short" }, /at least 16 letters/],
  ])("the setting %j is rejected", (env, message) => {
    expect(() => loadConfig(env)).toThrow(message);
    expect(() => loadConfig(env)).not.toThrow(/short/);
  });
});

describe("the database's own numbers", () => {
  test("rows in a default partition count, and no longer once they have been moved", async () => {
    // In one transaction, because the worker may move them at any time.
    await inRolledBackTransaction(db, async (tx) => {
      const rows = async () => {
        await tx.asService();
        return tx.rows("select (private.operational_state() ->> 'default_partition_rows')::integer as n");
      };
      await tx.rows(
        "insert into security.login_attempts (status, created_at) values ('failed', now() + interval '5 months')",
      );
      expect(await rows()).toEqual([{ n: 1 }]);
      await tx.asWorker();
      await tx.rows("select private.ensure_partitions(6)");
      expect(await rows()).toEqual([{ n: 0 }]);
    });
  });

  test("scrapes of the same time share one reading", async () => {
    const reader = createDatabaseReader({
      url: db.url("service"),
      intervalMs: 600_000,
      scrapeWaitMs: 300_000,
    });
    try {
      const readings = await Promise.all(Array.from({ length: 20 }, () => reader.read()));
      expect(new Set(readings.map(({ state }) => state)).size).toBe(1);
      expect((await reader.read()).state).toBe(readings[0]!.state);
    } finally {
      await reader.close();
    }
  });

  test("a database that hangs leaves the last reading with its age, and is down until it answers", async () => {
    const reader = createDatabaseReader({ url: db.url("service"), intervalMs: 0, scrapeWaitMs: 200 });
    try {
      let first = await reader.read();
      // A busy machine may need longer for it.
      while (!first.isUp) first = await reader.read();
      expect(first.ageSeconds).toEqual(expect.any(Number));
      await whileLocked(db, [["lock table private.mail_outbox in access exclusive mode"]], async () => {
        const late = await reader.read();
        // A reading gives up after seconds, before a busy machine has seen that it waits.
        let hasWaited = false;
        const seen = untilWaiting(db).then(() => (hasWaited = true));
        while (!hasWaited) await reader.read();
        await seen;
        expect(late).toMatchObject({ isUp: false, state: first.state });
        expect(late.ageSeconds!).toBeGreaterThan(0.1);
      });
      await until(async () => (await reader.read()).isUp, { everyMs: 50 });
    } finally {
      await reader.close();
    }
  });

  test("a server that accepts connections and never answers does not hold up a scrape", async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket)).listen(0, "127.0.0.1");
    await new Promise((resolve) => silent.once("listening", resolve));
    const { port } = silent.address() as { port: number };
    const reader = createDatabaseReader({ url: `postgres://a:b@127.0.0.1:${port}/c`, scrapeWaitMs: 50 });
    try {
      expect(await reader.read()).toEqual({ state: undefined, ageSeconds: undefined, isUp: false });
    } finally {
      silent.close();
      // Or closing would wait for the end of the attempt to connect.
      for (const socket of sockets) socket.destroy();
      await reader.close();
    }
  });

  test.each(["authenticator", "analyst"] as const)("the role %s may not read them", async (role) => {
    await withClient(db.url(role), async (client) => {
      await expect(client.query("select private.operational_state()")).rejects.toMatchObject({
        code: "42501",
      });
    });
  });
});

test("a label has a bounded number of values", () => {
  const codeOf = createLabelLimit(2);
  expect(["A", "B", "C", "A", undefined, "x".repeat(65)].map(codeOf)).toEqual([
    "A",
    "B",
    "OTHER",
    "A",
    "OTHER",
    "OTHER",
  ]);
});

describe("the output", () => {
  const root = new URL("../../", import.meta.url);
  const read = (path: string) => readFileSync(new URL(path, root), "utf8");
  const OURS = /\b(?:plinth|process|nodejs)_[a-z0-9_]+/g;
  /** Names of metrics, without the endings that a histogram's samples have. */
  const namesIn = (text: string) =>
    new Set([...text.matchAll(OURS)].map(([name]) => name.replace(/_(bucket|sum|count)$/, "")));
  let described: Map<string, string>;

  beforeAll(async () => {
    const text = (await scrapeServer()) + (await scrapeWorker()) + (await scrape(urls.answerer)).text;
    const disk = createMetrics();
    const { addDiskMetrics } = await import("../../src/observability/disk-metrics.ts");
    addDiskMetrics(disk, ".");
    const all = text + (await disk.text()).body;
    described = new Map([...all.matchAll(/^# HELP (\S+) (.+)$/gm)].map(([, name, help]) => [name!, help!]));
  });

  test("has help and a type for each metric, in Prometheus's format and in OpenMetrics", async () => {
    const plain = await scrape(urls.server);
    expect(plain.type).toBe("text/plain; version=0.0.4; charset=utf-8");
    const types = [...plain.text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name!);
    expect(types.length).toBeGreaterThan(60);
    for (const name of types) expect(described.get(name)).toMatch(/\S{2}/);
    const open = await scrape(urls.server, { accept: "application/openmetrics-text; version=1.0.0" });
    expect(open.type).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
    expect(open.text.endsWith("# EOF\n")).toBe(true);
    expect(open.text).not.toContain("\n\n");
    expect(open.text).toContain("# TYPE plinth_errors counter\nplinth_errors_total{");
    const after = await scrape(urls.server);
    expect(after.text).toContain("# TYPE plinth_errors_total counter\nplinth_errors_total{");
  });

  test("has each metric of the alert rules, which parse and say what to do", () => {
    const { groups } = parse(read("deploy/prometheus/alerts.yml")) as {
      groups: { rules: Record<string, unknown>[] }[];
    };
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.length).toBeGreaterThan(20);
    for (const { alert, expr, labels, annotations } of rules) {
      expect(alert).toMatch(/^Plinth[A-Z]/);
      expect(labels).toEqual({ severity: expect.stringMatching(/^(page|ticket)$/) });
      expect(annotations).toEqual({ summary: expect.any(String), action: expect.any(String) });
      const named = [...namesIn(expr as string)];
      expect(named.length).toBeGreaterThan(0);
      expect([alert, named.filter((name) => !described.has(name))]).toEqual([alert, []]);
    }
  });

  /** Prometheus's own program, where its package is installed. */
  const promtool = (args: string[], input = "") => spawnSync("promtool", args, { input, encoding: "utf8" });
  const withPromtool = promtool(["--version"]).error ? test.skip : test;

  withPromtool("passes Prometheus's own checks of rules and metrics (skipped without promtool)", async () => {
    const rules = fileURLToPath(new URL("deploy/prometheus/alerts.yml", root));
    const checks = [
      promtool(["check", "rules", rules]),
      promtool(["check", "metrics"], await scrapeServer()),
      promtool(["check", "metrics"], await scrapeWorker()),
    ];
    // node's own metrics have names that the linter advises against.
    const complaints = checks.flatMap(({ stderr }) =>
      stderr.split("\n").filter((line) => line !== "" && !line.startsWith("nodejs_")),
    );
    expect(complaints).toEqual([]);
  });

  test("has each metric of the dashboard", () => {
    const { panels } = JSON.parse(read("deploy/grafana/plinth.json")) as {
      panels: { title: string; targets?: { expr: string }[] }[];
    };
    const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    expect(expressions.length).toBeGreaterThan(30);
    for (const expression of expressions)
      expect([expression, [...namesIn(expression)].filter((name) => !described.has(name))]).toEqual([
        expression,
        [],
      ]);
  });

  test("is listed in docs/monitoring.md with the same words", () => {
    const rows = [...read("docs/monitoring.md").matchAll(/^\| `(plinth_[a-z_]+)` \| (.+) \|$/gm)];
    const documented = rows.map(([, name, help]) => [name, help]);
    const own = [...described].filter(([name]) => name.startsWith("plinth_"));
    expect(documented.sort()).toEqual(own.sort());
  });
});
