import { generateFernetKey } from "../../auth/fernet.ts";
import type { Sealer } from "../../auth/sealing.ts";
import type { RequestContext } from "../../request/context.ts";
import type { CallPrivateFunction } from "../../request/service-caller.ts";

/** A user's unsealed key. */
export interface UserKey {
  readonly id: string;
  /** For encryptFernet and decryptFernet. */
  readonly key: string;
}

interface StoredKey {
  readonly key_id: string;
  readonly wrapped_key: string;
}

/**
 * Manages the users' keys: created on first use and stored in the database, sealed by the master key. They are never cached
 * in memory, so that a shredded key is gone immediately on every server.
 */
export function createUserKeys({
  callPrivateFunction,
  sealer,
}: {
  callPrivateFunction: CallPrivateFunction;
  sealer: Sealer;
}) {
  const open = (userId: string, wrapped: string): string =>
    sealer.unseal("user key", wrapped, userId).toString();

  return {
    open,

    /** Returns the user's key; creates one if none exists. */
    async findOrMake(userId: string, request: RequestContext): Promise<UserKey> {
      const [found] = await callPrivateFunction<StoredKey>(
        request,
        "select * from private.find_user_key($1)",
        [userId],
      );
      const stored = found ?? (await store(userId, request));
      return { id: stored.key_id, key: open(userId, stored.wrapped_key) };
    },

    /** @returns whether a key existed */
    async shred(userId: string, request: RequestContext): Promise<boolean> {
      const text = "select private.delete_user_key($1) as existed";
      const [row] = await callPrivateFunction<{ existed: boolean }>(request, text, [userId]);
      return row!.existed;
    },
  };

  async function store(userId: string, request: RequestContext): Promise<StoredKey> {
    const wrapped = sealer.seal("user key", generateFernetKey(), userId);
    const text = "select * from private.store_user_key($1, $2)";
    const [kept] = await callPrivateFunction<StoredKey>(request, text, [userId, wrapped]);
    return kept!;
  }
}

export type UserKeys = ReturnType<typeof createUserKeys>;
