import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { generateMasterKey, parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { parseSigningKeys } from "../../src/auth/signing-keys.ts";
import { registerUser } from "../support/accounts.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { tablesWith } from "../support/whole-database.ts";
import { cli, databaseEnv } from "./run-cli.ts";

const ONE = generateMasterKey(1);
const BOTH = `${ONE},${generateMasterKey(2)}`;

let db: TestDatabase;
let folder: string;
let ada: string;
beforeAll(async () => {
  db = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "plinth-keys-"));
  ada = await registerUser(db, "ada");
  const sealed = createSealer(parseMasterKeys(ONE)).seal("user key", "secret", ada);
  await rows("insert into private.user_keys (user_id, wrapped_key) values ($1, $2)", [ada, sealed]);
});
afterAll(async () => {
  await db.drop();
  await rm(folder, { recursive: true, force: true });
});

const rows = rowsAs("owner", () => db);
const keys = (args: string[], PLINTH_MASTER_KEYS: string, more: Record<string, string> = {}) =>
  cli(["keys", ...args], { env: { ...databaseEnv(db), PLINTH_MASTER_KEYS, ...more } });

describe("keys generate", () => {
  test("prints keys in the format of the settings", async () => {
    const [master, jwt, asymmetric] = await Promise.all([
      cli(["keys", "generate", "--key-version", "7"]),
      cli(["keys", "generate", "--kind", "jwt"]),
      cli(["keys", "generate", "--kind", "jwt-asymmetric", "--json"]),
    ]);
    expect(parseMasterKeys(master.stdout).current).toBe(7);
    expect(parseSigningKeys(jwt.stdout)[0]!.algorithm).toBe("HS256");
    const { kind, key } = JSON.parse(asymmetric.stdout);
    expect([kind, parseSigningKeys(key)[0]!.algorithm]).toEqual(["jwt-asymmetric", "ES256"]);
  });
  test("rejects an invalid version or kind", async () => {
    expect((await cli(["keys", "generate", "--key-version", "0"])).code).toBe(2);
    expect((await cli(["keys", "generate", "--kind", "rsa"])).code).toBe(2);
  });
});

test("rotate fails without a new key, re-encrypts with one and can be repeated; status reports the result [H11]", async () => {
  const alone = await keys(["rotate"], ONE);
  expect([alone.code, alone.stdout]).toEqual([1, ""]);
  expect(alone.stderr).toMatch(/No master key is newer than version 1/);

  const lost = await keys(["rotate"], generateMasterKey(2));
  expect(lost.code).toBe(1);
  expect(lost.stderr).toMatch(/Master key version 1 is missing/);

  const before = JSON.parse((await keys(["status", "--json"], BOTH)).stdout);
  expect(before).toMatchObject({ current: 2, versions: [1, 2], missing: [], unused: [], behind: 1 });

  const done = await keys(["rotate", "--json"], BOTH);
  expect([done.code, done.stderr]).toEqual([0, ""]);
  expect(JSON.parse(done.stdout)).toEqual({ version: 2, rotated: 1, damaged: [], needsRestart: false });
  const again = await keys(["rotate"], BOTH);
  expect([again.code, again.stdout]).toEqual([0, "All secrets are sealed with version 2.\n"]);

  const after = await keys(["status"], BOTH);
  expect(after.stdout).toMatch(/private\.user_keys\.wrapped_key: 1 under version 2/);
  expect(after.stdout).toMatch(/No longer in use here: version 1\./);
  for (const { stdout, stderr } of [alone, lost, done, again, after])
    for (const secret of [ONE, BOTH].flatMap((text) => text.split(",")).map((text) => text.slice(2)))
      expect(stdout + stderr).not.toContain(secret);

  const missing = JSON.parse((await keys(["status", "--json"], ONE)).stdout);
  expect(missing).toMatchObject({ current: 1, missing: [2], behind: 1 });
});

test("reads keys from a file, which others must not be able to read [H11]", async () => {
  const path = join(folder, "master-keys");
  await writeFile(path, BOTH.replace(",", ",\n"), { mode: 0o600 });
  const fromFile = await keys(["status", "--json"], "", { PLINTH_MASTER_KEYS_FILE: path });
  expect(JSON.parse(fromFile.stdout)).toMatchObject({ versions: [1, 2] });
  await writeFile(join(folder, "open"), BOTH, { mode: 0o644 });
  const open = await keys(["status"], "", { PLINTH_MASTER_KEYS_FILE: join(folder, "open") });
  expect([open.code, open.stdout]).toEqual([1, ""]);
  expect(open.stderr).toMatch(/others can read or write/);
});

test("rejects --new if the keys are not in secrets.json", async () => {
  const { code, stderr } = await keys(["rotate", "--new"], BOTH);
  expect([code, stderr]).toEqual([1, expect.stringMatching(/not in secrets\.json/)]);
});

describe("accounts created on the command line [S1]", () => {
  const create = (name: string, env: Record<string, string>) =>
    cli(["user", "create", name, "--email", `${name}@canary.example`, "--generate-password", "--json"], {
      env: { ...databaseEnv(db), ...env },
    });

  test("keep hash and address; in privacy mode only the hash, without keys only the address", async () => {
    expect((await create("both", { PLINTH_MASTER_KEYS: BOTH })).code).toBe(0);
    expect((await create("clear", {})).code).toBe(0);
    const hidden = await create("hidden", { PLINTH_MASTER_KEYS: BOTH, PLINTH_PRIVACY_MODE: "true" });
    expect(hidden.code).toBe(0);
    const { username: pseudonym } = JSON.parse(hidden.stdout);
    expect(pseudonym).toMatch(/^user-[0-9a-f]{32}$/);
    expect((await create("none", { PLINTH_PRIVACY_MODE: "true" })).stderr).toMatch(
      /Privacy mode needs PLINTH_MASTER_KEYS/,
    );
    expect(
      await rows(
        "select username, email, hashed_email is not null as hashed from identity.users where username in ('both', 'clear', 'hidden', 'none', $1) order by 1",
        [pseudonym],
      ),
    ).toEqual([
      { username: "both", email: "both@canary.example", hashed: true },
      { username: "clear", email: "clear@canary.example", hashed: false },
      { username: pseudonym, email: null, hashed: true },
    ]);
    expect(await tablesWith(db, "hidden@canary")).toEqual([]);
    const taken = await cli(
      ["user", "create", "other", "--email", " HIDDEN@canary.example", "--generate-password"],
      { env: { ...databaseEnv(db), PLINTH_MASTER_KEYS: BOTH } },
    );
    expect([taken.code, taken.stderr]).toEqual([1, expect.stringMatching(/already/)]);
  });

  test("get a missing hash, and lose the address on request", async () => {
    const outcome = JSON.parse((await keys(["hash-emails", "--json"], BOTH)).stdout);
    expect(outcome).toEqual({ hashed: 2, forgotten: 0, taken: [] }); // ada and clear
    expect(await rows("select from identity.users where hashed_email is null")).toEqual([]);
    const forgotten = JSON.parse((await keys(["hash-emails", "--forget-addresses", "--json"], BOTH)).stdout);
    expect(forgotten).toEqual({ hashed: 0, forgotten: 3, taken: [] });
    expect(await tablesWith(db, "@canary.example")).toEqual([]);
    expect(await rows("select from identity.users where hashed_email is null")).toEqual([]);
  });
});
