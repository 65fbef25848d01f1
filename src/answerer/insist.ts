import { setTimeout as sleep } from "node:timers/promises";
import { contextWithoutRequest } from "../request/context.ts";
import { isTransient } from "../request/public-error.ts";
import type { CallPrivateFunction } from "../request/service-caller.ts";

/** Calls a private function and returns its rows. */
export type Call = <TRow>(text: string, values: readonly unknown[]) => Promise<readonly TRow[]>;

const RETRY_MS = 200;
const MAX_TRIES = 50;

/** Calls once. */
export function callOnce(callPrivateFunction: CallPrivateFunction): Call {
  return (text, values) => callPrivateFunction(contextWithoutRequest(), text, values);
}

/** Repeats a call while the database cannot be reached; every change of an answer can be repeated. */
export function insist(callPrivateFunction: CallPrivateFunction): Call {
  const call = callOnce(callPrivateFunction);
  return async (text, values) => {
    for (let tries = 1; ; tries++) {
      try {
        return await call(text, values);
      } catch (error) {
        if (!isTransient(error) || tries >= MAX_TRIES) throw error;
        await sleep(RETRY_MS);
      }
    }
  };
}
