import type { Answer, Api } from "./api.ts";

export const APP = "https://app.example.org/callback";

/** A provider's entry in PLINTH_OAUTH_PROVIDERS. */
export function entry(
  name: string,
  { issuer, clientId, clientSecret }: { issuer: string; clientId: string; clientSecret: string },
  more: Record<string, unknown> = {},
) {
  return { name, issuer, clientId, clientSecret, redirectUris: [`${APP}/${name}`], ...more };
}

export interface Started {
  readonly authorizationUrl: string;
  readonly flowToken: string;
  readonly expiresAt: string;
}

/** `startProviderSignIn`, or `startProviderLink` with a token. */
export async function start(api: Api, provider: string, token?: string): Promise<Started> {
  const answer = await startAnswer(api, { provider }, token);
  if (!answer.data?.started) throw new Error(`Not started: ${answer.text}`);
  return answer.data.started;
}

export function startAnswer(api: Api, input: Record<string, unknown>, token?: string): Promise<Answer> {
  const start = token
    ? "mutation ($input: StartProviderLinkInput!) { started: startProviderLink(input: $input)"
    : "mutation ($input: StartProviderSignInInput!) { started: startProviderSignIn(input: $input)";
  return api.ask(`${start} { authorizationUrl flowToken expiresAt } }`, { variables: { input }, token });
}

export function finishSignIn(api: Api, flowToken: string, callbackUrl: string): Promise<Answer> {
  return api.ask(
    `mutation ($input: FinishProviderSignInInput!) {
       finishProviderSignIn(input: $input) {
         accessToken refreshToken
         user { id username email isVerified oauthProfiles { nodes { provider providerUserId email isEmailVerified userInfo tokenExpiresAt lastUsedAt } } }
         challenge { token methods }
       }
     }`,
    { variables: { input: { flowToken, callbackUrl } } },
  );
}

export function finishLink(
  api: Api,
  token: string | undefined,
  flowToken: string,
  callbackUrl: string,
): Promise<Answer> {
  return api.ask(
    `mutation ($input: FinishProviderLinkInput!) {
       finishProviderLink(input: $input) { oauthProfile { provider providerUserId lastUsedAt } }
     }`,
    { variables: { input: { flowToken, callbackUrl } }, token },
  );
}

export function unlink(api: Api, token: string | undefined, provider: string): Promise<Answer> {
  return api.ask(
    "mutation ($provider: String!) { unlinkProvider(input: { provider: $provider }) { result { provider } } }",
    { variables: { provider }, token },
  );
}
