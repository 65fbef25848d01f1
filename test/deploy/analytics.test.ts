import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { readPage } from "../analytics/page/answer.ts";
import { createDemoDatabase } from "../analytics/page/demo.ts";
import { type TestDatabase, withClient } from "../support/database.ts";

// The files of deploy/analytics/, as docs/analytics.md runs them: their connections are the analyst's, and their queries run as the
// analyst and find rows.

const FOLDER = join(PACKAGE_ROOT, "deploy/analytics");
const read = (path: string) => readFileSync(join(FOLDER, path), "utf8");

// biome-ignore lint/suspicious/noExplicitAny: files of other programs.
type Any = any;

let db: TestDatabase;
beforeAll(async () => {
  db = await createDemoDatabase();
});
afterAll(() => db.drop());

/** Connects with these parts of a URL, and returns the number of views that the role finds without a schema. */
const viewsSeen = (url: string | URL) =>
  withClient(String(url), async (client) => {
    const { rows } = await client.query<{ seen: number }>(
      "select count(*)::integer as seen from pg_class where relnamespace = 'analytics'::regnamespace and pg_table_is_visible(oid) and relkind in ('v', 'm')",
    );
    return rows[0]!.seen;
  });

async function rowsOf(queries: readonly string[]): Promise<number[]> {
  const counts: number[] = [];
  await withClient(db.url("analyst"), async (client) => {
    for (const sql of queries) counts.push((await client.query(sql)).rows.length);
  });
  return counts;
}

