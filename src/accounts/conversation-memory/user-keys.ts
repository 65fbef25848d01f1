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

/** The data that a key encrypts; shredding one key keeps the data of the other. */
type KeyPurpose = "conversation memory" | "memories";

interface StoredKey {
  readonly key_id: string;
  readonly wrapped_key: string;
}

/**
 * Manages the users' keys for one purpose: created on first use and stored in the database, sealed by the master key. They are never cached
 * in memory, so that a shredded key is gone immediately on every server.
 */
export function createUserKeys({
  callPrivateFunction,
  sealer,
  purpose,
}: {
  callPrivateFunction: CallPrivateFunction;
  sealer: Sealer;
  purpose: KeyPurpose;
}) {
  const open = (userId: string, wrapped: string): string => openUserKey(sealer, userId, wrapped);

  return {
    open,

    async find(userId: string, request: RequestContext): Promise<UserKey | undefined> {
      const stored = await findStored(userId, request);
      return stored && { id: stored.key_id, key: open(userId, stored.wrapped_key) };
    },

    /** Returns the user's key; creates one if none exists. */
    async findOrMake(userId: string, request: RequestContext): Promise<UserKey> {
      const stored = (await findStored(userId, request)) ?? (await store(userId, request));
      return { id: stored.key_id, key: open(userId, stored.wrapped_key) };
    },

    /** @returns whether a key existed */
    async shred(userId: string, request: RequestContext): Promise<boolean> {
      const text = "select private.delete_user_key($1, $2) as existed";
      const [row] = await callPrivateFunction<{ existed: boolean }>(request, text, [userId, purpose]);
      return row!.existed;
    },
  };

  async function findStored(userId: string, request: RequestContext): Promise<StoredKey | undefined> {
    const text = "select * from private.find_user_key($1, $2)";
    const [found] = await callPrivateFunction<StoredKey>(request, text, [userId, purpose]);
    return found;
  }

  async function store(userId: string, request: RequestContext): Promise<StoredKey> {
    const wrapped = sealer.seal("user key", generateFernetKey(), userId);
    const text = "select * from private.store_user_key($1, $2, $3)";
    const [kept] = await callPrivateFunction<StoredKey>(request, text, [userId, wrapped, purpose]);
    return kept!;
  }
}

/** @throws PlinthError UNSEALABLE, MASTER_KEY_MISSING */
export function openUserKey(sealer: Sealer, userId: string, wrapped: string): string {
  return sealer.unseal("user key", wrapped, userId).toString();
}

export type UserKeys = ReturnType<typeof createUserKeys>;
