import { createHash, createHmac } from "node:crypto";
import type { SchemeKind } from "../scheme.ts";

/** About 0.6 s in JavaScript. */
const MAX_COST = 13;
/** Characters of a salt and of a digest in bcrypt's own base64; both are kept as this text. */
const SALT_LENGTH = 22;
const DIGEST_LENGTH = 31;

const sha256 = (password: string) => createHash("sha256").update(password);

/** Returns bcrypt's input, by the scheme's name. Without hashing it first, bcrypt reads only 72 bytes. */
const INPUTS: Readonly<Record<string, (password: string, salt: string) => string>> = {
  bcrypt: (password) => password,
  // passlib, bcrypt_sha256, version 2
  "bcrypt-sha256": (password, salt) => createHmac("sha256", salt).update(password).digest("base64"),
  // passlib, bcrypt_sha256, version 1
  "bcrypt-sha256-base64": (password) => sha256(password).digest("base64"),
  // Django, BCryptSHA256PasswordHasher
  "bcrypt-sha256-hex": (password) => sha256(password).digest("hex"),
};

/** `ln` is the logarithm of the number of rounds to base 2. */
export const BCRYPTS: Readonly<Record<string, SchemeKind>> = Object.fromEntries(
  Object.entries(INPUTS).map(([name, input]): [string, SchemeKind] => [
    name,
    {
      costs: ["ln"],
      isValid: ({ cost, salt, length }) =>
        cost.ln! >= 4 && cost.ln! <= 31 && salt.length === SALT_LENGTH && length === DIGEST_LENGTH,
      isAffordable: ({ cost }) => cost.ln! <= MAX_COST,
      async digest(password, { cost, salt }, bcrypt) {
        const setting = `$2b$${String(cost.ln!).padStart(2, "0")}$${salt.toString("latin1")}`;
        const hash = await bcrypt(input(password, salt.toString("latin1")), setting);
        return Buffer.from(hash.slice(-DIGEST_LENGTH), "latin1");
      },
    },
  ]),
);
