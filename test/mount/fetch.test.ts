import type { ServerResponse } from "node:http";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "@jest/globals";
import { createFetch } from "../../src/http/mount/fetch.ts";
import type { MountedRequest } from "../../src/http/mount/location.ts";
import { until } from "../support/api.ts";

// HTTP over a stream in memory, with handlers that send what Plinth's own responses seldom have.

const answering = (handler: (request: MountedRequest, response: ServerResponse) => void) =>
  createFetch(handler);

test("passes on the method, URL, headers and address of a request", async () => {
  const fetch = answering((request, response) => {
    const { method, url, headers, socket } = request;
    response.end(JSON.stringify({ method, url, headers, address: socket.remoteAddress }));
  });
  const request = new Request("https://app.example:8443/api/thing?a=1", {
    method: "DELETE",
    headers: { "X-Test": "yes", Connection: "upgrade", "Transfer-Encoding": "chunked" },
  });
  const response = await fetch(request, { clientAddress: "203.0.113.7" });
  expect(await response.json()).toEqual({
    method: "DELETE",
    url: "/api/thing?a=1",
    headers: { host: "app.example:8443", connection: "close", "x-test": "yes" },
    address: "203.0.113.7",
  });
});

test("returns the status and each Set-Cookie header of its own", async () => {
  const fetch = answering((_request, response) => {
    response.writeHead(418, { "Set-Cookie": ["a=1", "b=2; Path=/"], "X-Test": "yes" }).end("short");
  });
  const response = await fetch(new Request("http://app.example/"));
  expect(response.status).toBe(418);
  expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2; Path=/"]);
  expect(response.headers.get("x-test")).toBe("yes");
  expect(response.headers.has("connection")).toBe(false);
  expect(await response.text()).toBe("short");
});

test.each([
  ["HEAD", 200],
  ["GET", 204],
  ["GET", 304],
])("answers %s with %i without a body", async (method, status) => {
  const fetch = answering((_request, response) => void response.writeHead(status, { ETag: '"1"' }).end());
  const response = await fetch(new Request("http://app.example/", { method }));
  expect([response.status, response.headers.get("etag"), response.body]).toEqual([status, '"1"', null]);
});

test("streams both bodies as they come", async () => {
  const fetch = answering((request, response) => {
    response.flushHeaders();
    request.pipe(response);
  });
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const response = await fetch(
    new Request("http://app.example/", { method: "POST", body: readable, duplex: "half" } as RequestInit),
  );
  // The echo starts before the request has ended.
  const reader = response.body!.getReader();
  for (const text of ["first", "second"]) {
    void writer.write(new TextEncoder().encode(text));
    const { value } = await reader.read();
    expect(new TextDecoder().decode(value)).toBe(text);
  }
  await writer.close();
  expect((await reader.read()).done).toBe(true);
});

test("stops the writer when the reader does not read, and when the reader leaves", async () => {
  let written = 0;
  let hasLeft = false;
  const fetch = answering((_request, response) => {
    response.once("close", () => {
      hasLeft = true;
    });
    const write = (): void => {
      while (!hasLeft && written < 100_000_000 && response.write(Buffer.alloc(10_000))) written += 10_000;
    };
    response.on("drain", write);
    write();
  });
  const { body } = await fetch(new Request("http://app.example/"));
  for (let turn = 0; turn < 50; turn += 1) await setImmediate();
  expect(written).toBeLessThan(5_000_000);
  await body!.cancel();
  await until(() => hasLeft);
});

test("rejects, and tells the handler, when the caller aborts", async () => {
  const arrived = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const fetch = answering((_request, response) => {
    response.once("close", left.resolve);
    arrived.resolve();
  });
  const controller = new AbortController();
  const answer = fetch(new Request("http://app.example/", { signal: controller.signal }));
  await arrived.promise;
  controller.abort();
  await expect(answer).rejects.toMatchObject({ name: "AbortError" });
  await left.promise;
});

test("reports a response that breaks off", async () => {
  const fetch = answering((_request, response) => {
    response.writeHead(200, { "Content-Length": "10" }).write("half", () => response.destroy());
  });
  const response = await fetch(new Request("http://app.example/"));
  await expect(response.text()).rejects.toThrow();
});
