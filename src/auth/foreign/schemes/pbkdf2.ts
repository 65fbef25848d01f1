import { pbkdf2 } from "node:crypto";
import { promisify } from "node:util";
import type { SchemeKind } from "../scheme.ts";

/** Bytes of a block of each hash. */
const BLOCKS = { sha1: 20, sha256: 32, sha512: 64 } as const;
/** Django 6 uses 1,200,000. */
const MAX_ITERATIONS = 2_000_000;

const compute = promisify(pbkdf2);

/** RFC 8018, section 5.2. */
export const PBKDF2: Readonly<Record<string, SchemeKind>> = Object.fromEntries(
  Object.entries(BLOCKS).map(([hash, block]): [string, SchemeKind] => [
    `pbkdf2-${hash}`,
    {
      costs: ["i"],
      isValid: () => true,
      // Each block of a long digest takes all iterations.
      isAffordable: ({ cost, length }) => cost.i! * Math.ceil(length / block) <= MAX_ITERATIONS,
      digest: (password, { cost, salt, length }) => compute(password, salt, cost.i!, length, hash),
    },
  ]),
);
