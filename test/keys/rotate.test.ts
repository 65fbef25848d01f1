import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { generateMasterKey, parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer, sealedVersion } from "../../src/auth/sealing.ts";
import { rotateSealed } from "../../src/keys/rotate.ts";
import { countSealed, SEALED_COLUMNS } from "../../src/keys/sealed-columns.ts";
import { registerUser } from "../support/accounts.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { endSession } from "../support/waiting.ts";

const ONE = generateMasterKey(1);
const BOTH = `${ONE},${generateMasterKey(2)}`;
const old = createSealer(parseMasterKeys(ONE));
const both = createSealer(parseMasterKeys(BOTH));
const KEY_COUNT = 60;

let db: TestDatabase;
let client: pg.Client;
let userIds: string[];
beforeAll(async () => {
  db = await createTestDatabase();
  client = new pg.Client({ connectionString: db.url("owner") });
  await client.connect();
  userIds = [];
  for (let n = 0; n < KEY_COUNT; n++) userIds.push(await registerUser(db, `user${n}`));
});
afterAll(async () => {
  await client.end();
  await db.drop();
});

const sealFor = (userId: string) => old.seal("user key", `key of ${userId}`, userId);

beforeEach(async () => {
  await client.query("delete from private.user_keys; delete from private.lookup_keys");
  for (const userId of userIds)
    await client.query("insert into private.user_keys (user_id, wrapped_key) values ($1, $2)", [
      userId,
      sealFor(userId),
    ]);
  await client.query("insert into private.lookup_keys (name, sealed_key) values ('email', $1)", [
    old.seal("lookup key", "the lookup key", "email"),
  ]);
});

const masterKeys = parseMasterKeys(BOTH);
const stored = async () =>
  (
    await client.query<{ user_id: string; wrapped_key: string; master_key_version: number }>(
      "select user_id, wrapped_key, master_key_version from private.user_keys",
    )
  ).rows;

