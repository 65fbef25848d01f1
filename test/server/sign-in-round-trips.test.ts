import { afterAll, afterEach, beforeAll, expect, jest, test } from "@jest/globals";
import pg from "pg";
import { type Api, PASSWORD, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let api: Api;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  await signUp(api, "ada");
});
afterEach(() => {
  jest.restoreAllMocks();
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

/** Sends a mutation and counts how often it takes a connection: each time for one statement, which is one round trip. */
async function roundTripsOf(mutation: string): Promise<{ trips: number; data: Record<string, string> }> {
  const connect = jest.spyOn(pg.Pool.prototype, "connect");
  const { data, errors } = await api.ask(`mutation { result: ${mutation} }`);
  const trips = connect.mock.calls.length;
  connect.mockRestore();
  expect(errors).toBeUndefined();
  return { trips, data: data.result };
}

const login = (identifier: string) =>
  `login(input: { identifier: "${identifier}", password: "${PASSWORD}" }) { accessToken refreshToken }`;

test("signs in with two round trips: one before the password is hashed and one after it", async () => {
  await roundTripsOf(login("ada")); // takes the caller's share of the rate limit
  for (const identifier of ["ada", "Ada@Example.org"]) {
    const { trips, data } = await roundTripsOf(login(identifier));
    expect(data.accessToken).toBeTruthy();
    expect(trips).toBe(2);
  }
});

test("refreshes with one round trip", async () => {
  const { data } = await roundTripsOf(login("ada"));
  const { trips, data: refreshed } = await roundTripsOf(
    `refresh(input: { refreshToken: "${data.refreshToken}" }) { accessToken refreshToken }`,
  );
  expect(refreshed.refreshToken).not.toBe(data.refreshToken);
  expect(trips).toBe(1);
});
