import { createAccessTokens } from "../../auth/access-token.ts";
import { parseMasterKeys } from "../../auth/master-keys.ts";
import { createPasswordHasher } from "../../auth/password-hash.ts";
import { createSealer } from "../../auth/sealing.ts";
import { parseSigningKeys } from "../../auth/signing-keys.ts";
import { parseProviders } from "../../oauth/provider-settings.ts";
import { createProviders } from "../../oauth/providers.ts";
import type { ServerOptions } from "./options.ts";

export type Auth = ReturnType<typeof createAuth>;

/** Signing, sealing and hashing, which need no database: an invalid key is reported before any connection is opened. */
export function createAuth(options: ServerOptions, stack: AsyncDisposableStack) {
  const { auth } = options.config;
  const signingKeys = parseSigningKeys(options.signingKeys);
  const accessTokens = createAccessTokens({
    keys: signingKeys,
    issuer: auth.issuer,
    audience: auth.audience,
    ttlSeconds: auth.accessTokenSeconds,
  });
  const sealer = createSealer(parseMasterKeys(options.masterKeys));
  const providers = createProviders(parseProviders(auth.oauthProviders), {
    requestTimeoutSeconds: options.providerTimeoutSeconds,
  });
  const hasher = createPasswordHasher({
    concurrency: auth.hashConcurrency,
    algorithm: auth.passwordHash,
  });
  stack.defer(() => hasher.close());
  return { signingKeys, accessTokens, sealer, providers, hasher };
}
