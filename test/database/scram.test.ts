import { createHmac } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { matchesVerifier, scramVerifier } from "../../src/database/scram.ts";

describe("scramVerifier", () => {
  test("matches the example exchange of RFC 7677", () => {
    const salt = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
    const authMessage =
      "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
      "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    const verifier = scramVerifier("pencil", salt);

    const serverKey = Buffer.from(verifier.split(":").at(-1)!, "base64");
    const signature = createHmac("sha256", serverKey).update(authMessage).digest("base64");
    expect(signature).toBe("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    expect(verifier).toMatch(/^SCRAM-SHA-256\$4096:W22ZaJ0SNY7soEsUEjb6gQ==\$[^:]{44}:[^:]{44}$/);
  });

  test("differs each time, as the salt does", () => {
    expect(scramVerifier("pencil")).not.toBe(scramVerifier("pencil"));
  });
});

describe("matchesVerifier", () => {
  test("accepts its password and no other", () => {
    const verifier = scramVerifier("pencil");
    expect(matchesVerifier("pencil", verifier)).toBe(true);
    expect(matchesVerifier("Pencil", verifier)).toBe(false);
  });

  test("accepts equivalent spellings of the same password", () => {
    expect(matchesVerifier("\ufb01n", scramVerifier("fin"))).toBe(true);
    expect(matchesVerifier("a\u00a0b", scramVerifier("a b"))).toBe(true);
  });

  test.each([null, undefined, "", "md5a3556571e93b0d20722ba62be61e8c2d"])(
    "accepts no password for %j",
    (verifier) => {
      expect(matchesVerifier("pencil", verifier)).toBe(false);
    },
  );
});
