import { hashRaw } from "@node-rs/argon2";
import type { SchemeKind } from "../scheme.ts";

/** In KiB. RFC 9106's second recommendation is 64 MiB and three passes; libsodium's "moderate" is 256 MiB and three passes. */
const MAX_MEMORY = 256 * 1024;
const MAX_WORK = 4 * MAX_MEMORY;
const MAX_LANES = 64;

/** The library's numbers, which its types have as `const enum`s. */
const ALGORITHMS = { argon2d: 0, argon2i: 1, argon2id: 2 } as const;
const VERSIONS: Readonly<Record<number, 0 | 1>> = { 16: 0, 19: 1 };

/** RFC 9106; `v` is 19, or 16 for the version before the RFC. */
export const ARGON2S: Readonly<Record<string, SchemeKind>> = Object.fromEntries(
  Object.entries(ALGORITHMS).map(([name, algorithm]): [string, SchemeKind] => [
    name,
    {
      costs: ["v", "m", "t", "p"],
      isValid: ({ cost, salt }) =>
        cost.v! in VERSIONS && cost.m! >= 8 * cost.p! && salt.length >= 8 && salt.length <= 64,
      isAffordable: ({ cost }) =>
        cost.m! <= MAX_MEMORY && cost.m! * cost.t! <= MAX_WORK && cost.p! <= MAX_LANES,
      digest: (password, { cost, salt, length }) =>
        hashRaw(password, {
          algorithm: algorithm as number,
          version: VERSIONS[cost.v!] as number,
          memoryCost: cost.m!,
          timeCost: cost.t!,
          parallelism: cost.p!,
          outputLen: length,
          salt,
        }),
    },
  ]),
);
