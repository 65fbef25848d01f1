import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, test } from "@jest/globals";
import {
  challengeOf,
  credentialIdOf,
  type NewPasskey,
  passkeyCreationOptions,
  passkeyRequestOptions,
  type RelyingParty,
  userHandle,
  verifyPasskeyAssertion,
  verifyPasskeyRegistration,
} from "../../src/auth/passkey.ts";
import { type Misbehaviour, SoftwareAuthenticator } from "../support/software-authenticator.ts";

type Hex<Name extends string> = { readonly [key in Name]: string };
interface Vector {
  readonly registration: Hex<"challenge" | "credential_id" | "clientDataJSON" | "attestationObject">;
  readonly authentication: Hex<"challenge" | "authenticatorData" | "clientDataJSON" | "signature">;
}
const VECTORS: Record<string, Vector> = JSON.parse(
  readFileSync(new URL("webauthn-vectors.json", import.meta.url), "utf8"),
);
const EXAMPLE_ORG: RelyingParty = { name: "Example", id: "example.org", origins: ["https://example.org"] };

const bytes = (hex: string) => Buffer.from(hex, "hex");
const base64url = (hex: string) => bytes(hex).toString("base64url");
const responseOf = (id: string, parts: Record<string, string>) => ({
  ...{ id: base64url(id), rawId: base64url(id), type: "public-key", clientExtensionResults: {} },
  response: Object.fromEntries(Object.entries(parts).map(([name, hex]) => [name, base64url(hex)])),
});
const register = ({ registration }: Vector, rp = EXAMPLE_ORG) => {
  const { challenge, credential_id, clientDataJSON, attestationObject } = registration;
  const response = responseOf(credential_id, { clientDataJSON, attestationObject });
  return verifyPasskeyRegistration(rp, response, bytes(challenge));
};
const authenticate = (
  { registration, authentication }: Vector,
  passkey: NewPasskey,
  change: { requireUserVerification?: boolean; challenge?: string; signature?: string } = {},
) => {
  const { challenge, authenticatorData, clientDataJSON, signature } = { ...authentication, ...change };
  const response = responseOf(registration.credential_id, { authenticatorData, clientDataJSON, signature });
  return verifyPasskeyAssertion(EXAMPLE_ORG, response, {
    ...passkey,
    challenge: bytes(challenge),
    userId: randomUUID(),
    requireUserVerification: change.requireUserVerification ?? false,
    requireUserHandle: false,
  });
};

describe("WebAuthn Level 3, section 16", () => {
  test.each(["none", "packedSelf", "longId"])("registers and authenticates the vector %s", async (name) => {
    const vector = VECTORS[name]!;
    const passkey = await register(vector);
    expect(passkey!.credentialId.toString("hex")).toBe(vector.registration.credential_id);
    expect(await authenticate(vector, passkey!)).toEqual({ signCount: 0, isBackedUp: expect.any(Boolean) });
    expect(
      await authenticate(vector, passkey!, { challenge: randomBytes(32).toString("hex") }),
    ).toBeUndefined();
    const signature = vector.authentication.signature.replace(/..$/, (last) => (last === "00" ? "01" : "00"));
    expect(await authenticate(vector, passkey!, { signature })).toBeUndefined();
  });

  test("reads the authenticator's flags from the vector none", async () => {
    const passkey = await register(VECTORS.none!);
    expect(passkey).toMatchObject({
      aaguid: "8446ccb9-ab1d-b374-750b-2367ff6f3a1f",
      ...{ signCount: 0, isBackupEligible: true, isBackedUp: true, transports: [] },
    });
    // The vector's authenticator did not verify its user.
    expect(await authenticate(VECTORS.none!, passkey!, { requireUserVerification: true })).toBeUndefined();
  });

  test.each(["crossOrigin", "topOrigin"])("rejects pages in foreign frames: %s", async (name) => {
    expect(await register(VECTORS[name]!)).toBeUndefined();
    const { attestationObject } = VECTORS[name]!.registration;
    expect(attestationObject).toMatch(/^a363666d74646e6f6e65/);
  });

  test("rejects unrequested attestation: packed with a certificate", async () => {
    expect(await register(VECTORS.packedCertificate!)).toBeUndefined();
  });

  test("rejects a registration for another relying party", async () => {
    const { name, origins } = EXAMPLE_ORG;
    expect(await register(VECTORS.none!, { name, origins, id: "example.com" })).toBeUndefined();
    expect(
      await register(VECTORS.none!, { ...EXAMPLE_ORG, origins: ["https://example.com"] }),
    ).toBeUndefined();
  });
});

const LOCAL: RelyingParty = { name: "Plinth", id: "localhost", origins: ["http://localhost:5678"] };
const userId = randomUUID();
let authenticator: SoftwareAuthenticator;
let passkey: NewPasskey;

const creation = () =>
  passkeyCreationOptions(LOCAL, {
    ...{ challenge: randomBytes(32), userId, username: "ada", exclude: [], passwordless: true },
  });
const request = () =>
  passkeyRequestOptions(LOCAL, { challenge: randomBytes(32), allow: [], userVerification: "required" });
