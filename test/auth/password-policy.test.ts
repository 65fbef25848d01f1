import { describe, expect, test } from "@jest/globals";
import { checkNewPassword } from "../../src/auth/password-policy.ts";

const OWNER = { username: "ada_lovelace", email: "countess@example.org" };
const check = (password: string, owner = OWNER) => checkNewPassword(password, owner);
const refusal = expect.objectContaining({ code: "BAD_USER_INPUT", field: "password" });

describe("checkNewPassword", () => {
  test.each([
    ["fifteen letters of one kind", "abcdefghijklmno"],
    ["spaces", "correct horse battery staple"],
    ["fifteen code points beyond the basic plane", "🂡🂢🂣🂤🂥🂦🂧🂨🂩🂪🂫🂭🂮🂱🂲"],
    ["1024 bytes", "x".repeat(1024)],
    ["1024 bytes once normalised", "é".normalize("NFD").repeat(512)],
  ])("takes %s", (_, password) => expect(check(password)).toBeUndefined());

  test.each([
    ["nothing", ""],
    ["fourteen letters", "abcdefghijklmn"],
    ["fourteen code points of two units each", "🂡🂢🂣🂤🂥🂦🂧🂨🂩🂪🂫🂭🂮🂱"],
    ["fourteen letters with accents of their own", "é".normalize("NFD").repeat(14)],
    ["1025 bytes", "x".repeat(1025)],
    ["1025 bytes in fewer characters", `${"é".repeat(512)}x`],
    ["a megabyte", "x".repeat(1_000_000)],
    ["NUL", "correct horse\0battery staple"],
    ["half a surrogate pair", "correct horse \ud83c battery"],
    ["the user name", "my ada_lovelace secret"],
    ["the user name in other case", "my ADA_Lovelace secret"],
    ["the user name in full-width letters", "my ａｄａ_ｌｏｖｅｌａｃｅ secret"],
    ["the e-mail address's first part", "I am the Countess of Sums"],
  ])("refuses %s", (_, password) => {
    expect(() => check(password)).toThrow(refusal);
  });

  test("minds names of four characters and more", () => {
    expect(() => check("anna likes to walk", { username: "anna", email: "x@example.org" })).toThrow(refusal);
    expect(check("ann likes to walk far", { username: "ann", email: "far@example.org" })).toBeUndefined();
  });

  test("never repeats the password", () => {
    for (const password of ["hunter2", "ada_lovelace and more", `${"hunter2".repeat(200)}`]) {
      let message = "";
      try {
        check(password);
      } catch (error) {
        message = JSON.stringify([String(error), error]);
      }
      expect(message).not.toBe("");
      expect(message).not.toContain(password);
    }
  });
});