describe("rotation [H11]", () => {
  test("re-encrypts every secret for the same purpose and owner without changing it", async () => {
    const told: number[] = [];
    const outcome = await rotateSealed({
      client,
      masterKeys,
      batchSize: 7,
      onProgress: ({ done = 0 }) => told.push(done),
    });
    expect(outcome).toEqual({ version: 2, rotated: KEY_COUNT + 1, damaged: [], isComplete: true });
    expect(told.at(-1)).toBe(KEY_COUNT + 1);
    expect(told).toEqual(told.toSorted((a, b) => a - b));
    for (const { user_id, wrapped_key, master_key_version } of await stored()) {
      expect([sealedVersion(wrapped_key), master_key_version]).toEqual([2, 2]);
      expect(both.unseal("user key", wrapped_key, user_id).toString()).toBe(`key of ${user_id}`);
    }
    const { rows } = await client.query<{ sealed_key: string }>("select sealed_key from private.lookup_keys");
    expect(both.unseal("lookup key", rows[0]!.sealed_key, "email").toString()).toBe("the lookup key");
    expect(await rotateSealed({ client, masterKeys })).toMatchObject({ rotated: 0, isComplete: true });
    const { rows: events } = await client.query(
      "select event_data from security.security_audit_log where event_type = 'master_key_rotated'",
    );
    expect(events).toEqual([
      { event_data: { version: 2, rotated: KEY_COUNT + 1, damaged: 0, isComplete: true } },
    ]);
  });

  test("neither fails nor blocks concurrent readers", async () => {
    const versions: (number | undefined)[] = [];
    await withClient(db.url("service"), async (service) => {
      const readAll = async () => {
        for (const userId of userIds) {
          const { rows } = await service.query<{ wrapped_key: string }>(
            "select wrapped_key from private.find_user_key($1)",
            [userId],
          );
          expect(both.unseal("user key", rows[0]!.wrapped_key, userId).toString()).toBe(`key of ${userId}`);
          versions.push(sealedVersion(rows[0]!.wrapped_key));
        }
      };
      // A reader that waited for a row would wait for itself.
      await service.query("set lock_timeout = '60s'");
      // Each batch is written when all keys have been read, and kept when they have been read again.
      const slow: pg.ClientBase = Object.create(client, {
        query: {
          value: async (text: string, values: unknown[]) => {
            if (!/^update private\.user_keys/.test(text)) return client.query(text, values);
            await client.query("begin");
            const result = await client.query(text, values);
            await readAll();
            await client.query("commit");
            return result;
          },
        },
      });
      const outcome = await rotateSealed({ client: slow, masterKeys, batchSize: 10 });
      expect(outcome.rotated).toBe(KEY_COUNT + 1);
    });
    const batches = KEY_COUNT / 10;
    expect(versions).toHaveLength(batches * KEY_COUNT);
    // Each key is read under the old version until its batch is kept.
    expect(versions.filter((version) => version === 1)).toHaveLength((KEY_COUNT * (batches + 1)) / 2);
  });

  test("stops between batches on request, loses nothing and continues at the next call", async () => {
    const controller = new AbortController();
    const first = await rotateSealed({
      client,
      masterKeys,
      batchSize: 10,
      signal: controller.signal,
      onProgress: ({ done = 0 }) => done >= 20 && controller.abort(),
    });
    expect(first).toMatchObject({ rotated: 20, isComplete: false });
    for (const { user_id, wrapped_key } of await stored())
      expect(both.unseal("user key", wrapped_key, user_id).toString()).toBe(`key of ${user_id}`);
    expect(await countSealed(client)).toContainEqual({
      table: "private.user_keys",
      column: "wrapped_key",
      version: 2,
      count: 20,
    });
    const second = await rotateSealed({ client, masterKeys });
    expect(second).toMatchObject({ rotated: KEY_COUNT + 1 - 20, isComplete: true });
  });

  test("loses nothing if its connection breaks", async () => {
    const victim = new pg.Client({ connectionString: db.url("owner") });
    victim.on("error", () => {});
    await victim.connect();
    const { rows } = await victim.query<{ pid: number }>("select pg_backend_pid() as pid");
    let end: Promise<void> | undefined;
    const broken = rotateSealed({
      client: victim,
      masterKeys,
      batchSize: 5,
      onProgress: ({ done = 0 }) => {
        if (done === 15) end = endSession(db, rows[0]!.pid);
      },
    });
    await broken.catch((error) => expect(error).toBeInstanceOf(Error));
    // The lock of the rotation ends with the session.
    await end;
    await victim.end().catch(() => {});
    for (const { user_id, wrapped_key } of await stored())
      expect(both.unseal("user key", wrapped_key, user_id).toString()).toBe(`key of ${user_id}`);
    await rotateSealed({ client, masterKeys });
    expect((await stored()).every(({ master_key_version }) => master_key_version === 2)).toBe(true);
  });

  test("keeps concurrent changes and re-encrypts them as well", async () => {
    const [changed, shredded] = userIds as [string, string];
    const change = async () => {
      await client.query("update private.user_keys set wrapped_key = $2 where user_id = $1", [
        changed,
        old.seal("user key", "another key", changed),
      ]);
      await client.query("delete from private.user_keys where user_id = $1", [shredded]);
    };
    // Between the read of the batch and its write.
    const between: pg.ClientBase = Object.create(client, {
      query: {
        value: async (text: string, values: unknown[]) => {
          if (/^update private\.user_keys/.test(text) && pending) {
            pending = false;
            await change();
          }
          return client.query(text, values);
        },
      },
    });
    let pending = true;
    const outcome = await rotateSealed({ client: between, masterKeys });
    expect(pending).toBe(false);
    expect(outcome).toMatchObject({ isComplete: true, damaged: [] });
    const rows = await stored();
    expect(rows).toHaveLength(KEY_COUNT - 1);
    const row = rows.find(({ user_id }) => user_id === changed)!;
    expect(row.master_key_version).toBe(2);
    expect(both.unseal("user key", row.wrapped_key, changed).toString()).toBe("another key");
  });

  test("fails before any change if a version in use is missing among the keys", async () => {
    const before = await stored();
    const onlyNew = parseMasterKeys(generateMasterKey(2));
    await expect(rotateSealed({ client, masterKeys: onlyNew })).rejects.toMatchObject({
      code: "MASTER_KEY_MISSING",
    });
    expect(await stored()).toEqual(before);
  });

  test("reports a row that no key opens, leaves it unchanged and continues with the others", async () => {
    const broken = sealFor(userIds[1]!);
    await client.query("update private.user_keys set wrapped_key = $1 where user_id = $2", [
      broken,
      userIds[0],
    ]);
    const outcome = await rotateSealed({ client, masterKeys });
    expect(outcome).toMatchObject({ rotated: KEY_COUNT, isComplete: true });
    expect(outcome.damaged).toEqual([expect.stringMatching(/^private\.user_keys [0-9a-f-]{36}$/)]);
    const row = (await stored()).find(({ user_id }) => user_id === userIds[0])!;
    expect(row.wrapped_key).toBe(broken);
  });

  test("runs once at a time", async () => {
    await withClient(db.url("owner"), async (other) => {
      await other.query("select pg_advisory_lock(hashtextextended('plinth keys rotate', 0))");
      await expect(rotateSealed({ client, masterKeys })).rejects.toMatchObject({ code: "ROTATION_RUNNING" });
    });
    expect(await rotateSealed({ client, masterKeys })).toMatchObject({ isComplete: true });
  });
});

test("the list of sealed columns matches the database [H11]", async () => {
  const { rows } = await client.query<{ name: string }>(
    `select n.nspname || '.' || c.relname || '.' || a.attname as name
     from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^pg_' and a.attnum > 0
       and a.atttypid = 'text'::regtype and a.attname ~ '(^|_)(sealed|wrapped)(_|$)'
     order by 1`,
  );
  expect(rows.map(({ name }) => name)).toEqual(
    SEALED_COLUMNS.map(({ table, column }) => `${table}.${column}`).toSorted(),
  );
});
