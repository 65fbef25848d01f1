import { randomId } from "../support/random-id.ts";
import { sleep } from "../support/sleep.ts";
import type { TokenStorage } from "./storage.ts";

/**
 * Runs a function while no other tab runs one under the same name.
 * `waited` is true if another tab ran one in the meantime: what it wrote to the storage may arrive here later.
 */
export type Exclusively = <T>(run: (waited: boolean) => Promise<T>) => Promise<T>;

interface Locks {
  request<T>(
    name: string,
    options: { ifAvailable?: boolean },
    run: (lock: unknown) => Promise<T>,
  ): Promise<T>;
}

/** The lock of the browser; where it is missing (pages without HTTPS), a lock in the shared storage. */
export function tabLock(name: string, storage: TokenStorage): Exclusively {
  const { locks } = (globalThis as { navigator?: { locks?: Locks } }).navigator ?? {};
  if (!locks) return storageLock(name, storage);
  return async (run) => {
    const atOnce = await locks.request(name, { ifAvailable: true }, async (lock) =>
      lock ? { result: await run(false) } : undefined,
    );
    return atOnce ? atOnce.result : locks.request(name, {}, () => run(true));
  };
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
    let tries = 0;
    do {
      tries++;
      for (; (read().until ?? 0) > Date.now(); tries++) await sleep(SETTLE_MS);
      storage.setItem(key, JSON.stringify({ owner, until: Date.now() + LEASE_MS }));
      await sleep(SETTLE_MS);
    } while (read().owner !== owner);
    try {
      return await run(tries > 1);
    } finally {
      if (read().owner === owner) storage.removeItem(key);
    }
  };
}
