import { expect, test } from "@jest/globals";
import { PAGE_SIZE, reportDeltas } from "../../plugins/live/message-deltas/report-deltas.ts";
import type { LiveItem, ReadingSubscription } from "../../src/live/live-source.ts";

function makeItem(after: number): LiveItem {
  const subscription: ReadingSubscription = { topics: [], report() {}, end() {} };
  return { after: String(after), topics: null, subscription };
}

test("an answer that is being written is not over, even if all its deltas were read", () => {
  expect(reportDeltas(makeItem(1), [2, 3], "streaming", 3)).toEqual({
    reading: { cursor: 3n, isEmpty: false, hasMore: false, isOver: false, mayEnd: true },
    answer: { sequence: 3, isOver: false },
  });
});

test("an answer is over when it has ended and its last delta was read", () => {
  for (const [after, sequences] of [
    [1, [2, 3]],
    [3, []],
  ] as const)
    expect(reportDeltas(makeItem(after), [...sequences], "complete", 3)).toMatchObject({
      reading: { cursor: 3n, hasMore: false, isOver: true },
      answer: { sequence: 3, isOver: true },
    });
});

test("deltas missing from one batch may have arrived meanwhile; missing from two, they are gone", () => {
  const item = makeItem(1);
  expect(reportDeltas(item, [], "complete", 3)).toMatchObject({
    reading: { cursor: 1n, isEmpty: true, hasMore: true, isOver: false },
    answer: { sequence: 1, isOver: false },
  });
  // Another subscription has not read the end yet.
  expect(reportDeltas(makeItem(1), [], "complete", 3).answer).toEqual({ sequence: 1, isOver: false });
  expect(reportDeltas(item, [], "complete", 3)).toMatchObject({
    reading: { cursor: 3n, hasMore: false, isOver: true },
    answer: { sequence: 3, isOver: true },
  });
});

test("a full page is followed by another batch", () => {
  const page = Array.from({ length: PAGE_SIZE }, (_, i) => i + 1);
  expect(reportDeltas(makeItem(0), page, "streaming", 150).reading).toMatchObject({ hasMore: true });
  expect(reportDeltas(makeItem(0), page.slice(1), "streaming", 150).reading).toMatchObject({
    hasMore: false,
  });
});
