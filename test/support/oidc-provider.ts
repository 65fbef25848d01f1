import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { jest } from "@jest/globals";
import { Provider } from "oidc-provider";

/** Claims of each person, by the name typed into the provider's sign-in page, which is also the subject there. */
type People = Record<string, Record<string, unknown>>;

/** A real OpenID Connect provider (oidc-provider) on loopback. */
export interface TestProvider {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** The people who can sign in; may change while it runs. */
  readonly people: People;
  /** Every access and refresh token that it issued. */
  readonly tokens: string[];
  /**
   * Follows an authorization URL, as a browser without a session there does: signs in as `person` (null aborts) and
   * agrees. Returns the address to which the provider redirects the browser.
   */
  visit(authorizationUrl: string, person: string | null): Promise<string>;
  close(): Promise<void>;
}

export async function startOidcProvider(options: { redirectUris: string[] }): Promise<TestProvider> {
  const server = createServer();
  // The client closes an idle connection first, also after a pause in which both could.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clientId = "plinth-test";
  const clientSecret = "canary-client-secret-0123456789abcdef";
  const people: People = {};
  const tokens: string[] = [];
  const provider = quietly(
    () =>
      new Provider(issuer, {
        clients: [
          {
            client_id: clientId,
            client_secret: clientSecret,
            redirect_uris: options.redirectUris,
            grant_types: ["authorization_code", "refresh_token"],
            token_endpoint_auth_method: "client_secret_post",
          },
        ],
        jwks: {
          keys: [generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" })],
        },
        cookies: { keys: ["a key of the test provider"] },
        claims: {
          openid: ["sub"],
          email: ["email", "email_verified"],
          profile: ["name", "preferred_username", "picture", "locale", "birthdate"],
        },
        pkce: { required: () => true },
        ttl: {
          Interaction: 600,
          Session: 600,
          Grant: 600,
          AuthorizationCode: 600,
          AccessToken: 600,
          RefreshToken: 600,
          IdToken: 600,
        },
        issueRefreshToken: async () => true,
        features: { devInteractions: { enabled: true } },
        findAccount: async (_ctx, id) => ({
          accountId: id,
          claims: async () => ({ sub: id, ...people[id] }),
        }),
      }),
  );
  provider.on("grant.success", ({ body }) => {
    const { access_token, refresh_token } = body as { access_token: string; refresh_token?: string };
    tokens.push(access_token, ...(refresh_token ? [refresh_token] : []));
  });
  const handle = provider.callback();
  server.on("request", (request, response) => quietly(() => void handle(request, response)));
  return {
    issuer,
    clientId,
    clientSecret,
    people,
    tokens,
    visit: (url, person) => visit(issuer, url, person),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A minimal browser: cookies, redirects, and the forms of the provider's two pages. */
async function visit(issuer: string, start: string, person: string | null): Promise<string> {
  const cookies = new Map<string, string>();
  let next: { url: string; form?: Record<string, string> } = { url: start };
  for (let step = 0; step < 20; step++) {
    const response = await fetch(next.url, {
      method: next.form ? "POST" : "GET",
      redirect: "manual",
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
      ...(next.form && { body: new URLSearchParams(next.form) }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie)!;
      cookies.set(name!, value!);
    }
    const location = response.headers.get("location");
    const page = await response.text();
    if (location) {
      const url = new URL(location, next.url);
      if (url.origin !== issuer) return url.href;
      next = { url: url.href };
    } else if (person === null && page.includes("/abort")) {
      next = { url: `${next.url}/abort` };
    } else {
      const prompt = /name="prompt" value="(\w+)"/.exec(page)?.[1];
      if (!prompt) throw new Error(`The provider answered ${response.status}: ${page.slice(0, 300)}`);
      next = { url: next.url, form: { prompt, login: person ?? "", password: "anything" } };
    }
  }
  throw new Error("The provider sends the browser round in circles.");
}

/** It warns about settings that are right in a test: loopback without TLS, its own pages. */
function quietly<T>(work: () => T): T {
  const spies = [jest.spyOn(console, "warn"), jest.spyOn(console, "info")];
  for (const spy of spies) spy.mockImplementation(() => {});
  try {
    return work();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
