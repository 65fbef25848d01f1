import { execFileSync } from "node:child_process";
import { chownSync, cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Pool } from "pg";
import { loadConfig } from "../../src/config/config.ts";
import { withConnection } from "../../src/database/connection.ts";
import { ConstraintFields } from "../../src/request/constraint-fields.ts";
import { createPool } from "../../src/request/pool.ts";
import { isTransient, publicError } from "../../src/request/public-error.ts";
import { runStatement } from "../../src/request/transaction.ts";
import { until } from "../support/api.ts";
import { withClient } from "../support/client.ts";
import { type Primary, type Standby, startPrimary, startStandby } from "../support/standby.ts";

/** A primary with TLS and a streaming standby without, which takes over in the last tests. */
let primary: Primary;
let standby: Standby;
let certificates: string;

const hasOpenssl = (() => {
  try {
    return Boolean(execFileSync("openssl", ["version"]));
  } catch {
    return false;
  }
})();

beforeAll(async () => {
  primary = await startPrimary({ isMigrated: false });
  await withClient(primary.db.adminUrl, (client) => client.query("create table writes (n integer)"));
  standby = await startStandby(primary);
  await until(() =>
    withClient(standby.adminUrl, async (client) => {
      const { rows } = await client.query("select to_regclass('writes') is not null as has");
      return rows[0].has;
    }),
  );
  certificates = mkdtempSync(join(tmpdir(), "plinth-certificates-"));
});
afterAll(async () => {
  await standby?.close();
  await primary?.close();
  rmSync(certificates, { recursive: true, force: true });
});

const admin = (query: string) => withClient(primary.db.adminUrl, (client) => client.query(query));

/** A URL of both servers, the standby first. */
function bothUrl(attributes: string, order: "standby first" | "primary first" = "standby first"): string {
  const url = new URL(primary.db.adminUrl);
  const hosts = [`127.0.0.1:${new URL(standby.adminUrl).port}`, `127.0.0.1:${url.port}`];
  if (order === "primary first") hosts.reverse();
  return `postgres://${url.username}:${url.password}@${hosts.join(",")}${url.pathname}?target_session_attrs=${attributes}`;
}

async function portOf(url: string): Promise<string> {
  const { rows } = await withConnection({ connectionString: url }, (client) =>
    client.query("select inet_server_port()::text as port"),
  );
  return rows[0].port;
}

describe("target_session_attrs", () => {
  const serverOf = async (url: string) =>
    (await portOf(url)) === new URL(standby.adminUrl).port ? "standby" : "primary";

  test.each([
    ["any", "standby first", "standby"],
    ["any", "primary first", "primary"],
    ["read-write", "standby first", "primary"],
    ["primary", "standby first", "primary"],
    ["read-only", "primary first", "standby"],
    ["standby", "primary first", "standby"],
    ["prefer-standby", "primary first", "standby"],
  ] as const)("%s, %s: the %s", async (attributes, order, expected) => {
    expect(await serverOf(bothUrl(attributes, order))).toBe(expected);
  });

  test("prefer-standby takes the primary if there is no standby", async () => {
    expect(await serverOf(`${primary.db.adminUrl.split("?")[0]}?target_session_attrs=prefer-standby`)).toBe(
      "primary",
    );
  });

  test("rejects hosts of another state with the reason of each, which a retry may change", async () => {
    const { username, password, port, pathname } = new URL(standby.adminUrl);
    const url = `postgres://${username}:${password}@127.0.0.1:${port},127.0.0.1:1${pathname}?target_session_attrs=read-write`;
    const error = await portOf(url).catch((cause: unknown) => cause as Error);
    expect(error).toMatchObject({ code: "NO_SUITABLE_HOST" });
    expect((error as Error).message).toMatch(
      `No host accepts read-write sessions: 127.0.0.1:${port} is a standby; 127.0.0.1:1: connect ECONNREFUSED`,
    );
    expect((error as Error).message).not.toContain(decodeURIComponent(password));
    expect(isTransient(error)).toBe(true);
  });

  test("a wrong password is reported at once and not tried at the next host", async () => {
    const url = bothUrl("any").replace(/:[^:@]*@/, ":wrong@");
    await expect(portOf(url)).rejects.toMatchObject({ code: "28P01" });
  });
});

