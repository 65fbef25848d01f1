import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { registerUser } from "../support/accounts.ts";
import { createTestDatabase, expectSqlState, rowsAs, type TestDatabase } from "../support/database.ts";

// A10 as an application uses it: over its own connection as the service role.

let db: TestDatabase;
let ada: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
});
afterAll(async () => {
  await db.drop();
});
const asOwner = rowsAs("owner", () => db);
const asService = rowsAs("service", () => db);

const UNKNOWN = "00000000-0000-7000-8000-00000000dead";
const track = async (
  ...attempt: [string | null, string | null, string | null, string | null, string, string | null]
) => {
  const [row] = await asService("select security.track_login_attempt($1, $2, $3, $4, $5, $6) as id", attempt);
  const [stored] = await asOwner(
    `select user_id, email, host(ip_address) as ip, user_agent, status, failure_reason
     from security.login_attempts where id = $1`,
    [row.id],
  );
  return stored;
};
const failures = async () =>
  (await asOwner("select failed_login_attempts as n from identity.users where id = $1", [ada]))[0].n;

test("records and counts attempts for the service role", async () => {
  expect(await track(ada, "ADA@example.com", "192.0.2.7", "curl/8", "failed", "wrong_password")).toEqual({
    user_id: ada,
    email: "ada@example.com",
    ip: "192.0.2.7",
    user_agent: "curl/8",
    status: "failed",
    failure_reason: "wrong_password",
  });
  expect(await failures()).toBe(1);
  expect(await track(ada, "ada", "192.0.2.7", "curl/8", "success", null)).toMatchObject({
    status: "success",
  });
  expect(await failures()).toBe(0);
});

test("rejects every other role of an application", async () => {
  for (const role of ["authenticator", "worker", "analyst"] as const)
    await expectSqlState(
      rowsAs(role, () => db)("select security.track_login_attempt($1, 'ada', null, null, 'success', null)", [
        ada,
      ]),
      "42501",
    );
});

describe("track_login_attempt accepts", () => {
  test.each([
    ["no account", null],
    ["an account that does not exist", UNKNOWN],
  ])("%s", async (_, id) => {
    expect(
      await track(id, "nobody@example.com", "192.0.2.7", "curl/8", "failed", "unknown_account"),
    ).toMatchObject({
      user_id: null,
      email: "nobody@example.com",
    });
  });

  test.each([
    ["192.0.2.7:51234", "192.0.2.7"],
    [" 192.0.2.7, 198.51.100.1", "192.0.2.7"],
    ["[2001:db8::7]:443", "2001:db8::7"],
    ["fe80::1%eth0", "fe80::1"],
    ["unknown", null],
    ["", null],
    ["300.1.2.3", null],
    [null, null],
  ])("the address %j", async (address, ip) => {
    expect(await track(null, "nobody", address, null, "failed", null)).toMatchObject({ ip });
  });

  test.each([
    ["a long value", "M".repeat(100_000), "M".repeat(1000)],
    ["an odd value", "\u0001\u202e\u{1f600} '; drop --", "\u0001\u202e\u{1f600} '; drop --"],
    ["an empty value", "", ""],
  ])("%s as user agent", async (_, userAgent, kept) => {
    expect(await track(null, "nobody", null, userAgent, "failed", null)).toMatchObject({ user_agent: kept });
  });

  test("an address that is far too long", async () => {
    expect(await track(null, "nobody", "x".repeat(10_000), null, "failed", null)).toMatchObject({ ip: null });
  });

  test("a long or odd name, a long reason, and a reason for a success", async () => {
    expect((await track(null, "N".repeat(100_000), null, null, "failed", "r".repeat(100_000))).email).toBe(
      "n".repeat(320),
    );
    expect((await track(null, "\u0130van@example.com", null, null, "failed", null)).email).not.toBe(
      (await track(null, "ivan@example.com", null, null, "failed", null)).email,
    );
    expect(await track(null, null, null, null, "failed", null)).toMatchObject({ email: null });
    expect(await track(ada, "ada", null, null, "success", "none")).toMatchObject({ failure_reason: null });
  });

  test("an address of the type inet", async () => {
    const [row] = await asService(
      "select security.track_login_attempt($1, 'ada', '192.0.2.9'::inet, null, 'challenged', null) as id",
      [ada],
    );
    expect(
      await asOwner("select host(ip_address) as ip from security.login_attempts where id = $1", [row.id]),
    ).toEqual([{ ip: "192.0.2.9" }]);
  });
});
