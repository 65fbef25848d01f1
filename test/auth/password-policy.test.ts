import { describe, expect, test } from "@jest/globals";
import { checkNewPassword, type PasswordOwner } from "../../src/auth/password-policy.ts";

const OWNER = {
  username: "ada_lovelace",
  email: "countess.zebra@mail.zoolander.org",
  displayName: "Great Engineress",
  serviceName: "Plinthos",
};
/** Always changing characters, of one byte and of two. */
const LONG = Array.from({ length: 1024 }, (_, index) =>
  String.fromCharCode(35 + ((index * index) % 89)),
).join("");
const LONG_ACCENTED = Array.from({ length: 512 }, (_, index) => "éàôüñ"[(index * index) % 5]).join("");

const check = (password: string, owner: PasswordOwner = OWNER) => checkNewPassword(password, owner);
const refusal = expect.objectContaining({ code: "BAD_USER_INPUT", field: "password" });

describe("checkNewPassword", () => {
  test.each([
    ["fifteen different letters of one alphabet", "vbgnhmjzxqwlkrt"],
    ["spaces", "correct horse battery staple"],
    ["fifteen code points beyond the basic plane", "🂡🂭🂣🂱🂥🂧🂢🂪🂨🂫🂤🂲🂦🂮🂩"],
    ["1024 bytes", LONG],
    ["1024 bytes after normalisation", LONG_ACCENTED.normalize("NFD")],
    ["several common words", "dragon monkey shadow"],
    ["a common word among others", "my password is a riddle"],
    ["words with letters in alphabetical order", "definitions of staff"],
    ["digits without a sequence", "271828182845904"],
    ["one letter among other signs", "1947 x 2026 + 88 %"],
  ])("accepts %s", (_, password) => expect(check(password)).toEqual({ sufficesAlone: true }));

  test("accepts eight characters with a second factor, and reports that they do not suffice alone", () => {
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
    ["fourteen letters with combining accents", "é".normalize("NFD").repeat(14)],
    ["1025 bytes", `${LONG}x`],
    ["1025 bytes in fewer characters", `${LONG_ACCENTED}x`],
    ["a megabyte", "x".repeat(1_000_000)],
    ["NUL", "correct horse\0battery staple"],
    ["half a surrogate pair", "correct horse \ud83c battery"],
    ["the user name", "my ada_lovelace secret"],
    ["the user name in another case", "my ADA_Lovelace secret"],
    ["the user name in full-width letters", "my ａｄａ_ｌｏｖｅｌａｃｅ secret"],
    ["the first part of the email address", "I am the Countess.Zebra of Sums"],
    ["a part of the email address", "the zebra eats lunch"],
    ["the domain of the email address", "hello, zoolander world"],
    ["the display name", "the great Engineress of numbers"],
    ["a part of the user name", "some lovelace for a dress"],
    ["the service's name", "an orange plinthos wall"],
    ["a common password", "passwordpassword"],
    ["a common password in capitals", "PasswordPassword"],
    ["a common password in full-width letters", "ｐａｓｓｗｏｒｄｐａｓｓｗｏｒｄ"],
    ["a common password followed by digits", "password1234567"],
    ["a common password between signs", "!!!!monkey!!!!!!"],
    ["a common password three times", "dragondragondragon"],
    ["a common password three times with a digit", "dragondragondragon7"],
    ["a common number twice", "12345678901234567"],
    ["one letter repeated", "zzzzzzzzzzzzzzzzzz"],
    ["two letters repeated", "xyxyxyxyxyxyxyxy"],
    ["the alphabet", "abcdefghijklmnop"],
    ["the alphabet backwards", "zyxwvutsrqponmlk"],
    ["the digits, starting again after 9", "0123456789012345"],
    ["the digits backwards, starting again before 0", "3210987654321098"],
    ["the alphabet, starting again after z", "uvwxyzabcdefghijk"],
    ["one letter repeated and another at the end", "aaaaaaaaaaaaaaab"],
    ["one letter repeated and another in the middle", "aaaaaaaabaaaaaaa"],
    ["a sequence with a slip at its end", "abcdefghijklmnox"],
    ["two sequences", "12345678abcdefgh"],
    ["three letters, each repeated", "aaaaaabbbbbbcccccc"],
    ["another alphabet", "абвгдежзийклмнопр"],
    ["rows of the keyboard", "qwertyuiopasdfgh"],
    ["rows of a German keyboard", "qwertzuiopasdfgh"],
    ["a sequence with every character doubled", "aabbccddeeffgghh"],
    ["a sequence of digits with every digit doubled", "112233445566778899"],
    ["every second digit", "1357913579135791"],
    ["the even digits followed by the odd ones", "0246813579024681"],
    ["every third letter", "adgjmpsvybehknqtwz"],
    ["a near-sequence repeated", "aaaabaaaabaaaabaaaab"],
  ])("rejects %s", (_, password) => {
    expect(() => check(password)).toThrow(refusal);
  });

  test("checks names of four characters or more", () => {
    expect(() => check("anna likes to walk", { username: "anna", email: "x@example.org" })).toThrow(refusal);
    expect(check("ann likes to walk far", { username: "ann", email: "far@example.org" })).toEqual({
      sufficesAlone: true,
    });
  });

  test("never repeats the password in an error", () => {
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
