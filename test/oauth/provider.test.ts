import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { createProvider, type FlowSecrets } from "../../src/oauth/provider.ts";
import { parseProviders } from "../../src/oauth/provider-settings.ts";
import { type ForgedProvider, startForgedProvider } from "../support/forged-provider.ts";
import { APP, entry } from "../support/provider-flow.ts";

let forged: ForgedProvider;
beforeAll(async () => {
  forged = await startForgedProvider();
});
afterAll(() => forged.close());
beforeEach(() => {
  forged.forgery = {};
});

const SECRETS: FlowSecrets = { state: "s".repeat(43), nonce: "n".repeat(43), codeVerifier: "v".repeat(43) };
const client = (requestTimeoutSeconds = 300) =>
  createProvider(parseProviders(JSON.stringify([entry("forged", forged)]))[0]!, { requestTimeoutSeconds });

describe("discovery", () => {
  const DISCOVERY = "/.well-known/openid-configuration";

  test("is requested once, also by concurrent callers, and again after a failure", async () => {
    let asked = 0;
    let isDown = true;
    forged.forgery.answer = (path, response) => {
      if (path !== DISCOVERY) return false;
      asked++;
      if (isDown) response.writeHead(503).end();
      return isDown;
    };
    const provider = client();
    const url = () => provider.authorizationUrl(SECRETS, `${APP}/forged`);
    await expect(url()).rejects.toMatchObject({ failure: "unavailable" });
    isDown = false;
    await Promise.all([url(), url(), url()]);
    await url();
    expect(asked).toBe(2);
  });

  test("is rejected if it names another issuer", async () => {
    const issuer = "https://accounts.example.org";
    forged.forgery.answer = (path, response) => {
      if (path !== DISCOVERY) return false;
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ issuer, authorization_endpoint: `${issuer}/authorize` }));
      return true;
    };
    await expect(client().authorizationUrl(SECRETS, `${APP}/forged`)).rejects.toMatchObject({
      failure: "not_believed",
    });
  });
});

describe("a provider that does not answer", () => {
  const callback = async (provider: ReturnType<typeof client>) =>
    new URL(forged.visit(await provider.authorizationUrl(SECRETS, `${APP}/forged`)));

  test.each(["/.well-known/openid-configuration", "/token", "/keys", "/me"])(
    "is abandoned when it hangs at %s",
    async (path) => {
      const provider = client(0.2);
      let isSilent = path !== "/token";
      forged.forgery.answer = (asked, response) => {
        if (asked !== path || !isSilent) return false;
        // A response head without an end is worse than no answer.
        response.writeHead(200, { "content-type": "application/json" });
        response.write("{");
        return true;
      };
      const exchange = async () => {
        const url = await callback(provider);
        isSilent = true;
        return provider.exchange(url, SECRETS);
      };
      await expect(exchange()).rejects.toMatchObject({ failure: "unavailable", reason: "unreachable" });
    },
  );

  test("is abandoned when its answer reaches a megabyte", async () => {
    const provider = client();
    const url = await callback(provider);
    forged.forgery.tokens = { padding: "x".repeat(1_000_000) };
    await expect(provider.exchange(url, SECRETS)).rejects.toMatchObject({ failure: "unavailable" });
    forged.forgery.tokens = { padding: "x".repeat(100_000) };
    expect((await provider.exchange(url, SECRETS)).account.subject).toBe("somebody");
  });
});

describe("claims", () => {
  test("come from the ID token and, only for what is missing, from userinfo", async () => {
    const asked: string[] = [];
    forged.forgery.answer = (path) => {
      asked.push(path);
      return false;
    };
    const provider = client();
    const exchange = async () =>
      (
        await provider.exchange(
          new URL(forged.visit(await provider.authorizationUrl(SECRETS, `${APP}/forged`))),
          SECRETS,
        )
      ).account;
    forged.forgery.claims = { email: "A@Example.com", email_verified: true, name: "A" };
    expect(await exchange()).toEqual({
      subject: "somebody",
      email: "a@example.com",
      emailVerified: true,
      userInfo: { name: "A" },
    });
    expect(asked).not.toContain("/me");
    forged.forgery.claims = {};
    forged.forgery.userInfo = { sub: "somebody", email: "b@example.com", email_verified: "true" };
    expect(await exchange()).toMatchObject({ email: "b@example.com", emailVerified: true });
    expect(asked).toContain("/me");
  });

  test("contain no verified address if the address is missing or invalid", async () => {
    const provider = client();
    for (const email of [
      undefined,
      "",
      7,
      "no address",
      "a b@example.com",
      `${"x".repeat(250)}@e.org`,
      "a@b\n",
    ]) {
      forged.forgery.claims = { email, email_verified: true };
      const url = new URL(forged.visit(await provider.authorizationUrl(SECRETS, `${APP}/forged`)));
      const { account } = await provider.exchange(url, SECRETS);
      expect(account).toMatchObject(
        email === "a@b\n" ? { email: "a@b", emailVerified: true } : { emailVerified: false },
      );
    }
  });
});
