import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { acquireLock, findHolder, type LockHolder } from "../../src/database/embedded/lock.ts";
import { isRunning, machineIdentity, processBirth } from "../../src/database/embedded/process-identity.ts";

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "plinth-lock-"));
  path = join(folder, "plinth.lock");
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** A lock as this process would hold it, with changes. */
function leave(changes: Partial<LockHolder>): void {
  const holder: LockHolder = {
    id: "left-behind",
    pid: process.pid,
    birth: processBirth(process.pid)!,
    machine: machineIdentity(),
    host: "here",
    since: "2026-01-01T00:00:00.000Z",
    purpose: "server",
    ...changes,
  };
  writeFileSync(path, JSON.stringify(holder));
}

/** The pid of a process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ["--version"]).pid;
}

test("has one holder at a time, and is free after release", async () => {
  const lock = await acquireLock(path, "server");
  await expect(acquireLock(path, "command")).rejects.toMatchObject({
    code: "DATA_LOCKED",
    holder: { pid: process.pid, purpose: "server" },
  });
  lock.release();
  expect(readdirSync(folder)).toEqual([]);
  (await acquireLock(path, "command")).release();
});

test("tells other processes where the database is", async () => {
  const lock = await acquireLock(path, "server");
  expect(await findHolder(path)).not.toHaveProperty("databasePort");
  lock.announce(20_123);
  expect(await findHolder(path)).toMatchObject({ pid: process.pid, databasePort: 20_123 });
  lock.release();
  expect(await findHolder(path)).toBeUndefined();
});

test("is taken over from a process that ended", async () => {
  leave({ pid: deadPid() });
  const lock = await acquireLock(path, "server");
  expect(JSON.parse(readFileSync(path, "utf8")).id).not.toBe("left-behind");
  lock.release();
  expect(readdirSync(folder)).toEqual([]);
});

test("is taken over when another process has the pid of the one that ended", async () => {
  leave({ birth: "1" });
  (await acquireLock(path, "server")).release();
});

test("is taken over after a reboot, when another process has that pid", async () => {
  leave({ machine: "another boot" });
  const longAgo = new Date(Date.now() - 60_000);
  utimesSync(path, longAgo, longAgo);
  (await acquireLock(path, "server")).release();
});

test("stays with a holder in another container as long as it gives a sign of life", async () => {
  leave({ machine: "another container", host: "elsewhere" });
  const beat = setInterval(() => utimesSync(path, new Date(), new Date()), 300);
  try {
    await expect(acquireLock(path, "server")).rejects.toMatchObject({
      code: "DATA_LOCKED",
      message: expect.stringContaining("elsewhere"),
      isHere: false,
    });
  } finally {
    clearInterval(beat);
  }
});

test("of a dead holder goes to exactly one of many", async () => {
  for (let round = 0; round < 10; round++) {
    leave({ id: `left-behind-${round}`, pid: deadPid() });
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => acquireLock(path, "server")));
    const winners = results.filter((result) => result.status === "fulfilled");
    expect(winners).toHaveLength(1);
    winners[0]!.value.release();
  }
  expect(readdirSync(folder)).toEqual([]);
});

test("is taken over although a process died while taking it over", async () => {
  leave({ pid: deadPid() });
  const stale = readFileSync(path, "utf8");
  writeFileSync(`${path}.after-left-behind`, stale.replace("left-behind", "breaker"));
  const lock = await acquireLock(path, "server");
  lock.release();
  expect(readdirSync(folder)).toEqual([]);
});

test("is not deleted if it is no lock file", async () => {
  writeFileSync(path, "something else");
  await expect(acquireLock(path, "server")).rejects.toMatchObject({ code: "LOCK_DAMAGED" });
  expect(readFileSync(path, "utf8")).toBe("something else");
});

test("identifies a process by its pid and start together", () => {
  const birth = processBirth(process.pid)!;
  expect(isRunning(process.pid, birth)).toBe(true);
  expect(isRunning(process.pid, `${birth}0`)).toBe(false);
  expect(processBirth(deadPid())).toBeUndefined();
});
