import { expect, test } from "@jest/globals";
import { documentHash } from "../../src/documents/document-hash.ts";
import { RememberedTexts } from "../../src/documents/remembered-texts.ts";

const HASH_LENGTH = 64;

function fill(texts: RememberedTexts, count: number, length: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const text = `{ a${i} }`.padEnd(length);
    const hash = documentHash(text);
    texts.add(hash, text);
    return hash;
  });
}

const countOf = (texts: RememberedTexts, hashes: readonly string[]) =>
  hashes.filter((hash) => texts.get(hash) !== undefined).length;

test.each([
  ["long texts", 10_000],
  ["short texts, whose hashes count too", 10],
])("at most 500,000 characters of %s are remembered, the newest ones", (_what, length) => {
  const texts = new RememberedTexts();
  const hashes = fill(texts, 10_000, length);
  const remembered = Math.floor(500_000 / (length + HASH_LENGTH));
  expect(countOf(texts, hashes)).toBe(remembered);
  expect(countOf(texts, hashes.slice(-remembered))).toBe(remembered);
});

test("a text that is used stays, and the least recently used one is forgotten", () => {
  const texts = new RememberedTexts();
  const [used, unused] = fill(texts, 2, 10_000);
  for (let i = 0; i < 100; i++) {
    expect(texts.get(used!)).toMatch(/^\{ a0 \}/);
    fill(texts, 1, 10_001 + i);
  }
  expect([texts.get(used!) !== undefined, texts.get(unused!)]).toEqual([true, undefined]);
});

test("a text that is registered again counts once", () => {
  const texts = new RememberedTexts();
  const first = fill(texts, 1, 10_000);
  for (let i = 0; i < 1_000; i++) fill(texts, 2, 10_000);
  expect(countOf(texts, first)).toBe(1);
});

test("a text of more than 20,000 characters is not remembered and displaces none", () => {
  const texts = new RememberedTexts();
  const hashes = fill(texts, 40, 10_000);
  expect(countOf(texts, fill(texts, 50, 20_001))).toBe(0);
  expect(countOf(texts, hashes)).toBe(40);
  expect(countOf(texts, fill(texts, 1, 20_000))).toBe(1);
});

test.each(["__proto__", "constructor", "toString"])("%s is no hash of a text", (name) => {
  expect(new RememberedTexts().get(name)).toBeUndefined();
});
