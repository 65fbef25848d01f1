import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { lockBackups } from "../../src/backup/backup-lock.ts";
import { createPoint } from "../../src/backup/create-point.ts";
import { pruneBackups } from "../../src/backup/prune.ts";
import { type Backup, baseFolder, writeBackup, writeVerification } from "../../src/backup/records.ts";
import { restore } from "../../src/backup/restore.ts";
import { takeBackup } from "../../src/backup/take-backup.ts";
import { archivedNames } from "../../src/backup/wal-archive.ts";
import { parseSegmentName, segmentOf } from "../../src/backup/wal-names.ts";
import { type Config, loadConfig } from "../../src/config/config.ts";
import type { Database } from "../../src/database/database.ts";
import { walFolder } from "../../src/database/embedded/archiving.ts";
import { type EmbeddedServer, openEmbedded } from "../../src/database/embedded/server.ts";
import { makeFolder } from "../../src/support/files.ts";
import { COMPRESSED, packWhole } from "../../src/wal/packed.ts";
import { sealedName } from "../../src/wal/segments.ts";
import { withClient } from "../support/database.ts";

// Restores that PostgreSQL would report as successful, although they end elsewhere. The tests run in order, with one server.

const FAST = { fsync: "off", shared_buffers: "1MB", max_connections: "20" };
const silent = { signal: new AbortController().signal, onProgress: () => {}, log: () => {} };

let root: string;
let config: Config;
let server: EmbeddedServer;
let backup: Backup;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "plinth-targets-"));
  chmodSync(root, 0o755);
  config = loadConfig({ PLINTH_DATA: join(root, "data"), PLINTH_BACKUPS: join(root, "backups") });
  await start();
  await query("create table mark (name text primary key)");
  backup = await takeBackup({ database: database(), settings: config.backups!, ...silent });
});
afterAll(async () => {
  await server?.close();
  rmSync(root, { recursive: true, force: true });
});

async function start(): Promise<void> {
  server = await openEmbedded(config, { settings: FAST });
}
/** A busy server may be ended before it has archived its WAL, so that is waited for. */
async function close(): Promise<void> {
  await createPoint(database(), config.backups!, `close-${Date.now()}`, silent.signal);
  await server.close();
}
const database = (): Database => ({ ...server, kind: "embedded", adminUrl: server.superuserUrl() });
const query = (text: string, url = server.superuserUrl()) =>
  withClient(url, async (client) => (await client.query(text)).rows);
const mark = (name: string) => query(`insert into mark values ('${name}')`);
const restoreTo = (to: string, into?: string) =>
  restore({ config, to, into, serverSettings: FAST, ...silent });

/** A time after everything before the call, and before everything after it. */
function moment(): string {
  const wait = () => {
    for (const now = Date.now(); Date.now() === now; );
  };
  wait();
  const time = new Date().toISOString();
  wait();
  return time;
}

/** The marks after a restore to another folder. */
async function marksAt(to: string): Promise<string> {
  const into = join(root, "copy");
  await restoreTo(to, into);
  const copy = await openEmbedded({ ...config, dataDirectory: into, backups: undefined }, { settings: FAST });
  const [{ names }] = await query(
    "select string_agg(name, ' ' order by name) as names from mark",
    copy.superuserUrl(),
  );
  await copy.close();
  rmSync(into, { recursive: true });
  return names;
}

test("returns to the point that was recorded, although a failed attempt left its name earlier in the WAL", async () => {
  await mark("a");
  await query("select pg_create_restore_point('import')");
  await mark("b");
  await createPoint(database(), config.backups!, "import", silent.signal);
  await mark("c");
  expect(await marksAt("import")).toBe("a b");
});

test("finds a time that an earlier restore in place has left behind, and later ones after it", async () => {
  const tooEarly = moment();
  await mark("d");
  const right = moment();
  await mark("e");
  await close();
  await restoreTo(tooEarly);
  await start();
  await mark("f");
  const later = moment();
  await mark("g");
  await close();
  expect(await marksAt(right)).toBe("a b c d");
  expect(await marksAt(tooEarly)).toBe("a b c");
  expect(await marksAt(later)).toBe("a b c f");
});

test("fails if the recovery to the latest state ends before the newest archived WAL", async () => {
  const { folder } = config.backups!;
  const first = Number(segmentOf(backup.startLsn));
  const damaged = archivedNames(folder)
    .filter((name) => Number(parseSegmentName(name)?.segment ?? 0) > first)
    .sort()[0]!;
  // Whole and with the right checksum, but not what the server wrote.
  const zeros = await packWhole(Buffer.alloc(16 * 1024 * 1024), [], sealedName(damaged));
  writeFileSync(join(walFolder(folder), damaged + COMPRESSED), zeros);
  await expect(restoreTo("latest", join(root, "copy"))).rejects.toMatchObject({ code: "RESTORE_INCOMPLETE" });
});

test("says that the folder of backups cannot be changed", async () => {
  const file = join(root, "file");
  writeFileSync(file, "");
  await expect(pruneBackups(join(file, "below"), 2, () => {})).rejects.toMatchObject({
    code: "BACKUPS_NOT_WRITABLE",
    message: expect.stringContaining(file),
  });
});

test("says that another process makes or deletes a backup, and never to end it", async () => {
  const folder = join(root, "busy");
  makeFolder(folder);
  const lock = await lockBackups(folder, () => {});
  await expect(pruneBackups(folder, 2, () => {})).rejects.toMatchObject({
    code: "BACKUPS_IN_USE",
    message: expect.stringContaining(
      `Process ${process.pid} has been making or deleting a backup in ${folder}`,
    ),
    hint: expect.not.stringContaining("kill"),
  });
  lock.release();
  expect(await pruneBackups(folder, 2, () => {})).toEqual({ backups: [], segments: 0 });
});

test("keeps the newest sound backups, whatever the clock said and however many newer ones are damaged", async () => {
  const folder = join(root, "kept");
  const write = (id: string, startLsn: string, isSound?: boolean) => {
    makeFolder(baseFolder(folder, id));
    writeBackup(folder, { ...backup, id, startLsn });
    if (isSound !== undefined) writeVerification(folder, id, { at: "", seconds: 1, isSound, findings: [] });
  };
  write("20400101T000000Z", "0/3000028");
  write("20261101T000000Z", "0/5000028", true);
  write("19700101T000000Z", "0/7000028");
  write("20261103T000000Z", "0/9000028", false);
  expect((await pruneBackups(folder, 2, () => {})).backups).toEqual(["20400101T000000Z"]);
});
