import { expect, test } from "@jest/globals";
import { SocketLimit } from "../../src/http/websocket/socket-limit.ts";

test("gives a client a fixed number of places and frees each once", () => {
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

test("treats the addresses of one IPv6 network as one client, and all sockets without an address too", () => {
  const limit = new SocketLimit(1);
  expect(limit.take("2001:db8:0:1::1")).toBeDefined();
  expect(limit.take("2001:db8:0:2::ffff")).toBeUndefined();
  expect(limit.take("2001:db8:1::1")).toBeDefined();
  expect(limit.take(undefined)).toBeDefined();
  expect(limit.take(undefined)).toBeUndefined();
});
