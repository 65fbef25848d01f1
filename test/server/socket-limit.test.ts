import { expect, test } from "@jest/globals";
import { SocketLimit } from "../../src/http/websocket/socket-limit.ts";

test("a client has so many places, and each is given back once", () => {
  const limit = new SocketLimit(2);
  const release = limit.take("192.0.2.1");
  expect(limit.take("192.0.2.1")).toBeDefined();
  expect(limit.take("192.0.2.1")).toBeUndefined();
  expect(limit.take("192.0.2.2")).toBeDefined();
  release!();
  release!();
  expect(limit.take("192.0.2.1")).toBeDefined();
  expect(limit.take("192.0.2.1")).toBeUndefined();
});

test("the addresses of one IPv6 network are one client, and so are those without an address", () => {
  const limit = new SocketLimit(1);
  expect(limit.take("2001:db8:0:1::1")).toBeDefined();
  expect(limit.take("2001:db8:0:2::ffff")).toBeUndefined();
  expect(limit.take("2001:db8:1::1")).toBeDefined();
  expect(limit.take(undefined)).toBeDefined();
  expect(limit.take(undefined)).toBeUndefined();
});
