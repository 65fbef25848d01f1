import { execFileSync } from "node:child_process";
import {
  chmodSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { open as openFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type pg from "pg";
import { generateBackupKey } from "../../src/auth/backup-keys.ts";
import { compareContents } from "../../src/backup/compare-contents.ts";
import { createPoint } from "../../src/backup/create-point.ts";
import { newestUsableBackup } from "../../src/backup/newest-usable.ts";
import { deleteBackup, pruneBackups } from "../../src/backup/prune.ts";
import { type Backup, baseFolder, listBackups, listPoints, writeBackup } from "../../src/backup/records.ts";
import { type RestoreOptions, restore } from "../../src/backup/restore.ts";
import { takeBackup } from "../../src/backup/take-backup.ts";
import { verifyBackup } from "../../src/backup/verify.ts";
import { segmentName, segmentOf } from "../../src/backup/wal-names.ts";
import { checkBackups } from "../../src/cli/doctor/backups.ts";
import { type Config, loadConfig } from "../../src/config/config.ts";
import type { Database } from "../../src/database/database.ts";
import { walFolder } from "../../src/database/embedded/archiving.ts";
import { claimBackups } from "../../src/database/embedded/claim-backups.ts";
import { clusterFolder, restoredFolder } from "../../src/database/embedded/replace-cluster.ts";
import { type EmbeddedServer, openEmbedded } from "../../src/database/embedded/server.ts";
import { open } from "../../src/wal/sealed.ts";
import { outcomeOf, startCli } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import { withClient } from "../support/database.ts";

// A single server and its backups. The tests run in order: each works on what the earlier ones left.

/** As little disk and memory as possible, and no transactions but those of the test. */
const FAST = {
  fsync: "off",
  full_page_writes: "on",
  shared_buffers: "1MB",
  max_connections: "20",
  autovacuum: "off",
};
const silent = { signal: new AbortController().signal, onProgress: () => {}, log: () => {} };

let root: string;
let config: Config;
let env: Record<string, string>;
let server: EmbeddedServer;
let first: Backup;
let beforeSecond: Date;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "plinth-backup-"));
  // As root, PostgreSQL runs as another user, who must reach the backups.
  chmodSync(root, 0o755);
  env = {
    PLINTH_DATA: join(root, "data"),
    PLINTH_BACKUPS: join(root, "it's 100% safe"),
    PLINTH_BACKUP_KEY: generateBackupKey(),
  };
  config = loadConfig(env);
  await start();
  await query("create table load (id bigint generated always as identity primary key, note text)");
  await query("create table mark (name text primary key)");
  await query("create materialized view marks as select count(*) from mark");
});
afterAll(async () => {
  await server?.close();
  rmSync(root, { recursive: true, force: true });
});

async function start(): Promise<void> {
  server = await openEmbedded(config, { settings: FAST });
}
function database(): Database {
  return { ...server, kind: "embedded", adminUrl: server.superuserUrl() };
}
const query = async (text: string, values: unknown[] = []) =>
  withClient(server.superuserUrl(), async (client) => (await client.query(text, values)).rows);
const mark = (name: string) => query("insert into mark values ($1)", [name]);
const take = (settings = config.backups!) => takeBackup({ database: database(), settings, ...silent });
const verify = (backup: Backup, other = config) => verifyBackup({ config: other, backup, ...silent });
const restoreTo = (to: string, options: Partial<RestoreOptions> = {}) =>
  restore({ config, to, serverSettings: FAST, ...silent, ...options });

/** The content of a data folder, read on a server of its own without backups. */
async function marksIn(dataDirectory: string): Promise<string[]> {
  const copy = await openEmbedded({ ...config, dataDirectory, backups: undefined }, { settings: FAST });
  try {
    return await withClient(copy.superuserUrl(), async (client) => {
      const { rows } = await client.query<{ name: string }>("select name from mark order by name");
      return rows.map(({ name }) => name);
    });
  } finally {
    await copy.close();
  }
}

