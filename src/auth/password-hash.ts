import { hash as argon2Hash, verify as argon2Verify } from "@node-rs/argon2";
import pLimit from "p-limit";
import { PlinthError } from "../support/errors.ts";
import { createBcryptPool } from "./bcrypt-pool.ts";
import { foreignDigest } from "./foreign/schemes/index.ts";
import { outerInput, parseWrapped } from "./foreign/wrapped-hash.ts";
import {
  ARGON2,
  formatBcryptSha256,
  type HashAlgorithm,
  hashFormat,
  needsRehash,
  newBcryptSetting,
  parseBcryptSha256,
  preHash,
  unmatchableHash,
} from "./password-hash-format.ts";
import { isPasswordTooLongToRead, normalizePassword } from "./password-policy.ts";

export { type HashAlgorithm, needsRehash } from "./password-hash-format.ts";

const DEFAULT_QUEUE_LIMIT = 64;

export interface HashedPassword {
  /** PHC string, with its salt and parameters. */
  readonly hash: string;
  readonly algorithm: HashAlgorithm;
}

/**
 * Every method rejects with PlinthError UNAVAILABLE when too many calls wait or after `close()`. Do not call one while
 * holding a database client: waiting sign-ins would exhaust the pool.
 */
export interface PasswordHasher {
  /**
   * Hashes the NFC form, with argon2id by default.
   * @throws PlinthError BAD_USER_INPUT for a password too long to read; call checkNewPassword first.
   */
  hash(password: string): Promise<HashedPassword>;
  /**
   * Whether the password matches: argon2 and bcrypt-sha256 hashes against the NFC form; what other systems hashed, against the
   * password as typed: plain bcrypt hashes (the first 72 bytes) and wrapped ones. An unparsable hash and an overlong password never match; the
   * former takes as long as a valid hash.
   * @throws PlinthError UNSUPPORTED_PASSWORD_HASH for another algorithm or an unaffordable cost.
   */
  verify(password: string, hash: string): Promise<boolean>;
  /** For an unknown account: takes as long as `verify` with a current hash and never matches. */
  verifyDummy(password: string): Promise<false>;
  /** Whether to replace a hash that has just been verified. */
  needsRehash(hash: string): boolean;
  /** The number of running and waiting hashes. */
  load(): { running: number; waiting: number };
  /** Lets running hashes finish, rejects waiting ones and ends the bcrypt threads. */
  close(): Promise<void>;
}

/**
 * Hashes and verifies passwords off the event loop, at most `concurrency` at once so that other work keeps a core, with at
 * most `queueLimit` waiting so that a flood of sign-ins cannot exhaust memory or clients.
 */
export function createPasswordHasher(options: {
  concurrency: number;
  queueLimit?: number;
  /** The algorithm of new hashes; every algorithm is verified. */
  algorithm?: HashAlgorithm;
}): PasswordHasher {
  const { concurrency, queueLimit = DEFAULT_QUEUE_LIMIT, algorithm = "argon2id" } = options;
  const limit = pLimit(concurrency);
  const bcrypt = createBcryptPool();
  const dummyHash = unmatchableHash(algorithm);
  const jobs = new Set<Promise<unknown>>();
  let closed = false;

  async function compute<T>(work: () => Promise<T>): Promise<T> {
    if (limit.activeCount >= concurrency && limit.pendingCount >= queueLimit) throw unavailable();
    const job = limit(() => {
      if (closed) throw unavailable();
      return work();
    });
    jobs.add(job);
    try {
      return await job;
    } finally {
      jobs.delete(job);
    }
  }

  /** For argon2 and bcrypt-sha256. */
  function verifyNormalized(password: string, hash: string): Promise<boolean> {
    const parts = parseBcryptSha256(hash);
    return compute(() =>
      parts ? bcrypt.verify(preHash(password, parts.salt), parts.plain) : argon2Verify(hash, password),
    );
  }

  /** The foreign digest and its argon2id hash are one job. */
  function verifyWrapped(password: string, hash: string): Promise<boolean> {
    const { scheme, outer } = parseWrapped(hash)!;
    return compute(async () =>
      argon2Verify(outer, outerInput(await foreignDigest(password, scheme, bcrypt.hash))),
    );
  }

  async function makeHash(password: string): Promise<string> {
    if (algorithm === "argon2id") return argon2Hash(password, ARGON2);
    const { setting, salt } = newBcryptSetting();
    return formatBcryptSha256(await bcrypt.hash(preHash(password, salt), setting));
  }

  async function verifyDummy(password: string): Promise<false> {
    if (!isPasswordTooLongToRead(password)) await verifyNormalized(normalizePassword(password), dummyHash);
    return false;
  }

  return {
    async hash(password) {
      if (isPasswordTooLongToRead(password))
        throw new PlinthError("BAD_USER_INPUT", "The password is too long.", { field: "password" });
      const hash = await compute(() => makeHash(normalizePassword(password)));
      return { hash, algorithm };
    },

    async verify(password, hash) {
      const format = hashFormat(hash);
      if (isPasswordTooLongToRead(password)) return false;
      if (format === "malformed") return verifyDummy(password);
      if (format === "wrapped") return verifyWrapped(password, hash);
      if (format === "bcrypt") return compute(() => bcrypt.verify(password, hash));
      return verifyNormalized(normalizePassword(password), hash);
    },

    verifyDummy,

    needsRehash: (hash) => needsRehash(hash, algorithm),

    load: () => ({ running: limit.activeCount, waiting: limit.pendingCount }),

    async close() {
      closed = true;
      await Promise.allSettled(jobs);
      await bcrypt.close();
    },
  };
}

function unavailable(): PlinthError {
  return new PlinthError("UNAVAILABLE", "Too many sign-ins are waiting.", { hint: "Try again in a moment." });
}
