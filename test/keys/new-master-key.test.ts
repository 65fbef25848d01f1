import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { generateMasterKey, parseMasterKeys } from "../../src/auth/master-keys.ts";
import { loadConfig } from "../../src/config/config.ts";
import type { Database } from "../../src/database/database.ts";
import { acquireLock } from "../../src/database/embedded/lock.ts";
import { lockPath } from "../../src/database/embedded/server.ts";
import { loadSecrets } from "../../src/database/secrets.ts";
import { prepareNewKey } from "../../src/keys/new-master-key.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "plinth-new-key-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const database = (kind: Database["kind"]) => ({ kind }) as Database;
const versions = () => parseMasterKeys(loadSecrets(folder).masterKeys).versions;

test("adds a new master key to secrets.json before the others, which stay", async () => {
  const before = loadSecrets(folder);
  expect(await prepareNewKey(loadConfig({ PLINTH_DATA: folder }), database("embedded"))).toBe(true);
  const after = loadSecrets(folder);
  expect(after.masterKeys.startsWith(`${before.masterKeys},2:`)).toBe(true);
  expect({ ...after, masterKeys: "" }).toEqual({ ...before, masterKeys: "" });
  expect(versions()).toEqual([1, 2]);
});

test("seals nothing under a key that a running Plinth has not read", async () => {
  const lock = await acquireLock(lockPath(folder), "server", () => {});
  try {
    lock.announce(1);
    expect(await prepareNewKey(loadConfig({ PLINTH_DATA: folder }), database("embedded"))).toBe(false);
  } finally {
    lock.release();
  }
  expect(versions()).toEqual([1, 2, 3]);
});

test("adds no key to keys that are set elsewhere", async () => {
  const before = versions();
  for (const [env, kind] of [
    [{ PLINTH_MASTER_KEYS: generateMasterKey(1) }, "embedded"],
    [{ PLINTH_MASTER_KEYS_FILE: "/keys" }, "embedded"],
    [{}, "external"],
  ] as const)
    await expect(
      prepareNewKey(loadConfig({ PLINTH_DATA: folder, ...env }), database(kind)),
    ).rejects.toMatchObject({ code: "KEYS_ARE_SET" });
  expect(versions()).toEqual(before);
});