describe("a backup that is made while others write", () => {
  /** Inserts ten rows, and more without a pause until the returned function is called, which returns the number of acknowledged rows. */
  async function startWriting(): Promise<() => Promise<number>> {
    let isStopped = false;
    let written = 0;
    const begun = Promise.withResolvers<void>();
    const writing = withClient(server.superuserUrl(), async (client: pg.Client) => {
      // Small rows: each segment of WAL is archived, verified and replayed by each restore below.
      while (!isStopped) {
        await client.query("insert into load (note) values ('x')");
        written += 1;
        if (written === 10) begun.resolve();
      }
    });
    await Promise.race([begun.promise, writing]);
    return async () => {
      isStopped = true;
      await writing;
      return written;
    };
  }

  test("knows the contents of its tables at one point, although a transaction never ends", async () => {
    await mark("first");
    const stop = await startWriting();
    first = await withClient(server.superuserUrl(), async (client) => {
      await client.query("begin");
      await client.query("select pg_current_xact_id()");
      let taken = await take();
      // If the machine stands still while writers are made to wait, they are let go.
      while (!taken.reference) {
        rmSync(baseFolder(config.backups!.folder, taken.id), { recursive: true });
        taken = await take();
      }
      return taken;
    });
    const written = await stop();
    expect(written).toBeGreaterThanOrEqual(10);
    // Without a quiet moment, writers are made to wait.
    expect(first.reference).toMatchObject({ point: expect.stringContaining("-locked-") });
    expect(Number(first.reference!.tables["public.load"]!.rows)).toBeLessThanOrEqual(written);
    expect(first.isEncrypted).toBe(true);
    const stored = readFileSync(join(baseFolder(config.backups!.folder, first.id), first.files[0]!.name));
    expect(stored.subarray(0, 7).toString()).toBe("PLINTHB");
  });

  test("is sound: it recovers, and the restored tables have the contents of that point", async () => {
    const { isSound, findings } = await verify(first);
    expect({ isSound, findings }).toEqual({
      isSound: true,
      findings: [
        expect.stringContaining("recorded checksums"),
        expect.stringContaining("The WAL is complete"),
        expect.stringContaining("No table or index is damaged"),
        expect.stringMatching(/The tables have the rows .* \(tables: 2, rows: \d{2,}\)/),
      ],
    });
    expect(listBackups(config.backups!.folder)[0]!.verification).toMatchObject({ isSound: true });
  });

  test("is not sound if a table has another row, or the same number of other rows", async () => {
    const { "public.mark": expected } = first.reference!.tables;
    const reference = { ...first.reference!, tables: { "public.mark": expected! } };
    await withClient(server.superuserUrl(), async (client) => {
      const compare = () => compareContents(client, reference, silent.signal);
      await client.query("begin");
      expect(await compare()).toContain("tables: 1, rows: 1");
      for (const change of [
        "insert into public.mark values ('x')",
        "delete from public.mark where name = 'first'",
      ]) {
        await client.query(change);
        await expect(compare()).rejects.toMatchObject({
          code: "BACKUP_DIFFERS",
          message: expect.stringContaining("public.mark"),
        });
      }
      await client.query("rollback");
    });
  });
});

