import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createPasswordHasher } from "../../src/auth/password-hash.ts";
import { MODEL_FIXTURES, makeFolder, PROMPT_FIXTURE } from "../import/files.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { untilWaiting, whileLocked } from "../support/waiting.ts";
import { cli, databaseEnv, outcomeOf, startCli } from "./run-cli.ts";

// The commands as users run them, on an external server.

let db: TestDatabase;
let env: Record<string, string>;
let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeAll(async () => {
  db = await createTestDatabase();
  env = databaseEnv(db);
  folder = await makeFolder();
});
afterAll(async () => {
  await db.drop();
  await folder.remove();
});

const json = async (...args: string[]) => {
  const { code, stdout } = await cli([...args, "--json"], { env });
  return { code, ...JSON.parse(stdout) };
};
const rows = rowsAs("owner", () => db);

describe("user create", () => {
  const GOOD = "a sentence nobody guesses";

  test("reads the password from stdin and creates an account that it opens", async () => {
    const { code, stdout, stderr } = await cli(
      ["user", "create", "Ada", "--email", "Ada@Example.com", "--display-name", "Ada L.", "--password-stdin"],
      { env, stdin: `${GOOD}\n` },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).not.toContain(GOOD);
    const [account] = await rows(
      `select u.username, u.email, s.display_name, p.password_hash
       from identity.users u
       join identity.user_settings s on s.user_id = u.id
       join private.user_passwords p on p.user_id = u.id`,
    );
    expect(account).toMatchObject({ username: "ada", email: "ada@example.com", display_name: "Ada L." });
    const hasher = createPasswordHasher({ concurrency: 1 });
    expect(await hasher.verify(GOOD, account.password_hash)).toBe(true);
    await hasher.close();
  });

  test("generates a password and prints it once", async () => {
    const account = await json(
      "user",
      "create",
      "grace",
      "--email",
      "grace@example.com",
      "--generate-password",
    );
    expect(account).toEqual({
      code: 0,
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      username: "grace",
      email: "grace@example.com",
      password: expect.stringMatching(/^[\w-]{20,}$/),
    });
  });

  test.each([
    ["a taken name", "ada", "other@example.com", GOOD, 1],
    ["a taken address", "other", "ada@example.com", GOOD, 1],
    ["an invalid name", "no spaces", "other@example.com", GOOD, 1],
    ["an invalid address", "other", "nowhere", GOOD, 1],
    ["a weak password", "other", "other@example.com", "short", 1],
    ["no password", "other", "other@example.com", "", 1],
  ])("rejects %s in a sentence", async (_what, username, email, password, expected) => {
    const { code, stdout, stderr } = await cli(
      ["user", "create", username, "--email", email, "--password-stdin"],
      { env, stdin: `${password}\n` },
    );
    expect({ code, stdout }).toEqual({ code: expected, stdout: "" });
    expect(stderr).toMatch(/^error: .*\n(hint: .*\n)?$/);
    expect(await rows("select from identity.users where username = 'other'")).toEqual([]);
  });

  test("reports wrong usage without a terminal and without an option for the password", async () => {
    expect(await cli(["user", "create", "x", "--email", "x@y.z"], { env })).toMatchObject({
      code: 2,
      stdout: "",
    });
  });
});

