import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";

// The program that PostgreSQL runs for each WAL segment, in processes of its own.

const PROGRAM = fileURLToPath(new URL("../../src/wal/program.ts", import.meta.url));
const KEY = randomBytes(32).toString("base64url");
const NAME = "000000010000000000000003";
const STORED = `${NAME}.zst.sealed`;
const CONTENT = randomBytes(1_000_000);

let folder: string;
let archive: string;
const at = (name: string) => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "plinth-wal-"));
  writeFileSync(at("segment"), CONTENT);
});
beforeEach(() => {
  archive = mkdtempSync(at("archive-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function start(args: readonly string[], key = KEY, env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env: { PATH: "/usr/bin:/bin", ...(key && { PLINTH_BACKUP_KEY: key }), ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = new Promise<{ code: number | null; stderr: string }>((resolve) =>
    child.once("close", (code) => resolve({ code, stderr })),
  );
  return { child, ended };
}

const run = (...args: Parameters<typeof start>) => start(...args).ended;

test("archives a segment encrypted, and again with success", async () => {
  expect(await run(["archive", archive, at("segment"), NAME])).toEqual({ code: 0, stderr: "" });
  expect(readdirSync(archive)).toEqual([STORED]);
  const stored = readFileSync(join(archive, STORED));
  expect(stored.includes(CONTENT.subarray(0, 16))).toBe(false);
  expect(await run(["archive", archive, at("segment"), NAME])).toEqual({ code: 0, stderr: "" });
  expect(readFileSync(join(archive, STORED)).equals(stored)).toBe(true);

  writeFileSync(at("other"), randomBytes(1_000));
  const { code, stderr } = await run(["archive", archive, at("other"), NAME]);
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("exists with other content") });
  expect(await run(["fetch", archive, NAME, at("fetched")])).toEqual({ code: 0, stderr: "" });
  expect(readFileSync(at("fetched")).equals(CONTENT)).toBe(true);
});

test("leaves no segment in the archive when it is killed while it writes one", async () => {
  // A pipe in place of the unfinished file: the program waits in the middle of its content.
  const unfinished = join(archive, `${STORED}.part`);
  execFileSync("mkfifo", [unfinished]);
  const { child, ended } = start(["archive", archive, at("segment"), NAME]);
  const reading = createReadStream(unfinished);
  await once(reading, "readable");
  child.kill("SIGKILL");
  await ended;
  reading.destroy();
  // A crash would have left a part of the content under this name.
  rmSync(unfinished);
  writeFileSync(unfinished, "half");

  expect((await run(["fetch", archive, NAME, at("fetched-part")])).code).toBe(1);
  expect((await run(["archive", archive, at("segment"), NAME])).code).toBe(0);
  expect(readdirSync(archive)).toEqual([STORED]);
  expect((await run(["fetch", archive, NAME, at("fetched")])).code).toBe(0);
  expect(readFileSync(at("fetched")).equals(CONTENT)).toBe(true);
});

test("reports a missing segment with 1, and ends the recovery at a damaged one", async () => {
  expect(await run(["fetch", archive, NAME, at("none")])).toEqual({ code: 1, stderr: "" });
  await run(["archive", archive, at("segment"), NAME]);
  // PostgreSQL takes up to 125 for the end of the WAL, and would accept the writes before it as all there are.
  const otherKey = randomBytes(32).toString("base64url");
  const wrong = await run(["fetch", archive, NAME, at("none")], otherKey);
  expect(wrong).toEqual({ code: 200, stderr: expect.stringContaining("is encrypted with another key") });
  const path = join(archive, STORED);
  writeFileSync(path, readFileSync(path).subarray(0, -100));
  const cut = await run(["fetch", archive, NAME, at("none")]);
  expect(cut).toEqual({ code: 200, stderr: expect.stringContaining("cut off") });
});

test("rejects a segment that is not encrypted in the recovery of an encrypted backup", async () => {
  await run(["archive", archive, at("segment"), NAME], "");
  expect((await run(["fetch", archive, NAME, at("none")])).code).toBe(0);
  const { code, stderr } = await run(["fetch", archive, NAME, at("none")], KEY, {
    PLINTH_BACKUP_IS_SEALED: "1",
  });
  expect({ code, stderr }).toEqual({ code: 200, stderr: expect.stringContaining("is not encrypted") });
});

test("ends the recovery at a file that becomes larger than a segment", async () => {
  writeFileSync(join(archive, `${NAME}.zst`), zstdCompressSync(Buffer.alloc(33 * 1024 * 1024)));
  expect((await run(["fetch", archive, NAME, at("none")])).code).toBe(200);
});

test("compresses without a key, and notices damage by the checksum", async () => {
  const text = Buffer.alloc(1_000_000, "wal ");
  writeFileSync(at("text"), text);
  expect((await run(["archive", archive, at("text"), NAME], "")).code).toBe(0);
  const path = join(archive, `${NAME}.zst`);
  const stored = readFileSync(path);
  expect(stored.length).toBeLessThan(10_000);
  writeFileSync(path, stored.with(stored.length - 1, stored.at(-1)! ^ 1));
  expect((await run(["fetch", archive, NAME, at("none")], "")).code).toBe(200);
});

test("checks before a recovery only that the archive can be read, so that it may be on a read-only disk", async () => {
  expect(await run(["check-reading", archive])).toEqual({ code: 0, stderr: "" });
  expect(readdirSync(archive)).toEqual([]);
  expect(await run(["check-reading", join(archive, "unmounted")])).toEqual({
    code: 3,
    stderr: expect.stringContaining("ENOENT"),
  });
});
