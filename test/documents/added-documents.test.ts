import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import type { Logger } from "pino";
import { loadAddedDocuments } from "../../src/documents/added-documents.ts";
import { Hub } from "../../src/live/hub.ts";
import { collectLog } from "../support/api.ts";

interface Row {
  readonly hash: string;
  readonly document: string | null;
}
interface Reading {
  readonly known: unknown;
  answer(rows: readonly Row[]): void;
  fail(): void;
}

const NEWS = "documents 0";
let hub: Hub;
let readings: Reading[];
let logLines: Record<string, unknown>[];
let logger: Logger;
/** Readings that a test answers itself, in the order in which they began. */
const notifier = {
  query: (_text: string, [known]: readonly unknown[]) =>
    new Promise<never>((resolve, reject) => {
      readings.push({
        known,
        answer: (rows) => resolve(rows as never),
        fail: () => reject(new Error("unreachable")),
      });
    }),
};

beforeEach(() => {
  jest.useFakeTimers();
  hub = new Hub();
  readings = [];
  logLines = [];
  logger = collectLog(logLines);
});
afterEach(() => {
  jest.useRealTimers();
});

const start = () =>
  loadAddedDocuments({ live: { listen: (topic, listener) => hub.add(topic, listener) }, notifier, logger });

async function started(...rows: Row[]) {
  const loading = start();
  readings[0]!.answer(rows);
  return loading;
}
const settle = () => jest.advanceTimersByTimeAsync(0);

test("a change announced during a reading is read afterwards, once for all announcements", async () => {
  const documents = await started({ hash: "a", document: "A" });
  hub.hear(NEWS);
  hub.hear(NEWS);
  hub.announceGap();
  expect(readings).toHaveLength(2);
  readings[1]!.answer([{ hash: "a", document: null }]);
  await settle();
  expect(readings).toHaveLength(3);
  readings[2]!.answer([{ hash: "b", document: "B" }]);
  await settle();
  expect([documents.get("a"), documents.get("b"), readings.length]).toEqual([undefined, "B", 3]);
  documents.close();
});

test("a change announced during the first reading is read before the server starts", async () => {
  const loading = start();
  hub.hear(NEWS);
  readings[0]!.answer([]);
  await settle();
  readings[1]!.answer([{ hash: "a", document: "A" }]);
  const documents = await loading;
  expect(documents.get("a")).toBe("A");
  documents.close();
});

test("a reading names the known documents and keeps their texts", async () => {
  const documents = await started({ hash: "a", document: "A" }, { hash: "b", document: "B" });
  hub.hear(NEWS);
  expect(readings.map(({ known }) => known)).toEqual([[], ["a", "b"]]);
  readings[1]!.answer([
    { hash: "a", document: null },
    { hash: "c", document: "C" },
  ]);
  await settle();
  expect(["a", "b", "c"].map(documents.get)).toEqual(["A", undefined, "C"]);
  documents.close();
});

test("a failed reading is logged and repeated, and the known documents stay meanwhile", async () => {
  const documents = await started({ hash: "a", document: "A" });
  hub.hear(NEWS);
  readings[1]!.fail();
  await settle();
  expect(logLines).toMatchObject([{ level: 40, msg: "documents cannot be read" }]);
  expect(documents.get("a")).toBe("A");
  await jest.advanceTimersByTimeAsync(60_000);
  expect(readings).toHaveLength(3);
  readings[2]!.answer([{ hash: "b", document: "B" }]);
  await settle();
  expect(documents.get("b")).toBe("B");
  documents.close();
});

test("a first reading that fails is thrown, and nothing listens any more", async () => {
  const loading = start();
  readings[0]!.fail();
  await expect(loading).rejects.toThrow("unreachable");
  expect(hub.size).toBe(0);
});

test("after close, nothing is read, repeated or logged", async () => {
  const documents = await started();
  hub.hear(NEWS);
  documents.close();
  readings[1]!.fail();
  hub.hear(NEWS);
  await jest.advanceTimersByTimeAsync(60_000);
  expect([readings.length, logLines, hub.size]).toEqual([2, [], 0]);
});
