import { randomId } from "../support/random-id.ts";
import { sleep } from "../support/sleep.ts";
import type { TokenStorage } from "./storage.ts";

/** Runs a function while no other tab runs one under the same name. */
export type Exclusively = <T>(run: () => Promise<T>) => Promise<T>;

interface Locks {
  request<T>(name: string, run: () => Promise<T>): Promise<T>;
}

/** The lock of the browser; where it is missing (pages without HTTPS), a lock in the shared storage. */
export function tabLock(name: string, storage: TokenStorage): Exclusively {
  const { locks } = (globalThis as { navigator?: { locks?: Locks } }).navigator ?? {};
  return locks ? (run) => locks.request(name, run) : storageLock(name, storage);
}

/** Longer than a refresh takes. A tab that is closed while it holds the lock blocks the others for as long. */
const LEASE_MS = 10_000;
/** Another tab that saw the lock free writes within this time; the last one to write has it. */
const SETTLE_MS = 50;

/**
 * A lease in the storage. Storage has no atomic operation, so two tabs may rarely hold it at once. This is harmless,
 * because the server returns the same successor for a token that is sent twice within a minute.
 */
export function storageLock(name: string, storage: TokenStorage): Exclusively {
  const key = `${name}.lock`;
  const read = (): { owner?: string; until?: number } => {
    try {
      return JSON.parse(storage.getItem(key) ?? "{}");
    } catch {
      return {};
    }
  };
  return async (run) => {
    const owner = randomId();
    do {
      while ((read().until ?? 0) > Date.now()) await sleep(SETTLE_MS);
      storage.setItem(key, JSON.stringify({ owner, until: Date.now() + LEASE_MS }));
      await sleep(SETTLE_MS);
    } while (read().owner !== owner);
    try {
      return await run();
    } finally {
      if (read().owner === owner) storage.removeItem(key);
    }
  };
}