describe("user grant", () => {
  const rolesOf = (username: string) =>
    rows(
      `select r.role_name, ur.expires_at
       from access.user_roles ur
       join access.roles r on r.id = ur.role_id
       join identity.users u on u.id = ur.user_id
       where u.username = $1 and r.role_name <> 'user'`,
      [username],
    );

  test("grants a role, also for a limited time, and revokes it", async () => {
    expect(await json("user", "grant", "Ada", "moderator")).toMatchObject({ code: 0, granted: true });
    expect(await rolesOf("ada")).toEqual([{ role_name: "moderator", expires_at: null }]);
    await json("user", "grant", "ada", "moderator", "--expires", "2099-01-31", "--reason", "Covers for Bob.");
    expect(await rolesOf("ada")).toEqual([
      { role_name: "moderator", expires_at: new Date("2099-01-31T00:00:00Z") },
    ]);
    expect(await rows("select reason from access.user_roles where reason is not null")).toEqual([
      { reason: "Covers for Bob." },
    ]);
    expect(await json("user", "grant", "ada", "moderator", "--revoke")).toMatchObject({
      code: 0,
      granted: false,
    });
    expect(await rolesOf("ada")).toEqual([]);
  });

  test("does not revoke the role admin from the last administrator", async () => {
    expect(await json("user", "grant", "ada", "admin")).toMatchObject({ code: 0 });
    const { code, stderr } = await cli(["user", "grant", "ada", "admin", "--revoke"], { env });
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^error: At least one administrator .*\nhint: First grant .*\n$/),
    });
    expect(await rolesOf("ada")).toEqual([{ role_name: "admin", expires_at: null }]);
  });

  test.each([
    ["nobody", ["nobody", "admin"]],
    ["an unknown role", ["ada", "emperor"]],
    ["a time in the past", ["ada", "admin", "--expires", "2001-01-01"]],
    ["a role that the user does not have", ["ada", "moderator", "--revoke"]],
    ["an empty reason", ["ada", "moderator", "--reason", ""]],
  ])("rejects %s in a sentence", async (_what, args) => {
    const { code, stdout, stderr } = await cli(["user", "grant", ...(args as string[])], { env });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: .*\n$/);
  });

  test("lists the roles", async () => {
    const { stderr } = await cli(["user", "grant", "ada", "emperor"], { env });
    expect(stderr).toMatch(/emperor.* admin, .*moderator, .*user/);
  });
});

describe("import", () => {
  test("imports prompts and models with a summary as text and as JSON; a second import changes nothing", async () => {
    const { code, stdout, stderr } = await cli(["import", "prompts", PROMPT_FIXTURE], { env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^6 inserted, 0 updated, 0 unchanged, 0 rejected in \d+\.\d s\n$/);
    expect(await json("import", "prompts", PROMPT_FIXTURE)).toMatchObject({
      code: 0,
      inserted: 0,
      unchanged: 6,
    });
    expect(await json("import", "models", MODEL_FIXTURES, "--public")).toMatchObject({
      code: 0,
      inserted: 4,
    });
    expect(await rows("select from llm.models where is_public")).toHaveLength(4);
    expect(await json("import", "models", MODEL_FIXTURES)).toMatchObject({ code: 0, unchanged: 4 });
  });

  test("names bad lines, keeps nothing and exits with 1; with --keep-going it keeps the rest", async () => {
    const file = await folder.write(
      "bad.csv",
      "act,prompt,for_devs,type,contributor\nnew,text,FALSE,TEXT,ada\nbad\u001b[31m,,FALSE,TEXT,ada\n",
    );
    const strict = await cli(["import", "prompts", file], { env });
    expect(strict.code).toBe(1);
    expect(strict.stderr).toContain("bad.csv:3:");
    // Names come from a file and must not reach the terminal unescaped.
    expect(strict.stderr).not.toContain("\u001b");
    expect(await rows("select from llm.prompts where name = 'new'")).toEqual([]);

    expect(await json("import", "prompts", file, "--keep-going")).toMatchObject({
      code: 1,
      inserted: 1,
      rejected: 1,
      kept: true,
      rejections: [{ file: "bad.csv", line: 3 }],
    });
    expect(await rows("select from llm.prompts where name = 'new'")).toHaveLength(1);
  });

  test("reports a missing file in a sentence", async () => {
    const { code, stdout, stderr } = await cli(["import", "prompts", `${folder.path}/none.csv`], { env });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: .*none\.csv.*\n$/);
  });

  test("undoes everything on Ctrl-C and exits with 130", async () => {
    const lines = Array.from({ length: 200_000 }, (_, index) => `many ${index},text,FALSE,TEXT,ada`);
    const file = await folder.write(
      "many.csv",
      ["act,prompt,for_devs,type,contributor", ...lines].join("\n"),
    );
    // Its first rows wait for a lock that the test holds until Ctrl-C.
    await rows(`
      create function llm.wait_for_test() returns trigger language plpgsql
        as $$ begin perform pg_advisory_xact_lock(1); return null; end $$;
      create trigger waits after insert on llm.prompts for each statement execute function llm.wait_for_test()`);
    try {
      const { child, outcome } = await whileLocked(db, [["select pg_advisory_xact_lock(1)"]], async () => {
        const child = startCli(["import", "prompts", file], env);
        const outcome = outcomeOf(child);
        await untilWaiting(db);
        child.kill("SIGINT");
        return { child, outcome };
      });
      expect([child.signalCode, await outcome]).toMatchObject([null, { code: 130, stdout: "" }]);
      expect(await rows("select from llm.prompts where name like 'many%'")).toEqual([]);
    } finally {
      await rows("drop function llm.wait_for_test() cascade");
    }
  });
});

