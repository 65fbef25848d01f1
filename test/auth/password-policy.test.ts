import { describe, expect, test } from "@jest/globals";
import { checkNewPassword, type PasswordOwner } from "../../src/auth/password-policy.ts";

const OWNER = {
  username: "ada_lovelace",
  email: "countess.zebra@mail.zoolander.org",
  displayName: "Great Engineress",
  serviceName: "Plinthos",
};
/** Ever other characters, of one byte and of two. */
const LONG = Array.from({ length: 1024 }, (_, index) =>
  String.fromCharCode(35 + ((index * index) % 89)),
).join("");
const LONG_ACCENTED = Array.from({ length: 512 }, (_, index) => "éàôüñ"[(index * index) % 5]).join("");

const check = (password: string, owner: PasswordOwner = OWNER) => checkNewPassword(password, owner);
const refusal = expect.objectContaining({ code: "BAD_USER_INPUT", field: "password" });

describe("checkNewPassword", () => {
  test.each([
    ["fifteen letters of one kind", "vbgnhmjzxqwlkrt"],
    ["spaces", "correct horse battery staple"],
    ["fifteen code points beyond the basic plane", "🂡🂭🂣🂱🂥🂧🂢🂪🂨🂫🂤🂲🂦🂮🂩"],
    ["1024 bytes", LONG],
    ["1024 bytes once normalised", LONG_ACCENTED.normalize("NFD")],
    ["common words in a row", "dragon monkey shadow"],
    ["a common word among others", "my password is a riddle"],
    ["letters that happen to follow each other", "definitions of staff"],
    ["digits that are no run", "271828182845904"],
    ["a letter amid other signs", "1947 x 2026 + 88 %"],
  ])("takes %s", (_, password) => expect(check(password)).toEqual({ sufficesAlone: true }));

  test("takes eight characters beside a second factor, and says that they do not suffice alone", () => {
    const beside = (password: string) => checkNewPassword(password, OWNER, { secondFactor: true });
    expect(beside("k9#rWq2z")).toEqual({ sufficesAlone: false });
    expect(beside("vbgnhmjzxqwlkrt")).toEqual({ sufficesAlone: true });
    expect(() => beside("k9#rWq2")).toThrow(refusal);
    expect(() => check("k9#rWq2z")).toThrow(refusal);
    expect(() => beside("ｐａｓｓｗｏｒｄ１")).toThrow(refusal);
  });

  test.each([
    ["nothing", ""],
    ["fourteen letters", "abcdefghijklmn"],
    ["fourteen code points of two units each", "🂡🂢🂣🂤🂥🂦🂧🂨🂩🂪🂫🂭🂮🂱"],
    ["fourteen letters with accents of their own", "é".normalize("NFD").repeat(14)],
    ["1025 bytes", `${LONG}x`],
    ["1025 bytes in fewer characters", `${LONG_ACCENTED}x`],
    ["a megabyte", "x".repeat(1_000_000)],
    ["NUL", "correct horse\0battery staple"],
    ["half a surrogate pair", "correct horse \ud83c battery"],
    ["the user name", "my ada_lovelace secret"],
    ["the user name in other case", "my ADA_Lovelace secret"],
    ["the user name in full-width letters", "my ａｄａ_ｌｏｖｅｌａｃｅ secret"],
    ["the e-mail address's first part", "I am the Countess.Zebra of Sums"],
    ["a part of it", "the zebra eats lunch"],
    ["its domain", "hello, zoolander world"],
    ["the display name", "the great Engineress of numbers"],
    ["a part of the user name", "some lovelace for a dress"],
    ["the service's name", "an orange plinthos wall"],
    ["one that is common", "passwordpassword"],
    ["one that is common, in capitals", "PasswordPassword"],
    ["one that is common, in full-width letters", "ｐａｓｓｗｏｒｄｐａｓｓｗｏｒｄ"],
    ["a common one with digits behind", "password1234567"],
    ["a common one with signs around", "!!!!monkey!!!!!!"],
    ["a common one three times", "dragondragondragon"],
    ["a common one three times with a digit", "dragondragondragon7"],
    ["a common number gone through twice", "12345678901234567"],
    ["one letter many times", "zzzzzzzzzzzzzzzzzz"],
    ["two letters many times", "xyxyxyxyxyxyxyxy"],
    ["the alphabet", "abcdefghijklmnop"],
    ["the alphabet backwards", "zyxwvutsrqponmlk"],
    ["the digits, beginning again after 9", "0123456789012345"],
    ["the digits backwards, beginning again before 0", "3210987654321098"],
    ["the alphabet, beginning again after z", "uvwxyzabcdefghijk"],
    ["one letter many times and another at the end", "aaaaaaaaaaaaaaab"],
    ["one letter many times and another in between", "aaaaaaaabaaaaaaa"],
    ["a run with a slip at its end", "abcdefghijklmnox"],
    ["two runs", "12345678abcdefgh"],
    ["three letters many times each", "aaaaaabbbbbbcccccc"],
    ["another alphabet", "абвгдежзийклмнопр"],
    ["rows of the keyboard", "qwertyuiopasdfgh"],
    ["rows of a German keyboard", "qwertzuiopasdfgh"],
    ["a run with every character doubled", "aabbccddeeffgghh"],
    ["a run of digits with every digit doubled", "112233445566778899"],
    ["every second digit", "1357913579135791"],
    ["the even and then the odd digits", "0246813579024681"],
    ["every third letter", "adgjmpsvybehknqtwz"],
    ["a near-run again and again", "aaaabaaaabaaaabaaaab"],
  ])("refuses %s", (_, password) => {
    expect(() => check(password)).toThrow(refusal);
  });

  test("minds names of four characters and more", () => {
    expect(() => check("anna likes to walk", { username: "anna", email: "x@example.org" })).toThrow(refusal);
    expect(check("ann likes to walk far", { username: "ann", email: "far@example.org" })).toEqual({
      sufficesAlone: true,
    });
  });

  test("never repeats the password", () => {
    for (const password of [
      "hunter2",
      "ada_lovelace and more",
      "passwordpassword",
      `${"hunter2".repeat(200)}`,
    ]) {
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
