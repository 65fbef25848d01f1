import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { expect, test } from "@jest/globals";
import express from "express";
import { createErrorDescription, errorResponses } from "../../src/http/error-responses.ts";
import type { UnforeseenError } from "../../src/request/error-log.ts";
import { collectLog, send } from "../support/api.ts";

test("logs an unexpected error with its message and cause, and returns only its id", async () => {
  const lines: Record<string, unknown>[] = [];
  const recorded: UnforeseenError[] = [];
  const counted: string[] = [];
  const app = express();
  const error = new Error("the floor gave way", { cause: new Error("woodworm") });
  app.post("/graphql", () => {
    throw error;
  });
  app.use(
    errorResponses(
      createErrorDescription(collectLog(lines), (unforeseen) => recorded.push(unforeseen)),
      (code) => counted.push(code),
    ),
  );
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const { port } = server.address() as AddressInfo;
    const { status, json, text } = await send(`http://127.0.0.1:${port}`);
    expect([status, json.errors[0].extensions.code]).toEqual([500, "INTERNAL"]);
    expect(text).not.toMatch(/floor|woodworm/);
    const { errorId } = json.errors[0].extensions;
    expect(lines).toMatchObject([
      { errorId, err: { message: "the floor gave way", cause: { message: "woodworm" } } },
    ]);
    expect(recorded).toMatchObject([{ errorId, error }]);
    expect(counted).toEqual(["INTERNAL"]);
  } finally {
    server.close();
  }
});