const verify = (response: unknown, challenge: string, change: Partial<NewPasskey> = {}) =>
  verifyPasskeyAssertion(LOCAL, response, {
    ...passkey,
    ...change,
    ...{ challenge: Buffer.from(challenge, "base64url"), userId },
    ...{ requireUserVerification: true, requireUserHandle: true },
  });

beforeEach(async () => {
  authenticator = new SoftwareAuthenticator();
  const options = await creation();
  const challenge = Buffer.from(options.challenge, "base64url");
  passkey = (await verifyPasskeyRegistration(LOCAL, authenticator.create(options), challenge))!;
  expect(passkey).toBeDefined();
});

describe("the options", () => {
  test("request what is needed and contain only the display name of the person", async () => {
    const options = await creation();
    expect(options).toMatchObject({
      rp: { id: "localhost", name: "Plinth" },
      user: { id: userHandle(userId).toString("base64url"), name: "ada" },
      attestation: "none",
      authenticatorSelection: { residentKey: "required", userVerification: "required" },
      pubKeyCredParams: [-8, -7, -257].map((alg) => ({ alg, type: "public-key" })),
    });
    expect(Buffer.from(options.challenge, "base64url")).toHaveLength(32);
  });
});

const WRONG_EVERYWHERE: readonly [string, Misbehaviour][] = [
  ["another origin", { origin: "http://localhost:9999" }],
  ["an origin with the same beginning", { origin: "http://localhost:5678.evil.example" }],
  ["another relying party", { rpId: "evil.example" }],
  ["the other ceremony's type", { type: "webauthn.other" }],
  ["another challenge", { challenge: randomBytes(32).toString("base64url") }],
  ["a foreign frame", { crossOrigin: true }],
  ["a foreign top page", { crossOrigin: true, topOrigin: "https://evil.example" }],
  ["no user present", { userPresent: false }],
];

describe("registration", () => {
  test.each(WRONG_EVERYWHERE)("rejects %s", async (_what, wrong) => {
    const options = await creation();
    const response = new SoftwareAuthenticator().create(options, wrong);
    const challenge = Buffer.from(options.challenge, "base64url");
    expect(await verifyPasskeyRegistration(LOCAL, response, challenge)).toBeUndefined();
  });

  test.each(["fido-u2f", "tpm", "android-safetynet", "apple", "nonsense"])(
    "rejects an attestation of format %s before reading it",
    async (format) => {
      const options = await creation();
      const attestation = { format, statement: new Map([["x5c", [new Uint8Array([1])]]]) };
      const response = new SoftwareAuthenticator().create(options, { attestation });
      const challenge = Buffer.from(options.challenge, "base64url");
      expect(await verifyPasskeyRegistration(LOCAL, response, challenge)).toBeUndefined();
    },
  );

  test("rejects an id other than the authenticator's", async () => {
    const options = await creation();
    const other = randomBytes(32).toString("base64url");
    const response = { ...new SoftwareAuthenticator().create(options), id: other, rawId: other };
    const challenge = Buffer.from(options.challenge, "base64url");
    expect(await verifyPasskeyRegistration(LOCAL, response, challenge)).toBeUndefined();
  });
});

describe("assertion", () => {
  test("is accepted, and returns its counter for the database to check", async () => {
    const options = await request();
    expect(await verify(authenticator.get(options, { signCount: 7 }), options.challenge)).toEqual({
      ...{ signCount: 7, isBackedUp: false },
    });
  });

  test.each<[string, Misbehaviour]>([
    ...WRONG_EVERYWHERE,
    ["an unverified user", { userVerified: false }],
    ["a bad signature", { tamperSignature: true }],
    ["another user's handle", { userHandle: userHandle(randomUUID()).toString("base64url") }],
    ["no user handle", { userHandle: null }],
    ["a changed backup eligibility", { backupEligible: true }],
  ])("rejects %s", async (_what, wrong) => {
    const options = await request();
    expect(await verify(authenticator.get(options, wrong), options.challenge)).toBeUndefined();
  });

  test("rejects a signature by another key", async () => {
    const options = await request();
    const other = new SoftwareAuthenticator();
    other.create(await creation());
    expect(await verify(other.get(options), options.challenge)).toBeUndefined();
  });
});

describe("hostile input", () => {
  const HOSTILE: readonly unknown[] = [
    ...[null, undefined, 0, "", "x", [], {}, { response: null }, { response: { clientDataJSON: 5 } }],
    { response: { clientDataJSON: "%%%", attestationObject: "%%%" } },
    { response: { clientDataJSON: Buffer.from("[]").toString("base64url"), attestationObject: "AA" } },
    { response: { clientDataJSON: Buffer.from("null").toString("base64url") } },
    { id: "a\0", response: {} },
  ];
  test.each(HOSTILE.map((value) => [value]))("is rejected without an error: %j", async (value) => {
    expect(challengeOf(value)).toBeUndefined();
    expect(credentialIdOf(value)).toBeUndefined();
    expect(await verifyPasskeyRegistration(LOCAL, value, randomBytes(32))).toBeUndefined();
    expect(await verify(value, randomBytes(32).toString("base64url"))).toBeUndefined();
  });
});
