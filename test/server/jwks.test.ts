import { createPublicKey, verify } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { generateAsymmetricSigningKey, generateSigningKey } from "../../src/auth/signing-keys.ts";
import { type PlinthServer, startServer } from "../../src/http/server.ts";
import { createLogger } from "../../src/request/logger.ts";
import { ask, serverOptions, signIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

const serve = (signingKeys: string): Promise<PlinthServer> =>
  startServer({ ...serverOptions(db), signingKeys, logger: createLogger("silent") });
const client = ({ url }: { url: string }) => ({
  ask: (query: string, options?: object) => ask(url, query, options),
});
const keySet = async ({ url }: { url: string }) => {
  const response = await fetch(`${url}/.well-known/jwks.json`);
  return { response, keys: ((await response.json()) as { keys: { kid: string }[] }).keys };
};
const whoAmI = async (server: PlinthServer, token: string) =>
  (await client(server).ask("{ currentUser { username } }", { token })).data?.currentUser?.username;

test("replaces symmetric keys by asymmetric ones and these by newer ones without ending sessions, and others verify with the public part [H11]", async () => {
  const [symmetric, first, second] = [
    generateSigningKey(),
    generateAsymmetricSigningKey(),
    generateAsymmetricSigningKey(),
  ];
  const tokens: string[] = [];
  for (const signingKeys of [symmetric, `${first},${symmetric}`, `${second},${first},${symmetric}`]) {
    const server = await serve(signingKeys);
    try {
      const { token } = await (tokens.length === 0
        ? signUp(client(server), "ada")
        : signIn(client(server), "ada"));
      tokens.push(token);
      for (const each of tokens) expect(await whoAmI(server, each)).toBe("ada");
      const { keys } = await keySet(server);
      expect(keys).toHaveLength(signingKeys.split("es256").length - 1);
      const [header, payload, signature] = token.split(".") as [string, string, string];
      const { kid } = JSON.parse(Buffer.from(header, "base64url").toString());
      const jwk = keys.find((key) => key.kid === kid);
      expect(jwk === undefined).toBe(signingKeys === symmetric);
      if (jwk)
        expect(
          verify(
            "sha256",
            Buffer.from(`${header}.${payload}`),
            { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" },
            Buffer.from(signature, "base64url"),
          ),
        ).toBe(true);
    } finally {
      await server.close();
    }
  }
  // Dropped keys are gone.
  const server = await serve(second);
  expect(await whoAmI(server, tokens[2]!)).toBe("ada");
  for (const token of tokens.slice(0, 2))
    expect((await client(server).ask("{ __typename }", { token })).status).toBe(401);
  await server.close();
});

test("lets clients cache the key set, which contains no symmetric key", async () => {
  const api = await startApi(db);
  try {
    const { response, keys } = await keySet(api);
    expect(response.status).toBe(200);
    expect(response.headers.get("cache-control")).toBe("public, max-age=300");
    expect(response.headers.get("content-type")).toMatch(/^application\/jwk-set\+json/);
    expect(response.headers.get("etag")).toBeNull();
    expect(keys).toEqual([]);
    expect((await fetch(`${api.url}/.well-known/jwks.json`, { method: "POST" })).status).toBe(404);
  } finally {
    await api.close();
  }
});