(hasOpenssl ? describe : describe.skip)("sslmode, as libpq has it", () => {
  const file = (name: string) => join(certificates, name);
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: certificates, stdio: "pipe" });

  beforeAll(async () => {
    for (const name of ["ca", "other"])
      openssl(
        ..."req -x509 -newkey rsa:2048 -nodes -days 2".split(" "),
        "-subj",
        `/CN=${name}`,
        "-keyout",
        `${name}.key`,
        "-out",
        `${name}.pem`,
      );
    openssl(
      ..."req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr".split(" "),
    );
    writeFileSync(file("names"), "subjectAltName=DNS:localhost");
    openssl(
      ..."x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt".split(
        " ",
      ),
    );
    const data = join(primary.folder, "postgres");
    const { uid, gid } = statSync(data);
    for (const name of ["server.key", "server.crt"]) {
      cpSync(file(name), join(data, name));
      chownSync(join(data, name), uid, gid);
    }
    await admin("alter system set ssl = on");
    await admin("select pg_reload_conf()");
    await until(() => isEncrypted("sslmode=require").catch(() => false));
  });

  async function isEncrypted(query: string, { host = "127.0.0.1", url = primary.db.adminUrl } = {}) {
    const { username, password, port, pathname } = new URL(url);
    const connectionString = `postgres://${username}:${password}@${host}:${port}${pathname}?${query}`;
    const { rows } = await withConnection({ connectionString }, (client) =>
      client.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()"),
    );
    return rows[0].ssl as boolean;
  }

  test.each([
    ["sslmode=disable", false],
    ["sslmode=allow", false],
    ["sslmode=prefer", true],
    ["sslmode=require", true],
    ["sslmode=no-verify", true],
    ["sslmode=require&channel_binding=require", true],
    ["sslmode=require&channel_binding=disable", true],
  ])("%s on a server with an unknown certificate: encrypted is %s", async (query, expected) => {
    expect(await isEncrypted(query)).toBe(expected);
  });

  test.each(["require", "verify-ca", "verify-full"])("sslmode=%s checks a named authority", async (mode) => {
    const at = { host: "localhost" };
    expect(await isEncrypted(`sslmode=${mode}&sslrootcert=${file("ca.pem")}`, at)).toBe(true);
    await expect(isEncrypted(`sslmode=${mode}&sslrootcert=${file("other.pem")}`, at)).rejects.toMatchObject({
      code: expect.stringMatching(/^(UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT_LOCALLY)$/),
    });
  });

  test("only verify-full checks the host's name [A12]", async () => {
    const root = `sslrootcert=${file("ca.pem")}`;
    expect(await isEncrypted(`sslmode=verify-ca&${root}`)).toBe(true);
    await expect(isEncrypted(`sslmode=verify-full&${root}`)).rejects.toMatchObject({
      code: "ERR_TLS_CERT_ALTNAME_INVALID",
    });
  });

  test.each(["verify-ca", "verify-full", "verify-full&sslrootcert=system"])(
    "sslmode=%s without the authority rejects the certificate",
    async (mode) => {
      await expect(isEncrypted(`sslmode=${mode}`, { host: "localhost" })).rejects.toThrow(/certificate/);
    },
  );

  test("on a server without TLS, prefer connects and require does not", async () => {
    const url = standby.adminUrl;
    expect(await isEncrypted("sslmode=prefer", { url })).toBe(false);
    await expect(isEncrypted("sslmode=require", { url })).rejects.toThrow("does not support SSL");
  });

  test("channel_binding=require rejects a connection without TLS before the password is sent", async () => {
    await expect(isEncrypted("sslmode=disable&channel_binding=require")).rejects.toMatchObject({
      code: "NO_CHANNEL_BINDING",
    });
  });

  test("allow encrypts when the server rejects what is not encrypted", async () => {
    const rules = join(primary.folder, "postgres", "pg_hba.conf");
    const before = readFileSync(rules, "utf8");
    writeFileSync(rules, `hostnossl all all all reject\n${before}`);
    await admin("select pg_reload_conf()");
    try {
      await until(() => isEncrypted("sslmode=allow"));
      await expect(isEncrypted("sslmode=disable")).rejects.toMatchObject({ code: "28000" });
    } finally {
      writeFileSync(rules, before);
      await withConnection(
        { connectionString: primary.db.adminUrl.replace("=disable", "=require") },
        (client) => client.query("select pg_reload_conf()"),
      );
      await until(() =>
        isEncrypted("sslmode=disable").then(
          () => true,
          () => false,
        ),
      );
    }
  });
});

describe("after a failover", () => {
  let pool: Pool;
  const write = async () => {
    const { rows } = await runStatement<{ port: string }>(
      pool,
      { statement_timeout: "120000" },
      { text: "insert into writes values (1) returning inet_server_port()::text as port" },
    );
    return rows[0]!.port;
  };

  beforeAll(() => {
    pool = createPool({
      url: bothUrl("read-write", "primary first"),
      applicationName: "failover test",
      max: 3,
      settings: loadConfig({
        PLINTH_STATEMENT_TIMEOUT_MS: "120000",
        PLINTH_POOL_CONNECTION_TIMEOUT_MS: "120000",
      }).pool,
      onError: () => {},
    });
  });
  afterAll(() => pool.end());

  test("the pool leaves a primary that has become read-only, with all its connections [A12]", async () => {
    const clients = await Promise.all([1, 2, 3].map(() => pool.connect()));
    for (const client of clients) client.release();
    expect(await write()).toBe(new URL(primary.db.adminUrl).port);
    await standby.promote();
    await admin("alter system set default_transaction_read_only = on");
    await admin("select pg_reload_conf()");
    let failure: unknown;
    await until(() =>
      write().then(
        () => false,
        (error: unknown) => {
          failure = error;
          return true;
        },
      ),
    );
    expect(publicError(failure, new ConstraintFields(), "")).toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("read-only"),
    });
    const later = await Promise.all([write(), write(), write()]);
    expect(new Set(later)).toEqual(new Set([new URL(standby.adminUrl).port]));
  });

  test("the pool finds the new primary when the old one does not answer", async () => {
    await primary.close();
    for (let n = pool.idleCount; n > 0; n--) (await pool.connect()).release(true);
    expect(await write()).toBe(new URL(standby.adminUrl).port);
  });
});
