import { expect, test } from "@jest/globals";
import { pino } from "pino";
import { startActivity } from "../../src/accounts/last-activity.ts";
import type { Claims } from "../../src/auth/api-token.ts";
import type { CallPrivateFunction } from "../../src/request/service-caller.ts";
import { until } from "../support/api.ts";

const base = { userId: "u", tokenVersion: 1, expiresAt: new Date(Date.now() + 60_000) };
const session = (sessionId: string): Claims => ({ ...base, sessionId, tokenId: "jti" });
const apiToken = (tokenId: string): Claims => ({ ...base, sessionId: null, tokenId, scopes: ["read"] });

function start(call: (text: string, values: readonly unknown[]) => Promise<unknown>, flushIntervalMs = 5) {
  const calls: { text: string; values: readonly unknown[] }[] = [];
  const callPrivateFunction = (async (_request: unknown, text: string, values: readonly unknown[]) => {
    calls.push({ text, values });
    await call(text, values);
    return [];
  }) as unknown as CallPrivateFunction;
  const lines: string[] = [];
  const logger = pino({}, { write: (line: string) => lines.push(line) });
  return { calls, lines, activity: startActivity({ callPrivateFunction, logger, flushIntervalMs }) };
}

test("writes many uses as one statement per kind, and none for the same id within a minute [C3]", async () => {
  const { activity, calls } = start(async () => {});
  for (let i = 0; i < 100; i++) {
    activity.note(session("s1"), "192.0.2.1");
    activity.note(session("s2"), undefined);
    activity.note(apiToken("t1"), "192.0.2.3");
  }
  await until(() => calls.length === 2);
  expect(calls[0]!.text).toMatch(/private\.touch_sessions/);
  expect(calls[0]!.values).toEqual([
    ["s1", "s2"],
    [expect.any(Date), expect.any(Date)],
    ["192.0.2.1", null],
  ]);
  expect(calls[1]!.text).toMatch(/private\.touch_api_tokens/);
  expect(calls[1]!.values).toEqual([["t1"], [expect.any(Date)], ["192.0.2.3"]]);
  activity.note(session("s1"), "192.0.2.9");
  activity.note(session("s3"), "192.0.2.9");
  await activity.close();
  expect(calls).toHaveLength(3);
  expect(calls[2]!.values[0]).toEqual(["s3"]);
});

test("writes the noted uses when the server stops [C3]", async () => {
  const { activity, calls } = start(async () => {}, 60_000);
  activity.note(session("s1"), "192.0.2.1");
  await activity.close();
  expect(calls).toHaveLength(1);
});

test("logs a database failure and fails no request [C3]", async () => {
  const { activity, calls, lines } = start(async () => {
    throw new Error("no database");
  });
  activity.note(session("s1"), "192.0.2.1");
  await until(() => lines.length === 1);
  activity.note(session("s2"), "192.0.2.1");
  await activity.close();
  expect(calls).toHaveLength(2);
  expect(lines[0]).toMatch(/last activity not written/);
});
