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

/** The secrets that bind one sign-in at a provider; only `state` is not secret. */
export interface FlowSecrets {
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string;
}

/** A user confirmed by the provider, and the tokens for access on the user's behalf. */
export interface ProviderAnswer {
  readonly account: ProviderAccount;
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  /** Undefined if the provider does not report it. */
  readonly expiresAt: Date | undefined;
}

/** A client of a provider. All methods reject with ProviderError. */
export interface Provider {
  readonly settings: ProviderSettings;
  /** Returns the URL to send the browser to: authorization code flow with PKCE S256 (RFC 7636), state and nonce. */
  authorizationUrl(secrets: FlowSecrets, redirectUri: string): Promise<string>;
  /**
   * Exchanges the code in the URL that the browser was redirected to, and checks the response: `iss` of the URL
   * (RFC 9207), state, signature, issuer, audience, times and nonce of the ID token (OpenID Connect Core §3.1.3.7).
   */
  exchange(callbackUrl: URL, secrets: FlowSecrets): Promise<ProviderAnswer>;
}

/** Timeout of each request to a provider; a whole exchange may take twice as long. */
const REQUEST_TIMEOUT_SECONDS = 5;
/** More than any provider's tokens have; the database stores no longer ones (oauth_tokens_are_small). */
const MAX_TOKEN_LENGTH = 16_384;
/** A provider may move its endpoints; openid-client reloads the keys when one is unknown. */
const METADATA_LIFETIME_MS = 60 * 60 * 1000;

export function createProvider(
  settings: ProviderSettings,
  { requestTimeoutSeconds = REQUEST_TIMEOUT_SECONDS }: { requestTimeoutSeconds?: number | undefined } = {},
): Provider {
  let known: { readonly configuration: Promise<Configuration>; readonly until: number } | undefined;

  /** A single request shared by concurrent callers; a failure is not cached, so that the next sign-in retries. */
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
        // A late exchange ends by its own timeouts.
        return await withTimeout(
          ask(await configuration(), settings, callbackUrl, secrets),
          2_000 * requestTimeoutSeconds,
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
        // The signature is checked although TLS already authenticates the provider, as a second defence (RFC 9700 §4).
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
  // Many providers put only the subject into the ID token and return the rest here. Its `sub` must match (§5.3.2).
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

/** Returns undefined for a lifetime beyond the range of dates. */
function expiry(lifetimeSeconds: number): Date | undefined {
  const time = new Date(Date.now() + lifetimeSeconds * 1000);
  return time.getFullYear() < 10_000 ? time : undefined;
}
