import type { Sealer } from "../auth/sealing.ts";
import { type RequestContext, requireClaims } from "../request/context.ts";
import type { CallPrivateFunction } from "../request/service-caller.ts";
import { PlinthError } from "../support/errors.ts";

/** Keys of model providers and of users' own models. They can be set and deleted, but never read. */
export interface ModelKeys {
  /** @throws PlinthError BAD_USER_INPUT; PL401, PL404 also for callers without manage_models */
  setOfProvider(
    input: { providerId: string; key?: string | null },
    request: RequestContext,
  ): Promise<KeyChange>;
  /** @throws PlinthError BAD_USER_INPUT; PL401, PL403 for callers without use_own_model */
  setOwn(input: { key?: string | null }, request: RequestContext): Promise<KeyChange>;
}

export interface KeyChange {
  /** Whether a key is stored now. */
  readonly hasKey: boolean;
}

/** As a header may carry it (RFC 9110 §5.5), without spaces. */
const KEY = /^[\x21-\x7e]{1,4096}$/;

export function createModelKeys(parts: {
  callPrivateFunction: CallPrivateFunction;
  sealer: Sealer;
}): ModelKeys {
  const { callPrivateFunction, sealer } = parts;

  /** The seal is bound to the owner, so that a copied row cannot be opened for another. */
  function sealed(key: string | null | undefined, owner: string): string | null {
    if (key === null || key === undefined) return null;
    if (!KEY.test(key))
      throw new PlinthError("BAD_USER_INPUT", "A key must have 1 to 4,096 visible ASCII characters.", {
        field: "key",
      });
    return sealer.seal("model key", key, owner);
  }

  return {
    async setOfProvider({ providerId, key }, request) {
      requireClaims(request);
      const text = "select private.set_provider_key($1, $2)";
      await callPrivateFunction(request, text, [providerId, sealed(key, providerId.toLowerCase())]);
      return { hasKey: typeof key === "string" };
    },

    async setOwn({ key }, request) {
      const { userId } = requireClaims(request);
      await callPrivateFunction(request, "select private.set_own_model_key($1)", [sealed(key, userId)]);
      return { hasKey: typeof key === "string" };
    },
  };
}
