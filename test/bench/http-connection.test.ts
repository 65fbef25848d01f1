import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { createAnswerReader, openHttpConnection } from "../../bench/compare/http-connection.ts";

const ANSWER = Buffer.from("HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhéll");

test("an answer is complete with its last byte, wherever its chunks are cut", () => {
  for (let first = 1; first < ANSWER.length - 1; first++)
    for (let second = first + 1; second < ANSWER.length; second++) {
      const read = createAnswerReader();
      expect(read(ANSWER.subarray(0, first))).toBeUndefined();
      expect(read(ANSWER.subarray(first, second))).toBeUndefined();
      const answer = read(ANSWER.subarray(second));
      expect([answer?.status, answer?.body.toString()]).toEqual([200, "héll"]);
    }
});

test("a reader reads answers of one connection one after the other", () => {
  const read = createAnswerReader();
  expect(read(ANSWER)?.status).toBe(200);
  expect(read(Buffer.from("HTTP/1.1 429 Too Many Requests\r\ncontent-length:0\r\n\r\n"))).toEqual({
    status: 429,
    body: Buffer.alloc(0),
  });
});

test("a reader rejects an answer without a length and bytes after the answer", () => {
  expect(() => createAnswerReader()(Buffer.from("HTTP/1.1 200 OK\r\n\r\n"))).toThrow("no Content-Length");
  expect(() => createAnswerReader()(Buffer.concat([ANSWER, ANSWER]))).toThrow("longer than");
});

const server = createServer((request, response) => {
  if (request.headers.authorization === "Bearer closed") return request.socket.destroy();
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = JSON.stringify([
      request.method,
      request.url,
      request.headers.authorization,
      String(Buffer.concat(chunks)),
    ]);
    response.setHeader("Content-Length", Buffer.byteLength(body));
    response.end(body);
  });
  return undefined;
});
let url: string;

beforeAll(async () => {
  // The second request comes at any time after the first.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

test("a connection sends each request with its headers and body", async () => {
  const connection = await openHttpConnection(url);
  for (const body of ["first", "zweite Anfrage, größer"]) {
    const answer = await connection.ask("Authorization: Bearer a\r\n", body);
    expect(JSON.parse(answer.body.toString())).toEqual(["POST", "/graphql", "Bearer a", body]);
  }
  connection.close();
});

test("a request fails when the server closes the connection", async () => {
  const connection = await openHttpConnection(url);
  await expect(connection.ask("Authorization: Bearer closed\r\n", "")).rejects.toThrow(
    "closed the connection",
  );
});
