import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Forgery {
  /** Changes or removes (undefined) claims of the ID token. */
  claims?: Record<string, unknown>;
  /** Members of the token endpoint's response. */
  tokens?: Record<string, unknown>;
  /** How the ID token is signed; correctly if omitted. */
  signature?: "another key" | "none" | "HS256 with the public key" | "altered";
  /** Members of the userinfo response; no endpoint if omitted. */
  userInfo?: Record<string, unknown>;
  /** Handles an endpoint's request. */
  answer?: (path: string, response: ServerResponse) => boolean;
}

/** A provider that says whatever the test wants, correctly signed or not. It accepts every code and has no pages. */
export interface ForgedProvider {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Set before each sign-in. */
  forgery: Forgery;
  /** Requests received by the token endpoint. */
  readonly requests: URLSearchParams[];
  /** The address a provider would send the browser back to; `changes` change its parameters (undefined removes). */
  visit(authorizationUrl: string, changes?: Record<string, string | undefined>): string;
  close(): Promise<void>;
}

const rsa = () => generateKeyPairSync("rsa", { modulusLength: 2048 });
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

export async function startForgedProvider(): Promise<ForgedProvider> {
  const key = rsa();
  const stranger = rsa();
  const server = createServer();
  // The client closes an idle connection first, also after a pause in which both could.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let nonce: string | null = null;

  function idToken({ claims, signature }: Forgery): string {
    const now = Math.floor(Date.now() / 1000);
    const payload = encode({
      ...{ iss: issuer, aud: "client", sub: "somebody", iat: now, exp: now + 3_600, nonce },
      ...claims,
    });
    const alg = signature === "none" ? "none" : signature?.startsWith("HS256") ? "HS256" : "RS256";
    const text = `${encode({ alg, kid: "k" })}.${payload}`;
    const sealed = (privateKey: KeyObject) =>
      `${text}.${sign("sha256", Buffer.from(text), privateKey).toString("base64url")}`;
    if (signature === "none") return `${text}.`;
    if (signature === "another key") return sealed(stranger.privateKey);
    if (signature === "HS256 with the public key") {
      const pem = key.publicKey.export({ type: "spki", format: "pem" });
      return `${text}.${createHmac("sha256", pem).update(text).digest("base64url")}`;
    }
    if (signature !== "altered") return sealed(key.privateKey);
    const [, , mac] = sealed(key.privateKey).split(".");
    return `${encode({ alg, kid: "k" })}.${encode({ ...JSON.parse(Buffer.from(payload, "base64url").toString()), sub: "victim" })}.${mac}`;
  }

  const forged: ForgedProvider = {
    issuer,
    clientId: "client",
    clientSecret: "canary-forged-client-secret-0123456789",
    forgery: {},
    requests: [],
    visit(authorizationUrl, changes = {}) {
      const asked = new URL(authorizationUrl).searchParams;
      nonce = asked.get("nonce");
      const back = new URL(asked.get("redirect_uri")!);
      const parameters = { code: "canary-code", state: asked.get("state")!, iss: issuer, ...changes };
      for (const [name, value] of Object.entries(parameters))
        if (value !== undefined) back.searchParams.set(name, value);
      return back.href;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  server.on("request", async (request, response) => {
    const { pathname } = new URL(request.url!, issuer);
    let body = "";
    for await (const chunk of request) body += chunk;
    if (pathname === "/token") forged.requests.push(new URLSearchParams(body));
    if (forged.forgery.answer?.(pathname, response)) return;
    const answers: Record<string, () => unknown> = {
      "/.well-known/openid-configuration": () => ({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/keys`,
        authorization_response_iss_parameter_supported: true,
        id_token_signing_alg_values_supported: ["RS256"],
        userinfo_endpoint: `${issuer}/me`,
      }),
      "/keys": () => ({
        keys: [{ ...key.publicKey.export({ format: "jwk" }), kid: "k", alg: "RS256", use: "sig" }],
      }),
      "/token": () => ({
        ...{ access_token: "canary-access-token", token_type: "Bearer", expires_in: 3600 },
        refresh_token: "canary-refresh-token",
        id_token: idToken(forged.forgery),
        ...forged.forgery.tokens,
      }),
      "/me": () => forged.forgery.userInfo ?? { sub: forged.forgery.claims?.sub ?? "somebody" },
    };
    const answer = answers[pathname];
    response.writeHead(answer ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(answer?.() ?? {}));
  });
  return forged;
}
