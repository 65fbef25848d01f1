import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  ClientSecretPost,
  type Configuration,
  calculatePKCECodeChallenge,
  customFetch,
  discovery,
  enableNonRepudiationChecks,
  fetchUserInfo,
  None,
} from "openid-client";
import { withTimeout } from "../support/with-timeout.ts";
import { boundedFetch } from "./bounded-fetch.ts";
import { type ProviderAccount, readAccount } from "./provider-account.ts";
import { ProviderError, providerError } from "./provider-error.ts";
import { isPlainHttp, type ProviderSettings } from "./provider-settings.ts";

/** What one sign-in at a provider is held to; all secret but `state`. */
export interface FlowSecrets {
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string;
}

/** Somebody the provider vouches for, and what it lets us do in their name. */
export interface ProviderAnswer {
  readonly account: ProviderAccount;
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  /** Undefined if the provider does not say. */
  readonly expiresAt: Date | undefined;
}

/** A provider as a client of it. All methods reject with ProviderError. */
export interface Provider {
  readonly settings: ProviderSettings;
  /** Where to send the browser: authorization code flow with PKCE S256 (RFC 7636), state and nonce. */
  authorizationUrl(secrets: FlowSecrets, redirectUri: string): Promise<string>;
  /**
   * Exchanges the code in the address that the browser came back to, and checks the answer: `iss` of the address
   * (RFC 9207), state, signature, issuer, audience, times and nonce of the ID token (OpenID Connect Core §3.1.3.7).
   */
  exchange(callbackUrl: URL, secrets: FlowSecrets): Promise<ProviderAnswer>;
}

/** Each request to a provider; all of an exchange have the second limit together. */
const REQUEST_TIMEOUT_SECONDS = 5;
const EXCHANGE_TIMEOUT_MS = 10_000;
/** More than any provider's tokens have; the database keeps no longer ones (oauth_tokens_are_small). */
const MAX_TOKEN_LENGTH = 16_384;
/** A provider may move its endpoints; its keys are read anew by openid-client when one is unknown. */
const METADATA_LIFETIME_MS = 60 * 60 * 1000;

export function createProvider(
  settings: ProviderSettings,
  { requestTimeoutSeconds = REQUEST_TIMEOUT_SECONDS } = {},
): Provider {
  let known: { readonly configuration: Promise<Configuration>; readonly until: number } | undefined;

  /** One request however many ask; a failure is not kept, so that the next sign-in tries again. */
  function configuration(): Promise<Configuration> {
    if (known && known.until > Date.now()) return known.configuration;
    const asked = {
      configuration: discover(settings, requestTimeoutSeconds),
      until: Date.now() + METADATA_LIFETIME_MS,
    };
    known = asked;
    asked.configuration.catch(() => {
      if (known === asked) known = undefined;
    });
    return asked.configuration;
  }

  return {
    settings,

    async authorizationUrl({ state, nonce, codeVerifier }, redirectUri) {
      try {
        const url = buildAuthorizationUrl(await configuration(), {
          redirect_uri: redirectUri,
          scope: settings.scopes.join(" "),
          state,
          nonce,
          code_challenge: await calculatePKCECodeChallenge(codeVerifier),
          code_challenge_method: "S256",
        });
        return url.href;
      } catch (error) {
        throw providerError(error);
      }
    },

    async exchange(callbackUrl, secrets) {
      try {
        // If it is late, its own timeouts end it.
        return await withTimeout(
          ask(await configuration(), settings, callbackUrl, secrets),
          EXCHANGE_TIMEOUT_MS,
          () => new ProviderError("unavailable", "timeout"),
        );
      } catch (error) {
        throw providerError(error);
      }
    },
  };
}

async function discover(settings: ProviderSettings, timeout: number): Promise<Configuration> {
  const { issuer, clientId, clientSecret } = settings;
  return discovery(
    issuer,
    clientId,
    undefined,
    clientSecret === undefined ? None() : ClientSecretPost(clientSecret),
    {
      timeout,
      [customFetch]: boundedFetch,
      execute: [
        // The signature is checked although TLS already says who answers: one more thing to get past (RFC 9700 §4).
        enableNonRepudiationChecks,
        ...(isPlainHttp(settings) ? [allowInsecureRequests] : []),
      ],
    },
  );
}

async function ask(
  configuration: Configuration,
  { scopes }: ProviderSettings,
  callbackUrl: URL,
  { state, nonce, codeVerifier }: FlowSecrets,
): Promise<ProviderAnswer> {
  const tokens = await authorizationCodeGrant(configuration, callbackUrl, {
    expectedState: state,
    expectedNonce: nonce,
    pkceCodeVerifier: codeVerifier,
    idTokenExpected: true,
  });
  const claims = tokens.claims();
  if (!claims) throw new ProviderError("not_believed", "no_id_token");
  if (Math.max(tokens.access_token.length, tokens.refresh_token?.length ?? 0) > MAX_TOKEN_LENGTH)
    throw new ProviderError("not_believed", "token_too_long");
  // Many providers put only the subject into the ID token and tell the rest here. Its `sub` must be the same (§5.3.2).
  const isMissing =
    (scopes.includes("email") && claims.email === undefined) ||
    (scopes.includes("profile") && claims.name === undefined && claims.preferred_username === undefined);
  const more =
    isMissing && configuration.serverMetadata().userinfo_endpoint
      ? await fetchUserInfo(configuration, tokens.access_token, claims.sub)
      : {};
  const lifetime = tokens.expiresIn();
  return {
    account: readAccount({ ...claims, ...more, sub: claims.sub }),
    accessToken: tokens.access_token,
    refreshToken: tokens.refresh_token,
    expiresAt: lifetime === undefined ? undefined : expiry(lifetime),
  };
}

/** Undefined for a lifetime beyond what a date holds. */
function expiry(lifetimeSeconds: number): Date | undefined {
  const time = new Date(Date.now() + lifetimeSeconds * 1000);
  return time.getFullYear() < 10_000 ? time : undefined;
}
