import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { roleName } from "../../src/config/roles.ts";
import { attachDatabase, openDatabase, runningDatabase } from "../../src/database/database.ts";
import { type EmbeddedServer, openEmbedded } from "../../src/database/embedded/server.ts";
import { loadSecrets, readSecrets } from "../../src/database/secrets.ts";
import { expectSqlState, withClient } from "../support/database.ts";

/** Throw-away data: nothing waits for the disk. All statements are logged, so that a test can look for passwords. */
const SETTINGS = { fsync: "off", full_page_writes: "off", log_statement: "all" };

let parent: string;
let config: { dataDirectory: string; rolePrefix: string; embeddedPort: undefined; databaseUrls: object };

beforeAll(async () => {
  // As root the server's user can enter neither; this is what a clone below /root looks like to it.
  parent = mkdtempSync(join(tmpdir(), "plinth-embedded-"));
  chmodSync(parent, 0o700);
  const dataDirectory = join(parent, "deep", "data");
  config = { dataDirectory, rolePrefix: "plinth", embeddedPort: undefined, databaseUrls: {} };
  await (await openEmbedded(config, { settings: SETTINGS })).close();
});

afterAll(() => {
  rmSync(parent, { recursive: true, force: true });
});

describe("a first start", () => {
  test("makes folder and secrets that only their owner can read", () => {
    const modes = ["", "secrets.json", "postgres", "postgres.log"].map(
      (name) => statSync(join(config.dataDirectory, name)).mode & 0o777,
    );
    expect(modes).toEqual([0o700, 0o600, 0o700, 0o600]);
  });

  test("never shows a password to the server's log", () => {
    const log = readFileSync(join(config.dataDirectory, "postgres.log"), "utf8");
    expect(log).toContain("SCRAM-SHA-256$");
    for (const password of Object.values(readSecrets(config.dataDirectory)!.passwords))
      expect(log).not.toContain(password);
  });
});

describe("a running server", () => {
  let server: EmbeddedServer;

  beforeAll(async () => {
    server = await openEmbedded(config, { settings: SETTINGS });
  });
  afterAll(() => server.close());

  test("has the port and the passwords of the first start", () => {
    const { databasePort, passwords } = loadSecrets(config.dataDirectory);
    expect(server.port).toBe(databasePort);
    expect(new URL(server.url("owner")).password).toBe(passwords.owner);
  });

  test("listens on this machine only and asks everybody for a password", async () => {
    const settings = await withClient(server.superuserUrl(), async (client) => {
      const { rows } = await client.query<{ name: string; setting: string }>(
        `select name, setting from pg_settings where name = any ($1) order by name collate "C"`,
        [["listen_addresses", "unix_socket_directories", "data_checksums", "server_encoding"]],
      );
      return rows.map(({ name, setting }) => `${name}=${setting}`);
    });
    expect(settings).toEqual([
      "data_checksums=on",
      "listen_addresses=127.0.0.1",
      "server_encoding=UTF8",
      "unix_socket_directories=",
    ]);
    const methods = await withClient(server.superuserUrl(), async (client) => {
      const { rows } = await client.query("select distinct auth_method from pg_hba_file_rules");
      return rows;
    });
    expect(methods).toEqual([{ auth_method: "scram-sha-256" }]);
    const wrong = new URL(server.url("owner"));
    wrong.password = "wrong";
    await expectSqlState(
      withClient(wrong.href, async () => {}),
      "28P01",
    );
  });

  test("sorts and folds letters the same on every system", async () => {
    const { rows } = await withClient(server.superuserUrl(), (client) =>
      client.query(
        "select datlocprovider, datlocale, lower('ÄŁ') as folded from pg_database where datname = 'plinth'",
      ),
    );
    expect(rows).toEqual([{ datlocprovider: "b", datlocale: "C.UTF-8", folded: "äł" }]);
  });

  test("lets the owner in as owner of the database, and as nothing more", async () => {
    const { rows } = await withClient(server.url("owner"), (client) =>
      client.query(
        `select current_user as name, rolsuper or rolcreaterole or rolbypassrls as powerful,
           (select pg_get_userbyid(datdba) from pg_database where datname = current_database()) as owner
         from pg_roles where rolname = current_user`,
      ),
    );
    const owner = roleName("plinth", "owner");
    expect(rows).toEqual([{ name: owner, powerful: false, owner }]);
  });

  test("refuses a second one on the same data, naming the process", async () => {
    await expect(openDatabase(config)).rejects.toMatchObject({
      code: "DATA_LOCKED",
      exitCode: 1,
      message: expect.stringContaining(`process ${process.pid}`),
    });
  });

  test("is there for commands, which leave it running", async () => {
    for (const database of [await attachDatabase(config), await runningDatabase(config)]) {
      expect(database.url("analyst")).toBe(server.url("analyst"));
      await database.close();
    }
    await withClient(server.url("worker"), (client) => client.query("select 1"));
  });
});

