import { createHash } from "node:crypto";
import { expect, test } from "@jest/globals";
import { createRecoveryCodes, hashRecoveryCode } from "../../src/auth/recovery-code.ts";

test("creates ten codes of 120 bits in groups that are easy to read aloud", () => {
  const { codes, hashes } = createRecoveryCodes();
  expect(codes).toHaveLength(10);
  expect(new Set(codes).size).toBe(10);
  for (const code of codes) expect(code).toMatch(/^([0-9a-hjkmnp-tv-z]{4}-){5}[0-9a-hjkmnp-tv-z]{4}$/);
  expect(codes.map((code) => hashRecoveryCode(code))).toEqual(hashes);
  expect(hashes[0]).toEqual(createHash("sha256").update(codes[0]!.replaceAll("-", "")).digest());
});

test("uses every letter of the alphabet, so that no bits are lost", () => {
  const letters = new Set(Array.from({ length: 20 }, () => createRecoveryCodes().codes.join("")).join(""));
  expect(letters.size).toBe(33);
});

test("corrects typical copying mistakes in a code", () => {
  const plain = hashRecoveryCode("0011abcdabcdabcdabcdabcd");
  expect(plain).toBeDefined();
  for (const typed of [
    "0011-ABCD-abcd-abcd-abcd-abcd",
    " oOiL abcdabcd abcdabcd abcd ",
    "0O1I-abcdabcdabcdabcd-abcd",
  ])
    expect(hashRecoveryCode(typed)).toEqual(plain);
});

test.each(["", "abcd", "u".repeat(24), `${"a".repeat(23)}é`, "a".repeat(25), `${"a".repeat(24)}\0`])(
  "rejects %j",
  (typed) => expect(hashRecoveryCode(typed)).toBeUndefined(),
);
