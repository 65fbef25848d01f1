import { hkdfSync } from "node:crypto";
import { PlinthError } from "../support/errors.ts";
import { AES_KEY_BYTES, decryptAesGcm, encryptAesGcm } from "./aes-gcm.ts";
import type { MasterKeys } from "./master-keys.ts";

/** The purpose of a secret; each has its own key, so that one kind of secret cannot replace another. */
export type SealingPurpose =
  | "totp secret"
  | "oauth token"
  | "oauth flow"
  | "mail token"
  | "user key"
  | "lookup key"
  | "model key";

/** Encrypts small secrets that the database stores but must not be able to read. */
export interface Sealer {
  /**
   * @param owner the secret's owner, such as a user's id: bound to it, so that a row copied to another owner cannot be opened
   * @returns `v<key version>.<base64url of IV, ciphertext and tag>`
   */
  seal(purpose: SealingPurpose, plaintext: string | Uint8Array, owner?: string): string;
  /**
   * @throws PlinthError UNSEALABLE for altered text, another purpose or another owner, MASTER_KEY_MISSING for a missing
   *   version
   */
  unseal(purpose: SealingPurpose, sealed: string, owner?: string): Buffer;
}

const FORM = /^v([1-9]\d{0,5})\.([A-Za-z0-9_-]{38,})$/;

/** Returns the version of the master key that sealed a text; undefined for unsealed text. */
export function sealedVersion(sealed: string): number | undefined {
  const version = FORM.exec(sealed)?.[1];
  return version === undefined ? undefined : Number(version);
}

/**
 * AES-256-GCM under HKDF-SHA256 of a master key (RFC 5869 §3.2: `info` names the purpose and the format); the owner is
 * additional authenticated data. IVs are random: one purpose may seal 2^32 secrets under one master key (NIST SP 800-38D
 * §8.3), far more than the number of accounts, so rotating every few years is enough.
 */
export function createSealer(masterKeys: MasterKeys): Sealer {
  const derived = new Map<string, Uint8Array>();

  function keyFor(purpose: SealingPurpose, version: number): Uint8Array {
    const id = `${version} ${purpose}`;
    let key = derived.get(id);
    if (!key) {
      key = new Uint8Array(
        hkdfSync("sha256", masterKeys.get(version), "", `plinth ${purpose} v1`, AES_KEY_BYTES),
      );
      derived.set(id, key);
    }
    return key;
  }

  return {
    seal(purpose, plaintext, owner) {
      const version = masterKeys.current;
      const bytes = encryptAesGcm(keyFor(purpose, version), plaintext, owner);
      return `v${version}.${bytes.toString("base64url")}`;
    },

    unseal(purpose, sealed, owner) {
      const [, version, encoded] = FORM.exec(sealed) ?? [];
      if (!version || !encoded) throw unsealable();
      const key = keyFor(purpose, Number(version));
      const bytes = Buffer.from(encoded, "base64url");
      // Buffer ignores stray bits at the end, but one secret must not have several encodings.
      if (bytes.toString("base64url") !== encoded) throw unsealable();
      try {
        return decryptAesGcm(key, bytes, owner);
      } catch (cause) {
        throw unsealable(cause);
      }
    },
  };
}

function unsealable(cause?: unknown): PlinthError {
  return new PlinthError("UNSEALABLE", "A sealed secret cannot be opened.", {
    hint: "It was altered, or sealed for another purpose or owner.",
    cause,
  });
}
