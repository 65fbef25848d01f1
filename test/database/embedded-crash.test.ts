import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { embeddedUrl } from "../../src/database/embedded/url.ts";
import { readSecrets } from "../../src/database/secrets.ts";
import { withClient } from "../support/database.ts";

/** These servers run with fsync, as a production server does. */
const PROGRAM = fileURLToPath(new URL("../support/plinth-process.ts", import.meta.url));

let folder: string;
const running = new Set<ChildProcess>();

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "plinth-crash-"));
});

afterEach(async () => {
  for (const child of running) await stop(child, "SIGTERM");
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Plinth {
  child: ChildProcess;
  /** Resolves with the first printed line that starts with this text. */
  line(start: string): Promise<string>;
}

function start(dataDirectory: string): Plinth {
  const child = spawn(process.execPath, [PROGRAM, dataDirectory], { stdio: ["ignore", "pipe", "inherit"] });
  running.add(child);
  let output = "";
  child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
    child.emit("printed");
  });
  return {
    child,
    line: (wanted) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const line = output.split("\n").find((candidate) => candidate.startsWith(wanted));
          if (line !== undefined) resolve(line);
        };
        child.on("printed", look);
        child.once("exit", () => reject(new Error(`ended without printing ${wanted}`)));
        look();
      }),
  };
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  running.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await exit;
}

function postmasterPid(dataDirectory: string): number {
  return Number.parseInt(readFileSync(join(dataDirectory, "postgres", "postmaster.pid"), "utf8"), 10);
}

function ownerUrl(dataDirectory: string): string {
  const { databasePort, passwords } = readSecrets(dataDirectory)!;
  return embeddedUrl(databasePort!, "plinth_owner", passwords.owner);
}

/** Inserts one row after another until the connection breaks; adds each number whose commit was acknowledged. */
async function write(url: string, acknowledged: Set<number>, next: () => number): Promise<void> {
  const client = new pg.Client(url);
  client.on("error", () => {});
  try {
    await client.connect();
    for (;;) {
      const n = next();
      await client.query("insert into crash.rows values ($1)", [n]);
      acknowledged.add(n);
    }
  } catch {
    // The server is gone, as this test intends.
  } finally {
    await client.end().catch(() => {});
  }
}

describe("the next start after kill -9 has every acknowledged commit", () => {
  const acknowledged = new Set<number>();
  let n = 0;
  let dataDirectory: string;

  beforeAll(async () => {
    dataDirectory = join(folder, "commits");
    const { child, line } = start(dataDirectory);
    await line("ready");
    await withClient(ownerUrl(dataDirectory), (client) =>
      client.query("create schema crash; create table crash.rows (n integer primary key)"),
    );
    await stop(child, "SIGTERM");
  });

  test.each([
    ["Node", true, false],
    ["the postmaster", false, true],
    ["both", true, true],
  ])("of %s", async (_, killNode, killPostmaster) => {
    const { child, line } = start(dataDirectory);
    await line("ready");
    const url = ownerUrl(dataDirectory);
    const before = acknowledged.size;
    const writers = [1, 2, 3].map(() => write(url, acknowledged, () => n++));
    while (acknowledged.size < before + 100) await sleep(10);

    const postmaster = postmasterPid(dataDirectory);
    if (killNode) await stop(child, "SIGKILL");
    if (killPostmaster) {
      process.kill(postmaster, "SIGKILL");
      if (!killNode) {
        expect(await line("died: ")).toContain("SIGKILL");
        await stop(child, "SIGKILL");
      }
    }
    const next = start(dataDirectory);
    await next.line("ready");
    await Promise.all(writers);

    const { rows } = await withClient(ownerUrl(dataDirectory), (client) =>
      client.query<{ n: number }>("select n from crash.rows"),
    );
    const stored = new Set(rows.map((row) => row.n));
    expect([...acknowledged].filter((number) => !stored.has(number))).toEqual([]);
    expect(ownerUrl(dataDirectory)).toBe(url);
  });
});

test("finishes a first start that was killed at any moment", async () => {
  for (const [index, isThere] of [
    // Or what comes after it: it is renamed while a busy machine does not look.
    (names: string[]) => names.some((name) => name.startsWith("postgres")),
    (names: string[]) => names.includes("postgres"),
    (names: string[]) => names.includes("postgres.log"),
  ].entries()) {
    const dataDirectory = join(folder, `first-${index}`);
    const first = start(dataDirectory);
    const namesNow = () => {
      try {
        return readdirSync(dataDirectory);
      } catch {
        return [];
      }
    };
    while (!isThere(namesNow())) await sleep(2);
    await stop(first.child, "SIGKILL");
    const secrets = readSecrets(dataDirectory)!;

    const second = start(dataDirectory);
    await second.line("ready");
    await withClient(ownerUrl(dataDirectory), (client) => client.query("select 1"));
    expect(readSecrets(dataDirectory)!.passwords).toEqual(secrets.passwords);
    await stop(second.child, "SIGTERM");
  }
});

test("ignores a postmaster.pid that names a process of another program", async () => {
  const dataDirectory = join(folder, "commits");
  writeFileSync(
    join(dataDirectory, "postgres", "postmaster.pid"),
    `${process.pid}\n${dataDirectory}/postgres\n1\n5432\n\n127.0.0.1\n        1         1\nready   \n`,
  );
  const { line } = start(dataDirectory);
  await line("ready");
  await withClient(ownerUrl(dataDirectory), (client) => client.query("select 1"));
});
