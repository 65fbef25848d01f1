import { randomBytes } from "node:crypto";
import { type ParsedHashOptions, parseOptions } from "@node-rs/argon2";
import { PlinthError } from "../errors.ts";

/**
 * How passwords are hashed today: argon2id with 19 MiB, two passes and one lane, the OWASP Password Storage Cheat
 * Sheet's first choice for servers. The numbers stand for the library's `const enum`s, which exist only as types.
 */
export const ARGON2 = {
  algorithm: 2, // Argon2id
  version: 1, // 0x13
  memoryCost: 19_456, // KiB
  timeCost: 2,
  parallelism: 1,
  outputLen: 32, // bytes
} as const;
const SALT_BYTES = 16;

/** What one verification may cost: about ten seconds. A stored hash asking for more would stall all sign-ins. */
const MAX_ARGON2_MEMORY_KIB = 2 * 1024 * 1024;
const MAX_ARGON2_WORK_KIB = 8 * 1024 * 1024;
const MAX_BCRYPT_COST = 16;

const ARGON2_PREFIX = /^\$argon2(id|i|d)\$/;
const BCRYPT_PREFIX = /^\$2[aby]\$/;
const BCRYPT = /^\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}$/;

export type HashFormat = "argon2" | "bcrypt" | "malformed";

/**
 * Which library verifies this hash; "malformed" for one that names a known algorithm but cannot be parsed.
 * @throws PlinthError UNSUPPORTED_PASSWORD_HASH for an unknown algorithm or a cost beyond what a sign-in may take.
 */
export function hashFormat(hash: string): HashFormat {
  if (BCRYPT_PREFIX.test(hash)) {
    const cost = BCRYPT.exec(hash)?.[1];
    if (cost === undefined) return "malformed";
    if (Number(cost) > MAX_BCRYPT_COST) throw unsupported("a bcrypt cost above what this server spends");
    return "bcrypt";
  }
  if (ARGON2_PREFIX.test(hash)) {
    const parameters = argon2Parameters(hash);
    if (!parameters) return "malformed";
    const { memoryCost, timeCost } = parameters;
    if (memoryCost > MAX_ARGON2_MEMORY_KIB || memoryCost * timeCost > MAX_ARGON2_WORK_KIB)
      throw unsupported("an argon2 cost above what this server spends");
    return "argon2";
  }
  throw unsupported("an algorithm other than argon2 (PHC string) and bcrypt ($2a$, $2b$, $2y$)");
}

/** Whether to replace the hash at the next successful sign-in: anything not at least as strong as today's. */
export function needsRehash(hash: string): boolean {
  const parameters = ARGON2_PREFIX.test(hash) ? argon2Parameters(hash) : undefined;
  return (
    !parameters ||
    parameters.algorithm !== ARGON2.algorithm ||
    parameters.version !== ARGON2.version ||
    parameters.memoryCost < ARGON2.memoryCost ||
    parameters.timeCost < ARGON2.timeCost ||
    parameters.outputLen < ARGON2.outputLen ||
    parameters.saltLen < SALT_BYTES
  );
}

/**
 * A hash with today's cost that no password is known to match: salt and digest are random. It needs no computing,
 * so that even the first sign-in to an unknown account takes as long as one to a known account.
 */
export function unmatchableHash(): string {
  const { memoryCost, timeCost, parallelism, outputLen } = ARGON2;
  const [salt, digest] = [SALT_BYTES, outputLen].map((size) =>
    randomBytes(size).toString("base64").replaceAll("=", ""),
  );
  return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${salt}$${digest}`;
}

function argon2Parameters(hash: string): ParsedHashOptions | undefined {
  try {
    return parseOptions(hash);
  } catch {
    return undefined;
  }
}

function unsupported(what: string): PlinthError {
  return new PlinthError("UNSUPPORTED_PASSWORD_HASH", `A stored password hash has ${what}.`, {
    hint: "Set a new password for that account.",
  });
}
