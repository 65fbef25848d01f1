import { type ScryptOptions, scrypt } from "node:crypto";
import { promisify } from "node:util";
import type { ForeignScheme, SchemeKind } from "../scheme.ts";

/** Of one lane: OWASP's largest recommendation (N = 2^17, r = 8). */
const MAX_MEMORY = 128 * 1024 * 1024;
/** Of all lanes, which run one after the other. */
const MAX_WORK = 2 * MAX_MEMORY;

const compute = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);

const laneBytes = ({ cost }: ForeignScheme) => 128 * 2 ** cost.ln! * cost.r!;

/** RFC 7914; `ln` is the logarithm of N to base 2. */
export const SCRYPT: Readonly<Record<string, SchemeKind>> = {
  scrypt: {
    costs: ["ln", "r", "p"],
    // The RFC's limit for N.
    isValid: ({ cost }) => cost.ln! < 16 * cost.r!,
    isAffordable: (scheme) =>
      laneBytes(scheme) <= MAX_MEMORY && laneBytes(scheme) * scheme.cost.p! <= MAX_WORK,
    digest: (password, { cost, salt, length }) =>
      // Node counts a little more than the lane.
      compute(password, salt, length, { N: 2 ** cost.ln!, r: cost.r!, p: cost.p!, maxmem: 2 * MAX_WORK }),
  },
};