describe("migrate", () => {
  test("finds nothing to do and reports it as JSON", async () => {
    expect(await json("migrate")).toEqual({ code: 0, applied: [] });
    const status = await json("migrate", "status");
    expect(status).toMatchObject({ code: 0, pending: [] });
    expect(status.applied.length).toBeGreaterThan(0);
  });

  test("prints the script that creates the roles, without a database", async () => {
    const { code, stdout, stderr } = await cli(["migrate", "--print-roles"], {
      env: { PLINTH_ROLE_PREFIX: "shop", PLINTH_OWNER_URL: "postgres://nobody@127.0.0.1:1/nowhere" },
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("'shop_authenticator'");
    expect(stdout).toContain("owner to %I', v_database.datname, 'nobody')");
    expect(stdout).not.toContain("shop_owner");
  });
});

test("rollback without a terminal needs --yes, and changes nothing without it", async () => {
  expect(await cli(["rollback"], { env })).toMatchObject({ code: 2, stdout: "" });
  expect((await json("migrate", "status")).pending).toEqual([]);
  // The commands before have ended, but perhaps not yet their sessions on the server.
  const others =
    "select from pg_stat_activity where datname = current_database() and application_name like 'plinth%' and application_name <> 'plinth tests'";
  await until(async () => (await rows(others)).length === 0);
  const { stdout, stderr } = await withClient(db.url("service"), () =>
    cli(["rollback", "--yes", "--json"], { env }),
  );
  expect(stderr).toContain("1 session of Plinth's roles is connected. Stop plinth serve and plinth work");
  const taken = { code: 0, ...JSON.parse(stdout) };
  expect(taken).toMatchObject({ code: 0, rolledBack: [expect.stringMatching(/\.sql$/)] });
  expect((await json("migrate", "status")).pending).toEqual(taken.rolledBack);
  expect(await json("migrate")).toMatchObject({ code: 0, applied: taken.rolledBack });
});

test("schema check runs all migrations without a configured server and finds the committed files fresh", async () => {
  const { code, stdout } = await cli(["schema", "check", "--json"]);
  expect({ code, ...JSON.parse(stdout) }).toEqual({ code: 0, fresh: true, stale: [] });
});

describe("db url", () => {
  test("prints the configured URL of an external server", async () => {
    const { code, stdout } = await cli(["db", "url", "--role", "analyst"], { env });
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${db.url("analyst")}\n` });
  });

  test("reports in a sentence that no Plinth is running, and starts none", async () => {
    const { code, stdout } = await cli(["db", "url", "--role", "analyst"], {
      env: { PLINTH_DATA: folder.path },
    });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  });
});

test("exits normally if the reader closes the pipe early", async () => {
  const child = startCli(["migrate", "--print-roles"], env);
  child.stdout!.destroy();
  let stderr = "";
  child.stderr!.on("data", (text) => {
    stderr += text;
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});

test.each([
  ["migrate", "status"],
  ["keys", "status"],
  ["rollback", "--yes"],
  ["export", "content", "content.ndjson"],
])("%s %s creates no database where none exists, and says what to do", async (...args) => {
  const empty = await mkdtemp(join(tmpdir(), "plinth-empty-"));
  try {
    const { code, stderr } = await cli(args, { env: { PLINTH_DATA: join(empty, "data") } });
    expect(code).toBe(1);
    expect(stderr).toMatch(/contains no database.*PLINTH_DATA.*plinth start/s);
    expect(await readdir(empty)).toEqual([]);
  } finally {
    await rm(empty, { recursive: true });
  }
});