test("a command without a running server starts one for itself, and another waits its turn", async () => {
  const order: string[] = [];
  const command = async (name: string) => {
    const database = await attachDatabase(config, { settings: SETTINGS });
    order.push(`${name} begins`);
    await withClient(database.url("owner"), (client) => client.query("select pg_sleep(0.2)"));
    order.push(`${name} ends`);
    await database.close();
    await database.close();
  };
  await Promise.all([command("a"), command("b")]);

  const [first, second] = order[0] === "a begins" ? ["a", "b"] : ["b", "a"];
  expect(order).toEqual([`${first} begins`, `${first} ends`, `${second} begins`, `${second} ends`]);
  await expect(runningDatabase(config)).rejects.toMatchObject({ code: "DATABASE_NOT_RUNNING" });
});

test("a lost secrets.json is not replaced silently, but can be given up", async () => {
  const path = join(config.dataDirectory, "secrets.json");
  const old = readSecrets(config.dataDirectory)!;
  rmSync(path);
  await expect(openEmbedded(config)).rejects.toMatchObject({ code: "SECRETS_MISSING" });

  writeFileSync(path, "{}");
  const server = await openEmbedded(config, { settings: SETTINGS });
  try {
    expect(readSecrets(config.dataDirectory)!.passwords.owner).not.toBe(old.passwords.owner);
    await withClient(server.url("owner"), (client) => client.query("select 1"));
    await withClient(server.superuserUrl(), (client) => client.query("select 1"));
  } finally {
    await server.close();
  }
});

describe("what is in the way is named", () => {
  let blocker: Server;

  afterAll(() => {
    blocker?.close();
  });

  test("a port in use", async () => {
    blocker = createServer();
    const port = await new Promise<number>((resolve) => {
      blocker.listen(0, "127.0.0.1", () => resolve((blocker.address() as { port: number }).port));
    });
    await expect(openEmbedded({ ...config, embeddedPort: port })).rejects.toMatchObject({
      code: "DATABASE_PORT_IN_USE",
      hint: expect.stringContaining("PLINTH_DATABASE_PORT"),
      exitCode: 1,
    });
    expect(readSecrets(config.dataDirectory)!.databasePort).not.toBe(port);
  });

  test.each([
    ["19", "DATA_FROM_NEWER_VERSION"],
    ["17", "DATA_FROM_OLDER_VERSION"],
  ])("data of PostgreSQL %s", async (version, code) => {
    const path = join(config.dataDirectory, "postgres", "PG_VERSION");
    const own = readFileSync(path, "utf8");
    writeFileSync(path, `${version}\n`);
    try {
      await expect(openEmbedded(config)).rejects.toMatchObject({ code, exitCode: 1 });
    } finally {
      writeFileSync(path, own);
    }
  });

  test("a folder of something else", async () => {
    const dataDirectory = join(parent, "other");
    mkdirSync(join(dataDirectory, "postgres"), { recursive: true });
    writeFileSync(join(dataDirectory, "postgres", "notes.txt"), "mine");
    await expect(openEmbedded({ ...config, dataDirectory })).rejects.toMatchObject({
      code: "DATA_NOT_POSTGRES",
    });
    expect(readFileSync(join(dataDirectory, "postgres", "notes.txt"), "utf8")).toBe("mine");
  });

  test("a file instead of a folder", async () => {
    const dataDirectory = join(parent, "file");
    writeFileSync(dataDirectory, "");
    await expect(openEmbedded({ ...config, dataDirectory })).rejects.toMatchObject({
      code: "DATA_NOT_WRITABLE",
    });
  });

  test("an external server without a URL for the role, by the name of its variable", async () => {
    const url = "postgres://o:p@db.example.com/app?sslmode=verify-full";
    const database = await openDatabase({ ...config, databaseUrls: { owner: url } });
    expect(database.kind).toBe("external");
    expect(database.url("owner")).toBe(url);
    expect(() => database.url("worker")).toThrow(
      expect.objectContaining({
        code: "DATABASE_URL_MISSING",
        hint: expect.stringContaining("PLINTH_WORKER_URL"),
      }),
    );
  });
});

test("nothing of a closed server is left running", () => {
  expect(() => statSync(join(config.dataDirectory, "plinth.lock"))).toThrow();
  expect(() => statSync(join(config.dataDirectory, "postgres", "postmaster.pid"))).toThrow();
  const { stdout } = spawnSync("ps", ["-eo", "args="], { encoding: "utf8" });
  expect(stdout).not.toContain(`port=${readSecrets(config.dataDirectory)!.databasePort}`);
});