describe("a backup that cannot be used", () => {
  const stored = (name: string) => join(baseFolder(config.backups!.folder, first.id), name);
  const base = () => stored("base.tar.zst.sealed");
  const firstSegment = () => segmentName(first.timeline, segmentOf(first.startLsn));

  /** Verifies with a changed file, which is put back afterwards. */
  async function findingsWith(
    path: string,
    change: (content: Buffer) => Buffer | undefined,
  ): Promise<string> {
    const content = readFileSync(path);
    const changed = change(content);
    if (changed) writeFileSync(path, changed);
    else renameSync(path, `${path}.away`);
    try {
      const { isSound, findings } = await verify(first);
      expect(isSound).toBe(false);
      return findings.join(" ");
    } finally {
      if (changed) writeFileSync(path, content);
      else renameSync(`${path}.away`, path);
    }
  }

  test("is named with the damaged, shortened or missing file", async () => {
    const flipped = (content: Buffer) => Buffer.from(content.with(5_000, content[5_000]! ^ 1));
    expect(await findingsWith(base(), flipped)).toMatch(/base\.tar.* differs from its checksum/);
    expect(await findingsWith(base(), (content) => content.subarray(0, 70_000))).toMatch(
      /base\.tar.* cut off/,
    );
    expect(await findingsWith(base(), () => undefined)).toMatch(/base\.tar.* is missing/);
    // Restoring notices it too, also without the record of checksums.
    const content = readFileSync(base());
    writeFileSync(base(), content.subarray(0, 70_000));
    await expect(restoreTo("latest", { into: join(root, "damaged") })).rejects.toMatchObject({
      code: "BACKUP_DAMAGED",
      message: expect.stringContaining("base.tar"),
    });
    writeFileSync(base(), content);
    expect(existsSync(clusterFolder(join(root, "damaged")))).toBe(false);
  });

  test("is named with the WAL segment that is missing or damaged", async () => {
    const name = firstSegment();
    const path = join(walFolder(config.backups!.folder), `${name}.zst.sealed`);
    expect(await findingsWith(path, () => undefined)).toContain(`lacks the WAL segment ${name}`);
    expect(await findingsWith(path, (content) => content.subarray(0, -1))).toMatch(
      new RegExp(`${name}.*damaged or cut off`),
    );
    renameSync(path, `${path}.away`);
    expect(await newestUsableBackup(config.backups!)).toBeUndefined();
    await expect(restoreTo("latest", { into: join(root, "gap") })).rejects.toMatchObject({
      code: "WAL_MISSING",
      message: expect.stringContaining(name),
    });
    renameSync(`${path}.away`, path);
    expect(await newestUsableBackup(config.backups!)).toMatchObject({ id: first.id });
  });

  test("is rejected if a file of it, or a segment, is exchanged for one that is not encrypted", async () => {
    const { folder, key } = config.backups!;
    const keys = [Buffer.from(key!, "base64url")];
    const plain = base().replace(/\.sealed$/, "");
    const sealed = createReadStream(base());
    await pipeline(open(sealed, keys, `${first.id}/base.tar`), createWriteStream(plain));
    renameSync(base(), `${base()}.away`);
    await expect(restoreTo("latest", { into: join(root, "exchanged") })).rejects.toMatchObject({
      code: "BACKUP_DAMAGED",
      message: expect.stringContaining("is not encrypted, but the backup is"),
    });
    // A record that says so is believed, and the operator reads it.
    writeBackup(folder, { ...first, isEncrypted: false });
    const stop = (line: string) => {
      throw new Error(line);
    };
    await expect(restoreTo("latest", { into: join(root, "exchanged"), log: stop })).rejects.toThrow(
      "is not encrypted, although PLINTH_BACKUP_KEY is set",
    );
    writeBackup(folder, first);
    rmSync(plain);
    renameSync(`${base()}.away`, base());
    rmSync(join(root, "exchanged"), { recursive: true });

    const name = firstSegment();
    const segment = join(walFolder(folder), `${name}.zst`);
    writeFileSync(segment, "");
    expect(await findingsWith(`${segment}.sealed`, () => undefined)).toMatch(
      new RegExp(`lacks the WAL segment ${name}.*not encrypted do not count`),
    );
    rmSync(segment);
  });

  test("asks for the right key and is not called damaged", async () => {
    const other = { ...config, backups: { ...config.backups!, key: generateBackupKey() } };
    await expect(verify(first, other)).rejects.toMatchObject({ code: "BACKUP_KEY_WRONG" });
    await expect(restoreTo("latest", { config: other, into: join(root, "wrong-key") })).rejects.toMatchObject(
      { code: "BACKUP_KEY_WRONG" },
    );
    // After a rotation, the old key still reads.
    const both = {
      ...config,
      backups: { ...config.backups!, key: `${generateBackupKey()},${env.PLINTH_BACKUP_KEY}` },
    };
    expect(await newestUsableBackup(both.backups)).toMatchObject({ id: first.id });
  });
});

describe("a restore [C12]", () => {
  test("to a second brings back the rows before it and none after it", async () => {
    await mark("second");
    beforeSecond = new Date();
    while (Date.now() <= beforeSecond.getTime());
    beforeSecond = new Date();
    while (Date.now() <= beforeSecond.getTime());
    await mark("third");
    await createPoint(database(), config.backups!, "after-third", silent.signal);
    await mark("fourth");
    const into = join(root, "second");
    await restoreTo(beforeSecond.toISOString(), { into });
    expect(await marksIn(into)).toEqual(["first", "second"]);
    // Its own history must not get into the archive of the original.
    const copy = { ...config, dataDirectory: into };
    await expect(openEmbedded(copy, { settings: FAST })).rejects.toMatchObject({
      code: "BACKUPS_OF_OTHER_DATA",
    });
    const owner = join(config.backups!.folder, "owner.json");
    renameSync(owner, `${owner}.away`);
    // An empty folder where a disk is not mounted must not begin another archive.
    expect(() => claimBackups(config.backups!.folder, config.dataDirectory)).toThrow(
      "no longer has the backups",
    );
    renameSync(`${owner}.away`, owner);
  });

  test("that cannot reach its target says so and leaves nothing", async () => {
    const into = join(root, "future");
    const future = new Date(Date.now() + 86_400_000).toISOString();
    await expect(restoreTo(future, { into })).rejects.toMatchObject({ code: "RESTORE_TARGET_NOT_REACHED" });
    expect(readdirSync(into).filter((name) => name.startsWith("postgres") && !name.endsWith(".log"))).toEqual(
      [],
    );
    await expect(restoreTo("2001-01-01T00:00Z", { into })).rejects.toMatchObject({ code: "NO_BACKUP" });
    await expect(restoreTo("nowhere", { into })).rejects.toMatchObject({
      code: "NO_SUCH_TARGET",
      hint: expect.stringContaining("after-third"),
    });
    await expect(restoreTo("latest")).rejects.toMatchObject({ code: "DATA_LOCKED" });
  });

  test("needs secrets.json, which is in no backup", async () => {
    const elsewhere = { ...config, dataDirectory: join(root, "elsewhere") };
    await expect(
      restoreTo("latest", { config: elsewhere, into: join(root, "no-secrets") }),
    ).rejects.toMatchObject({ code: "SECRETS_MISSING", hint: expect.stringContaining("master keys") });
  });
});

