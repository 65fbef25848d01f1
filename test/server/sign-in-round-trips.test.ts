import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Api, PASSWORD, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { roundTripsOf } from "../support/work-of.ts";

let db: TestDatabase;
let api: Api;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  await signUp(api, "ada");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

async function send(mutation: string): Promise<{ trips: string[][]; data: Record<string, string> }> {
  let data: Record<string, string> = {};
  const trips = await roundTripsOf(async () => {
    const answer = await api.ask(`mutation { result: ${mutation} }`);
    expect(answer.errors).toBeUndefined();
    data = answer.data.result;
  });
  return { trips, data };
}

const login = (identifier: string) =>
  `login(input: { identifier: "${identifier}", password: "${PASSWORD}" }) { accessToken refreshToken }`;

test("signs in with two round trips: one before the password is hashed and one after it", async () => {
  for (const identifier of ["ada", "Ada@Example.org"]) {
    const { trips, data } = await send(login(identifier));
    expect(data.accessToken).toBeTruthy();
    expect(trips).toHaveLength(2);
  }
});

test("refreshes with one round trip", async () => {
  const { data } = await send(login("ada"));
  const { trips, data: refreshed } = await send(
    `refresh(input: { refreshToken: "${data.refreshToken}" }) { accessToken refreshToken }`,
  );
  expect(refreshed.refreshToken).not.toBe(data.refreshToken);
  expect(trips).toHaveLength(1);
});
