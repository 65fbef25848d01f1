import { spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { roleName } from "../../src/config/roles.ts";
import { attachDatabase, openDatabase, runningDatabase } from "../../src/database/database.ts";
import { type EmbeddedServer, openEmbedded } from "../../src/database/embedded/server.ts";
import { loadSecrets, readSecrets } from "../../src/database/secrets.ts";
import { expectSqlState, withClient } from "../support/database.ts";

/** The folder in which a process runs, where the system tells it. */
function folderOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

/** Throw-away data without disk syncs. All statements are logged, so that a test can search for passwords. */
const SETTINGS = { fsync: "off", full_page_writes: "off", log_statement: "all" };

let parent: string;
let config: { dataDirectory: string; rolePrefix: string; embeddedPort: undefined; databaseUrls: object };

beforeAll(async () => {
  // As root, the server's user can enter neither; a clone below /root looks like this to it.
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
  test("creates folder and secrets that only their owner can read", () => {
    const modes = ["", "secrets.json", "postgres", "postgres.log"].map(
      (name) => statSync(join(config.dataDirectory, name)).mode & 0o777,
    );
    expect(modes).toEqual([0o700, 0o600, 0o700, 0o600]);
  });

  test("never writes a password to the server's log", () => {
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

  test("uses the port and the passwords of the first start", () => {
    const { databasePort, passwords } = loadSecrets(config.dataDirectory);
    expect(server.port).toBe(databasePort);
    expect(new URL(server.url("owner")).password).toBe(passwords.owner);
  });

  test("listens on this machine only and requires a password from every role", async () => {
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

  test("gives the owner ownership of the database, and nothing more", async () => {
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

  test("rejects a second one on the same data and names the process", async () => {
    await expect(openDatabase(config)).rejects.toMatchObject({
      code: "DATA_LOCKED",
      exitCode: 1,
      message: expect.stringContaining(`process ${process.pid}`),
    });
  });

  test("serves commands, which leave it running", async () => {
    for (const database of [await attachDatabase(config), await runningDatabase(config)]) {
      expect(database.url("analyst")).toBe(server.url("analyst"));
      await database.close();
    }
    await withClient(server.url("worker"), (client) => client.query("select 1"));
  });
});

test("starts a server for a command without a running one, and makes another command wait", async () => {
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

test("rejects a lost secrets.json, but replaces an emptied one", async () => {
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

describe("a failed start names", () => {
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

  test("a folder with other content", async () => {
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

  test("the variable of a role without a URL on an external server", async () => {
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

test("leaves no process of a closed server running", () => {
  expect(() => statSync(join(config.dataDirectory, "plinth.lock"))).toThrow();
  expect(() => statSync(join(config.dataDirectory, "postgres", "postmaster.pid"))).toThrow();
  const { stdout } = spawnSync("ps", ["-eo", "pid=,args="], { encoding: "utf8" });
  const onOurPort = stdout
    .split("\n")
    .filter((line) => line.includes(`port=${readSecrets(config.dataDirectory)!.databasePort}`));
  // Another test's server may have taken the free port since.
  const cluster = join(config.dataDirectory, "postgres");
  expect(onOurPort.filter((line) => (folderOf(Number.parseInt(line, 10)) ?? cluster) === cluster)).toEqual(
    [],
  );
});
