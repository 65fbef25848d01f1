import { randomBytes } from "node:crypto";
import { createSecretToken, hashSecret, isSecretToken } from "../../auth/secret-token.ts";
import type { Provider, ProviderAnswer } from "../../oauth/provider.ts";
import type { ProviderAccount } from "../../oauth/provider-account.ts";
import { ProviderError } from "../../oauth/provider-error.ts";
import type { Providers } from "../../oauth/providers.ts";
import type { RequestContext } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { badInput, checkText } from "./input.ts";

// Signing in with another provider: the part shared by start and finish. The client receives the provider's response at its
// own URL and passes it on; Plinth serves no callback page. So web pages and native apps work alike, no cookie is needed, and
// no token ever appears in a URL.
//
//   start:   flow token → to the calling client, its hash is stored
//            state, nonce, code challenge → through the browser to the provider
//            code verifier, nonce → sealed into the database
//   finish:  flow token + the complete URL that the browser was redirected to, with code and state
//
// The URL alone is worthless: the code needs the verifier, which only this server can read, and the flow needs the token,
// which only the client that started it has. The token prevents login CSRF (a victim finishing an attacker's sign-in). The
// verifier and nonce prevent code injection: the provider binds the code to this flow's verifier and the ID token to its nonce.

export type FlowPurpose = "sign_in" | "link";

export interface SignInProvider {
  readonly name: string;
  readonly label: string;
}

export interface StartProviderInput {
  readonly provider: string;
  /** A redirect URI of the provider; defaults to the first. */
  readonly redirectUri?: string | null;
  readonly deviceName?: string | null;
}

export interface StartedProviderFlow {
  /** The URL to send the browser to. */
  readonly authorizationUrl: string;
  /** The token that the starting client keeps and sends at the end. */
  readonly flowToken: string;
  readonly expiresAt: string;
}

export interface FinishProviderInput {
  readonly flowToken: string;
  /** The complete URL that the browser was redirected to. */
  readonly callbackUrl: string;
}

export interface LinkedProfile {
  readonly profileId: string;
}

/** A flow whose response the provider has confirmed, ready for the database. */
export interface AnsweredFlow {
  readonly id: string;
  readonly provider: Provider;
  readonly answer: ProviderAnswer;
  /** The provider's tokens as stored in the database. */
  readonly sealed: { readonly accessToken: string; readonly refreshToken: string | null };
}

interface TakenFlow {
  readonly flow_id: string;
  readonly provider: string;
  readonly redirect_uri: string;
  readonly secrets_sealed: string;
}

const MAX_NAME_LENGTH = 50;
const MAX_URL_LENGTH = 16_384;

export function listProviders(providers: Providers): readonly SignInProvider[] {
  return providers.all.map(({ settings: { name, label } }) => ({ name, label }));
}

/** @throws PlinthError BAD_USER_INPUT, UNAVAILABLE; UNAUTHENTICATED for a link without a session */
export async function startFlow(
  { callPrivateFunction, providers, sealer }: SignInDependencies,
  purpose: FlowPurpose,
  { provider: name, redirectUri = null, deviceName = null }: StartProviderInput,
  request: RequestContext,
): Promise<StartedProviderFlow> {
  checkText("provider", name, MAX_NAME_LENGTH);
  checkText("redirectUri", redirectUri, MAX_URL_LENGTH);
  const provider = providers.get(name);
  if (!provider) throw badInput("provider", "is not a provider of this server");
  const uri = redirectUri ?? provider.settings.redirectUris[0]!;
  if (!provider.settings.redirectUris.includes(uri))
    throw badInput("redirectUri", "is not among the provider's redirect URIs");

  const flow = createSecretToken("plo_");
  const [state, nonce, codeVerifier] = [random(), random(), random()];
  const authorizationUrl = await provider
    .authorizationUrl({ state, nonce, codeVerifier }, uri)
    .catch((error: unknown) => {
      throw error instanceof ProviderError ? unavailable(error) : error;
    });
  const [started] = await callPrivateFunction<{ expires_at: Date }>(
    request,
    "select private.start_provider_flow($1, $2, $3, $4, $5, $6, $7) as expires_at",
    [
      name,
      purpose,
      flow.hash,
      hashSecret(state),
      uri,
      sealer.seal("oauth flow", JSON.stringify({ nonce, codeVerifier })),
      deviceName,
    ],
  );
  return { authorizationUrl, flowToken: flow.token, expiresAt: started!.expires_at.toISOString() };
}

