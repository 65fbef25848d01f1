import { describe, expect, test } from "@jest/globals";
import { contextOf, correlationIdOf, normalizeAddress } from "../../src/request/context.ts";

describe("the client's address, as PostgreSQL's inet accepts it", () => {
  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::FFFF:192.0.2.1", "192.0.2.1"],
    ["2001:db8::1", "2001:db8::1"],
    ["fe80::1%eth0", "fe80::1"],
    ["192.0.2.1:443", undefined],
    ["unknown", undefined],
    ["", undefined],
    [undefined, undefined],
  ])("%s becomes %s", (given, expected) => {
    expect(normalizeAddress(given)).toBe(expected);
  });
});

test("prefers the caller's id to the trace's", () => {
  const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  expect(correlationIdOf({ "x-request-id": "request-0001", traceparent })).toBe("request-0001");
  expect(correlationIdOf({ "x-request-id": "no", traceparent })).toBe("4bf92f3577b34da6a3ce929d0e0e4736");
});

test("truncates a long user agent", () => {
  expect(contextOf({ headers: { "user-agent": "x".repeat(5_000) }, ip: "::1" }).userAgent).toHaveLength(
    1_000,
  );
});