describe("the commands", () => {
  test("killed in the middle of a backup, it leaves one that list calls unfinished and prune removes", async () => {
    const child = startCli(["backup", "--max-rate", "32"], env);
    const ended = outcomeOf(child);
    // At 32 kB a second the whole takes many minutes, so its first bytes are the middle.
    const unfinished = () =>
      listBackups(config.backups!.folder).find(
        ({ id, backup }) => !backup && readdirSync(baseFolder(config.backups!.folder, id)).length > 0,
      );
    while (!unfinished()) await new Promise((resolve) => setTimeout(resolve, 20));
    const { id } = unfinished()!;
    child.kill("SIGKILL");
    await ended;
    const list = await runHere(["backup", "list", "--json"], { env });
    expect(JSON.parse(list.stdout)).toMatchObject({
      backups: [
        { id: first.id, isComplete: true },
        { id, isComplete: false },
      ],
      points: [{ name: "after-third" }],
    });
    expect(list.stdout).not.toContain(env.PLINTH_BACKUP_KEY);
    // A segment ends each minute, so a slow machine has more of them.
    const older = readdirSync(walFolder(config.backups!.folder)).filter(
      (name) => name.slice(0, 24) < segmentName(first.timeline, segmentOf(first.startLsn)),
    );
    expect(older.length).toBeGreaterThan(0);
    expect(await pruneBackups(config.backups!.folder, 7, () => {})).toEqual({
      backups: [id],
      segments: older.length,
    });
  });

  test("the key is in no setting, argument or file of the server", async () => {
    const [{ command }] = await query("select current_setting('archive_command') as command");
    expect(command).toContain("it'\\''s 100%% safe/wal");
    const settings = await query("select setting from pg_settings");
    const places = [
      JSON.stringify(settings),
      readFileSync(join(config.dataDirectory, "postgres.log"), "utf8"),
      readFileSync(join(clusterFolder(config.dataDirectory), "postmaster.opts"), "utf8"),
    ];
    for (const place of places) expect(place).not.toContain(env.PLINTH_BACKUP_KEY);
  });
});

describe("doctor", () => {
  const check = async (backups: Partial<Config["backups"]> | null = {}) => {
    const other = { ...config, backups: backups ? { ...config.backups!, ...backups } : undefined };
    const findings = await withClient(server.superuserUrl(), (client) =>
      checkBackups({ config: other, database: database(), client, role: "owner" }),
    );
    return Object.fromEntries(findings.map((finding) => [finding.check, finding]));
  };

  test("says when there is no backup, when it is old, and when it is damaged or not encrypted", async () => {
    const { folder } = config.backups!;
    expect(await check()).toMatchObject({
      backups: { status: "ok" },
      "wal-archive": { status: "ok" },
      "damaged-backups": { message: expect.stringContaining(first.id) },
    });
    expect((await check(null)).backups).toMatchObject({
      status: "warn",
      hint: expect.stringContaining("PLINTH_BACKUPS"),
    });
    const empty = { folder: join(root, "empty"), key: undefined };
    expect(await check(empty)).toMatchObject({
      backups: { status: "fail", message: "There is no backup." },
      "backup-key": { status: "warn" },
    });
    writeBackup(folder, { ...first, startedAt: new Date(Date.now() - 3 * 86_400_000).toISOString() });
    expect((await check()).backups).toMatchObject({
      status: "fail",
      message: expect.stringContaining("was due at"),
    });
    writeBackup(folder, first);
  });

  test("says when WAL does not reach the archive", async () => {
    const folder = walFolder(config.backups!.folder);
    let finding: unknown;
    // On a busy machine, PostgreSQL may try again, and succeed, before doctor looks.
    do {
      // A file where the folder should be; the folder comes back afterwards.
      renameSync(folder, `${folder}.away`);
      writeFileSync(folder, "");
      const [{ before }] = await query("select failed_count as before from pg_stat_archiver");
      await query("create table archived_late (); drop table archived_late; select pg_switch_wal()");
      const failed = async () =>
        (await query("select failed_count > $1 as has from pg_stat_archiver", [before]))[0].has;
      while (!(await failed())) await new Promise((resolve) => setTimeout(resolve, 50));
      rmSync(folder);
      renameSync(`${folder}.away`, folder);
      finding = (await check())["wal-archive"];
    } while ((await query("select last_archived_time > last_failed_time as is from pg_stat_archiver"))[0].is);
    expect(finding).toMatchObject({ status: "fail", hint: expect.stringContaining("postgres.log") });
  });
});

