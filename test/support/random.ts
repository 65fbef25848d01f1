import { randomInt } from "node:crypto";

/** Seed of this run's choices; part of the titles of tests that choose, so that PLINTH_SEED can repeat a failed run. */
export const SEED = Number(process.env.PLINTH_SEED ?? randomInt(1e9));

/**
 * mulberry32: small, seedable, good enough to choose.
 * @returns a whole number from 0 up to, but not including, `below`
 */
export function makeRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}