/** Runs a program to its end. */
async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv) {
  const child = spawn(command, args, { env: { PATH: process.env.PATH, ...env } });
  const [stdout, stderr, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  return { status, stdout, stderr };
}

describe("Grafana", () => {
  const dashboard: Any = JSON.parse(read("grafana/plinth-analytics.json"));
  const targets: Any[] = dashboard.panels.flatMap((panel: Any) => panel.targets);

  test("connects as the analyst by the variables of psql, without a password in the file", async () => {
    const { username, password, hostname, port, pathname } = new URL(db.url("analyst"));
    const variables: Record<string, string> = {
      PGHOST: hostname,
      PGPORT: port,
      PGDATABASE: pathname.slice(1),
      PGUSER: username,
      PGPASSWORD: password,
      PGSSLMODE: "disable",
    };
    const filled = read("grafana/datasource.yaml").replaceAll(/\$\{(\w+)\}/g, (_, name) => variables[name]!);
    const [source] = parse(filled).datasources;
    expect(source).toMatchObject({ type: "grafana-postgresql-datasource", uid: "plinth-analytics" });
    expect(source.jsonData.sslmode).toBe("disable");
    const url = `postgres://${source.user}:${source.secureJsonData.password}@${source.url}/${source.jsonData.database}`;
    expect(await viewsSeen(url)).toBeGreaterThan(40);
  });

  test("loads a dashboard whose panels use that source and do not overlap", () => {
    const [provider] = parse(read("grafana/dashboards.yaml")).providers;
    expect(provider).toMatchObject({ type: "file", options: { path: expect.stringMatching(/^\//) } });
    const [{ uid, type }] = parse(read("grafana/datasource.yaml")).datasources;
    for (const { datasource } of [...dashboard.panels, ...targets]) expect(datasource).toEqual({ uid, type });
    const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }: Any) =>
      Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
  });

  test("runs the query of each panel, which finds rows", async () => {
    // As Grafana expands its macro.
    const queries = targets.map(({ rawSql }) =>
      rawSql.replaceAll(
        /\$__timeFilter\((\w+)\)/g,
        "$1 BETWEEN '2025-03-01T00:00:00Z' AND '2025-06-30T12:00:00Z'",
      ),
    );
    expect(queries.join()).not.toContain("$__");
    expect(queries.length).toBeGreaterThan(10);
    expect(await rowsOf(queries)).not.toContain(0);
  });

  test("has a column named time in each plot", async () => {
    for (const { type, targets } of dashboard.panels)
      if (type === "timeseries") expect(targets[0].rawSql).toMatch(/^select \w+::timestamp as time, /);
  });
});

test("Superset gets an SQLAlchemy URI that connects as the analyst", async () => {
  const [, uri] = /superset set-database-uri .* --uri ("[^"]+")/.exec(readPage())!;
  const { stdout } = await run("sh", ["-c", `printf %s ${uri}`], { PLINTH_ANALYST_URL: db.url("analyst") });
  expect(stdout).toMatch(/^postgresql\+psycopg2:\/\//);
  expect(await viewsSeen(stdout.replace("+psycopg2", ""))).toBeGreaterThan(40);
});

describe("Metabase", () => {
  const received: { url: string | undefined; key: unknown; body: Any }[] = [];
  let status = 200;
  const metabase = createServer(async (request, response) => {
    const { url, headers } = request;
    received.push({ url, key: headers["x-api-key"], body: JSON.parse(await text(request)) });
    response.writeHead(status).end(status === 200 ? '{"id":7}' : "FATAL: the database is starting up");
  });
  beforeAll(async () => {
    await once(metabase.listen(0, "127.0.0.1"), "listening");
  });
  afterAll(() => void metabase.close());

  const add = (url: string) =>
    run(process.execPath, [join(FOLDER, "metabase.mjs")], {
      METABASE_URL: `http://127.0.0.1:${(metabase.address() as AddressInfo).port}`,
      METABASE_API_KEY: "mb_key",
      PLINTH_ANALYST_URL: url,
    });

  test("gets a connection as the analyst that shows the views only", async () => {
    expect(await add(db.url("analyst"))).toMatchObject({
      status: 0,
      stdout: "Added the database 7 to Metabase.\n",
    });
    const [{ url, key, body }] = received as [(typeof received)[0]];
    expect({ url, key }).toEqual({ url: "/api/database", key: "mb_key" });
    const { host, port, dbname, user, password, ...others } = body.details;
    expect(body.engine).toBe("postgres");
    expect(others).toEqual({
      ssl: false,
      "schema-filters-type": "inclusion",
      "schema-filters-patterns": "analytics",
    });
    const own = new URL(`postgres://${host}:${port}/${dbname}`);
    Object.assign(own, { username: user, password });
    expect(await viewsSeen(own)).toBeGreaterThan(40);
  });

  test("keeps TLS and unusual characters of the URL, and reports the reason of a failure", async () => {
    status = 400;
    const failed = await add("postgres://an%40alyst:p%23w@db.example.com/my%20db?sslmode=verify-full");
    expect(failed).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("the database is starting up"),
    });
    expect(received.at(-1)!.body.details).toMatchObject({
      host: "db.example.com",
      port: 5432,
      dbname: "my db",
      user: "an@alyst",
      password: "p#w",
      ssl: true,
      "ssl-mode": "verify-full",
    });
    const several = await add("postgres://a:b@one:5432,two:5432/plinth");
    expect(several).toMatchObject({ status: 1, stderr: expect.stringContaining("one server") });
  });
});

describe("the notebook", () => {
  const notebook: Any = JSON.parse(read("notebook.ipynb"));
  const code: string[] = notebook.cells
    .filter((cell: Any) => cell.cell_type === "code")
    .map((cell: Any) => cell.source.join(""));

  test("has no outputs, and reads its URL from the environment", () => {
    expect(notebook).toMatchObject({ nbformat: 4, nbformat_minor: 5 });
    for (const cell of notebook.cells) if (cell.cell_type === "code") expect(cell.outputs).toEqual([]);
    expect(code.join("\n")).toContain('os.environ["PLINTH_ANALYST_URL"]');
    expect(JSON.stringify(notebook)).not.toMatch(/postgres(ql)?:\/\//);
  });

  test("asks queries that find rows", async () => {
    const queries = [...code.join("\n").matchAll(/ask\("""(.*?)"""\)/gs)].map(([, sql]) => sql!);
    expect(queries.length).toBe(3);
    expect(await rowsOf(queries)).not.toContain(0);
  });
});