describe("retention", () => {
  test("deletes no file outside the folder of backups, whatever a record names", async () => {
    const { folder } = config.backups!;
    const secrets = join(config.dataDirectory, "secrets");
    const name = relative(join(folder, "points"), secrets);
    const hostile = { name, at: "2026-01-01T00:00:00.000Z", timeline: 1, lsn: "0/0" };
    mkdirSync(join(folder, "points"), { recursive: true });
    writeFileSync(join(folder, "points", "hostile.json"), JSON.stringify(hostile));
    await pruneBackups(folder, 1, () => {});
    expect(existsSync(`${secrets}.json`)).toBe(true);
    expect(listPoints(folder).map(({ name }) => name)).not.toContain("hostile");
  });

  test("keeps the WAL that a kept backup needs, and deletes older WAL and points", async () => {
    const { folder } = config.backups!;
    const second = await take();
    // There are no writers now, so no writer had to wait.
    expect(second.reference!.point).not.toContain("locked");
    expect(await pruneBackups(folder, 2, () => {})).toEqual({ backups: [], segments: 0 });
    expect(await newestUsableBackup(config.backups!)).toMatchObject({ id: second.id });
    const { backups, segments } = await pruneBackups(folder, 1, () => {});
    expect({ backups, segments: segments > 0 }).toEqual({ backups: [first.id], segments: true });
    expect(listPoints(folder)).toEqual([]);
    // The restores below begin with this backup.
    await expect(deleteBackup(folder, second.id, () => {})).rejects.toMatchObject({ code: "LAST_BACKUP" });
  });
});

describe("a restore in place", () => {
  test("killed while it recovers, it leaves the data as it was, and succeeds when repeated", async () => {
    await createPoint(database(), config.backups!, "before-fifth", silent.signal);
    await mark("fifth");
    await server.close();
    const folder = walFolder(config.backups!.folder);
    const [newest] = readdirSync(folder)
      .filter((name) => /^[0-9A-F]{24}\.zst/.test(name))
      .sort()
      .slice(-2);
    const path = join(folder, newest!);
    // A pipe in place of a segment: the recovery waits for its content.
    renameSync(path, join(root, "segment"));
    execFileSync("mkfifo", [path]);
    chmodSync(path, 0o644);
    const child = startCli(["restore", "--to", "latest"], env);
    const ended = outcomeOf(child);
    // Opening it for writing waits for the reader: PostgreSQL's restore_command.
    const writer = await openFile(path, "w");
    child.kill("SIGKILL");
    await ended;
    await writer.close();
    rmSync(path);
    renameSync(join(root, "segment"), path);
    expect(await marksIn(config.dataDirectory)).toEqual(["fifth", "first", "fourth", "second", "third"]);

    const { aside } = await restoreTo("before-fifth");
    expect(readdirSync(config.dataDirectory)).toContain(aside!.slice(config.dataDirectory.length + 1));
    // As if it had been killed between its last two renames.
    renameSync(clusterFolder(config.dataDirectory), restoredFolder(config.dataDirectory));
    await start();
    expect(await query("select name from mark order by name")).toEqual(
      ["first", "fourth", "second", "third"].map((name) => ({ name })),
    );
  });

  test("continues the archive on a new timeline, to which a later backup and restore belong", async () => {
    await mark("sixth");
    const third = await take();
    expect(third.timeline).toBe(2);
    await mark("seventh");
    // Its WAL is not archived yet, as after a power failure.
    process.kill(
      Number(
        readFileSync(join(clusterFolder(config.dataDirectory), "postmaster.pid"), "utf8").split("\n")[0],
      ),
      "SIGKILL",
    );
    await server.close();
    expect((await restoreTo("latest")).plan.backup.id).toBe(third.id);
    expect(await marksIn(config.dataDirectory)).toEqual([
      "first",
      "fourth",
      "second",
      "seventh",
      "sixth",
      "third",
    ]);
  });
});