/**
 * Consumes the flow and calls its provider. No database client is held meanwhile.
 * @throws PlinthError BAD_USER_INPUT, INVALID_CREDENTIALS, FORBIDDEN, UNAVAILABLE
 */
export async function answerFlow(
  { callPrivateFunction, providers, sealer }: SignInDependencies,
  purpose: FlowPurpose,
  { flowToken, callbackUrl }: FinishProviderInput,
  request: RequestContext,
): Promise<AnsweredFlow> {
  checkText("callbackUrl", callbackUrl, MAX_URL_LENGTH);
  const url = URL.parse(callbackUrl);
  const [state, ...others] = url?.searchParams.getAll("state") ?? [];
  if (!url || !state || others.length > 0)
    throw badInput("callbackUrl", "is not the URL that the provider redirected the browser to");
  if (!isSecretToken("plo_", flowToken)) throw refused();

  const [flow] = await callPrivateFunction<TakenFlow>(
    request,
    "select flow_id, provider, redirect_uri, secrets_sealed from private.take_provider_flow($1, $2, $3)",
    [purpose, hashSecret(flowToken), hashSecret(state)],
  );
  if (!flow) throw refused();
  try {
    // Must be the exact redirect URI: a response received elsewhere belongs to another provider (mix-up attack).
    if (withoutParameters(url) !== flow.redirect_uri)
      throw new ProviderError("not_believed", "wrong_redirect_uri");
    const provider = providers.get(flow.provider);
    if (!provider) throw new ProviderError("unavailable", "no_such_provider");
    const secrets = JSON.parse(sealer.unseal("oauth flow", flow.secrets_sealed).toString());
    const answer = await provider.exchange(url, { state, ...secrets });
    const sealed = {
      accessToken: sealer.seal("oauth token", answer.accessToken),
      refreshToken: answer.refreshToken ? sealer.seal("oauth token", answer.refreshToken) : null,
    };
    return { id: flow.flow_id, provider, answer, sealed };
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    await callPrivateFunction(request, "select private.fail_provider_flow($1, $2)", [
      flow.flow_id,
      error.reason,
    ]);
    throw told(error);
  }
}

/** The stored profile of a user at a provider: in privacy mode without identifying data. */
export function keptProfile(
  { privacyMode }: Pick<SignInDependencies, "privacyMode">,
  account: ProviderAccount,
) {
  if (!privacyMode)
    return { email: account.email ?? null, emailVerified: account.emailVerified, userInfo: account.userInfo };
  const { locale } = account.userInfo;
  return { email: null, emailVerified: false, userInfo: locale === undefined ? {} : { locale } };
}

/** The same error for an unknown, used, expired or foreign flow, and for an invalid response. */
export function refused(): PlinthError {
  return new PlinthError("INVALID_CREDENTIALS", "The provider's response is not valid.", {
    hint: "Start again.",
  });
}

function told(error: ProviderError): PlinthError {
  if (error.failure === "unavailable") return unavailable(error);
  if (error.failure === "not_believed") return refused();
  return new PlinthError("FORBIDDEN", "The provider denied the sign-in.", {
    hint: "Start again and grant access at the provider.",
  });
}

function unavailable(cause: ProviderError): PlinthError {
  return new PlinthError("UNAVAILABLE", "The provider cannot be reached at the moment; try again later.", {
    cause,
  });
}

function withoutParameters(url: URL): string {
  const bare = new URL(url);
  bare.search = "";
  bare.hash = "";
  return bare.href;
}

/** 256 bits: 43 characters, which is also the shortest code verifier allowed (RFC 7636 §4.1). */
function random(): string {
  return randomBytes(32).toString("base64url");
}
