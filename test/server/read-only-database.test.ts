import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { at, deliver, event, subscription, WEBHOOK_SECRET } from "../billing/stripe.ts";
import { type Api, codeOf, PASSWORD, type SignedIn, send, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

/**
 * A standby makes every transaction read-only, as default_transaction_read_only does: the setting transaction_read_only
 * reports it, and writes fail with the same SQLSTATE.
 */
let db: TestDatabase;
let writable: Api;
let ada: SignedIn;
let api: Api;

beforeAll(async () => {
  db = await createTestDatabase();
  writable = await startApi(db);
  ada = await signUp(writable, "ada");
});
afterAll(async () => {
  await writable.close();
  await db.drop();
});

/** The database may answer late. */
const untilReadOnly = () =>
  until(async () => {
    const { status, json } = await send(api.url, { method: "GET", path: "/readyz", body: null });
    return status === 503 && json.checks.database === "read-only";
  });

async function setReadOnly(role: string, value: "on" | "off"): Promise<void> {
  await withClient(db.adminUrl, (client) =>
    client.query(
      `alter role ${db.rolePrefix}_${role} in database ${db.name} set default_transaction_read_only = ${value}`,
    ),
  );
}

describe("a read-only database", () => {
  beforeAll(async () => {
    for (const role of ["authenticator", "service"]) await setReadOnly(role, "on");
    api = await startApi(db, { PLINTH_STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET });
  });
  afterAll(async () => {
    await api.close();
    for (const role of ["authenticator", "service"]) await setReadOnly(role, "off");
  });

  test.each<[string, string]>([
    ["login", `mutation { login(input: { identifier: "ada", password: "${PASSWORD}" }) { accessToken } }`],
    [
      "register",
      `mutation { register(input: { username: "bob", email: "bob@example.org", password: "${PASSWORD}" }) { accessToken } }`,
    ],
    [
      "requestPasswordReset",
      `mutation { requestPasswordReset(input: { identifier: "ada" }) { __typename } }`,
    ],
  ])("returns UNAVAILABLE for a visitor's %s", async (_field, mutation) => {
    expect(codeOf(await api.ask(mutation))).toBe("UNAVAILABLE");
  });

  test("returns UNAVAILABLE for a user's mutation and answers a query", async () => {
    const room = `mutation { createRoom(input: { name: "room", roomType: group }) { result { id } } }`;
    expect(codeOf(await api.ask(room, { token: ada.token }))).toBe("UNAVAILABLE");
    const { data } = await api.ask("{ currentUser { id } }", { token: ada.token });
    expect(data.currentUser.id).toBe(ada.userId);
  });

  test("returns UNAVAILABLE for an event of the payment provider, so that it is sent again", async () => {
    const object = subscription("sub_1", {
      customer: "cus_1",
      status: "active",
      price: "price_1",
      start: "2026-01-01",
      end: "2026-02-01",
    });
    const { status, text } = await deliver(
      api.url,
      event("evt_1", "customer.subscription.created", at("2026-01-01"), object),
    );
    expect([status, JSON.parse(text).errors[0].extensions.code]).toEqual([503, "UNAVAILABLE"]);
  });

  test("makes readyz return 503 and the reason", async () => {
    await untilReadOnly();
  });
});

test.each(["authenticator", "service"])(
  "readyz returns 503 when only the role %s cannot write",
  async (role) => {
    await setReadOnly(role, "on");
    api = await startApi(db);
    try {
      await untilReadOnly();
    } finally {
      await api.close();
      await setReadOnly(role, "off");
    }
  },
);
